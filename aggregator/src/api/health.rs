//! Health: named checks, and the text that probers get.
//!
//! Each part of the program registers what it knows about itself by name. A check only looks at something that is
//! known already: it never waits, reads a file or asks anybody, because anyone may probe as often as they like.
//! Who may probe is decided elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use axum::{body::Body, response::Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};

use super::query::Query;

/// A question about the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`, the older name of `/livez`.
    Health,
    /// `/livez`: whether the process should go on living.
    Live,
    /// `/readyz`: whether it should get requests.
    Ready,
}

impl Probe {
    /// As in the path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "healthz",
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }

    /// By the name in the path.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Health, Self::Live, Self::Ready].into_iter().find(|probe| probe.name() == name)
    }
}

/// What a check says: nothing, or the reason why it fails. The reason goes to the log and to those who may ask for
/// the single check.
pub type Outcome = Result<(), String>;

/// All checks. Clones share them.
#[derive(Clone)]
pub struct Health {
    checks: Arc<RwLock<Vec<Arc<Check>>>>,
}

/// One check.
struct Check {
    name: &'static str,
    probes: &'static [Probe],
    ask: Box<dyn Fn() -> Outcome + Send + Sync>,
    /// The last outcome, so that the log hears of changes alone.
    last: Mutex<Outcome>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(checks.iter().map(|check| check.name)).finish()
    }
}

impl Default for Health {
    /// With `ping` alone, which always passes.
    fn default() -> Self {
        let health = Self { checks: Arc::default() };
        health.register("ping", &[Probe::Health, Probe::Live, Probe::Ready], || Ok(()));
        health
    }
}

impl Health {
    /// Adds a check to some probes. Checks are asked and listed in the order in which they were added.
    pub fn register(
        &self,
        name: &'static str,
        probes: &'static [Probe],
        ask: impl Fn() -> Outcome + Send + Sync + 'static,
    ) {
        let check = Check { name, probes, ask: Box::new(ask), last: Mutex::new(Ok(())) };
        self.checks.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(check));
    }

    /// Answers a probe: `?verbose` lists its checks, each `?exclude=` leaves one out.
    #[must_use]
    pub fn probe(&self, probe: Probe, query: &Query) -> Report {
        let mut excluded: BTreeSet<&str> = query.all("exclude").collect();
        let (mut listing, mut healthy) = (String::new(), true);
        for check in self.of(probe) {
            let name = check.name;
            let line = if excluded.remove(name) {
                format!("[+]{name} excluded: ok\n")
            } else if check.outcome().is_ok() {
                format!("[+]{name} ok\n")
            } else {
                healthy = false;
                // Anyone may ask, so the reason stays in the log.
                format!("[-]{name} failed: reason withheld\n")
            };
            listing.push_str(&line);
        }
        if !excluded.is_empty() {
            let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
            let names = names.join(", ");
            listing.push_str("warn: some health checks cannot be excluded: no matches for ");
            listing.push_str(&names);
            listing.push('\n');
        }
        let name = probe.name();
        match (healthy, query.get("verbose")) {
            (true, None) => Report { healthy, text: "ok".to_owned() },
            (true, Some(_)) => Report { healthy, text: format!("{listing}{name} check passed\n") },
            (false, _) => Report { healthy, text: format!("{listing}{name} check failed\n") },
        }
    }

    /// Answers for one check of a probe; none when there is no such check.
    #[must_use]
    pub fn check(&self, probe: Probe, name: &str) -> Option<Report> {
        let check = self.of(probe).into_iter().find(|check| check.name == name)?;
        Some(match check.outcome() {
            Ok(()) => Report { healthy: true, text: "ok".to_owned() },
            Err(reason) => Report { healthy: false, text: format!("internal server error: {reason}\n") },
        })
    }

    /// Whether all checks of a probe pass. Unlike the others this tells the log nothing: it is for who looks all the
    /// time, also while nobody waits for an answer.
    #[must_use]
    pub fn passes(&self, probe: Probe) -> bool {
        self.of(probe).iter().all(|check| (check.ask)().is_ok())
    }

    /// The checks of a probe that fail, with their reasons.
    #[must_use]
    pub fn failing(&self, probe: Probe) -> BTreeMap<String, String> {
        let checks = self.of(probe);
        checks.iter().filter_map(|check| Some((check.name.to_owned(), check.outcome().err()?))).collect()
    }

    /// The paths of all probes and of their single checks.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        let of = |probe: Probe| {
            let checks = self.of(probe);
            let single = checks.into_iter().map(move |check| format!("/{}/{}", probe.name(), check.name));
            std::iter::once(format!("/{}", probe.name())).chain(single)
        };
        [Probe::Health, Probe::Live, Probe::Ready].into_iter().flat_map(of)
    }

    fn of(&self, probe: Probe) -> Vec<Arc<Check>> {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner);
        checks.iter().filter(|check| check.probes.contains(&probe)).map(Arc::clone).collect()
    }
}

impl Check {
    /// Asks, and tells the log when the answer is another one than before.
    fn outcome(&self) -> Outcome {
        let outcome = (self.ask)();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != outcome {
            match &outcome {
                Ok(()) => tracing::info!(check = self.name, "health check passes again"),
                Err(reason) => tracing::warn!(check = self.name, reason, "health check fails"),
            }
            last.clone_from(&outcome);
        }
        outcome
    }
}

/// The answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether everything that was asked about is well.
    pub healthy: bool,
    /// For people; plain text.
    pub text: String,
}

impl Report {
    /// As a response. The text may repeat what the client sent, so no browser may guess another type for it.
    #[must_use]
    pub fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        if !self.healthy {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.text.len()));
        *response.body_mut() = Body::from(self.text);
        response
    }
}

#[cfg(test)]
mod tests;
