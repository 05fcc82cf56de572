//! `TokenReview` and `SubjectAccessReview`: who a token belongs to, and who may do what, by rules that a test
//! sets; every request is kept, and each kind can be made to fail.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::reply::{Reply, invalid};

/// The audience of tokens that were made for nobody else.
pub(crate) const API_AUDIENCE: &str = "https://kubernetes.default.svc";

/// Who a token belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
    /// Whom the token was made for; the API server when empty.
    pub(crate) audiences: Vec<String>,
}

impl User {
    pub(crate) fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// With a value of an extra key.
    pub(crate) fn extra(mut self, key: &str, value: &str) -> Self {
        self.extra.entry(key.to_owned()).or_default().push(value.to_owned());
        self
    }

    /// With a token for `audience` alone.
    pub(crate) fn audience(mut self, audience: &str) -> Self {
        self.audiences.push(audience.to_owned());
        self
    }

    fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups, "extra": self.extra});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        info
    }
}

/// What a rule says about a `SubjectAccessReview`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    pub(crate) denied: bool,
    pub(crate) reason: String,
}

impl Decision {
    pub(crate) fn when(allowed: bool) -> Self {
        Self { allowed, ..Self::default() }
    }

    pub(crate) fn no(reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Self::default() }
    }
}

type Policy = Arc<dyn Fn(&Value) -> Decision + Send + Sync>;

/// Both kinds of reviews.
pub(crate) struct Reviews {
    tokens: Mutex<BTreeMap<String, User>>,
    policy: Mutex<Policy>,
    /// `TokenReview`s.
    pub(crate) of_tokens: Desk,
    /// `SubjectAccessReview`s.
    pub(crate) of_access: Desk,
}

impl fmt::Debug for Reviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviews").finish_non_exhaustive()
    }
}

impl Default for Reviews {
    fn default() -> Self {
        Self {
            tokens: Mutex::default(),
            policy: Mutex::new(Arc::new(usual_roles)),
            of_tokens: Desk::default(),
            of_access: Desk::default(),
        }
    }
}

impl Reviews {
    /// From now on a token belongs to somebody.
    pub(crate) fn issue(&self, token: &str, user: User) {
        self.tokens.lock().unwrap().insert(token.to_owned(), user);
    }

    /// From now on a token belongs to nobody.
    pub(crate) fn revoke(&self, token: &str) {
        self.tokens.lock().unwrap().remove(token);
    }

    /// From now on, who may do what; it is given the `spec` of each `SubjectAccessReview`.
    pub(crate) fn rule(&self, policy: impl Fn(&Value) -> Decision + Send + Sync + 'static) {
        *self.policy.lock().unwrap() = Arc::new(policy);
    }

    /// Whom a token for the API server belongs to.
    pub(super) fn user(&self, token: &str) -> Option<User> {
        self.tokens.lock().unwrap().get(token).filter(|user| user.audiences.is_empty()).cloned()
    }

    /// What the rules say.
    pub(super) fn decide(&self, spec: &Value) -> Decision {
        let policy = Arc::clone(&self.policy.lock().unwrap());
        policy(spec)
    }

    pub(super) async fn token(&self, query: &str, body: Value) -> Reply {
        if body["kind"] != "TokenReview" || body["spec"]["token"].as_str().is_none_or(str::is_empty) {
            return invalid("TokenReview", "spec.token: Required value");
        }
        self.of_tokens.answer(query, body, |spec| self.known(spec)).await
    }

    fn known(&self, spec: &Value) -> Value {
        let known = spec["token"].as_str().and_then(|token| self.tokens.lock().unwrap().get(token).cloned());
        let Some(user) = known else {
            return json!({"user": {}, "error": "invalid bearer token"});
        };
        let or_api = |audiences: Vec<String>| {
            if audiences.is_empty() { vec![API_AUDIENCE.to_owned()] } else { audiences }
        };
        let asked = spec["audiences"].as_array().into_iter().flatten();
        let asked = or_api(asked.filter_map(|audience| audience.as_str().map(ToOwned::to_owned)).collect());
        let made_for = or_api(user.audiences.clone());
        let both: Vec<String> = asked.into_iter().filter(|audience| made_for.contains(audience)).collect();
        if both.is_empty() {
            return json!({"user": {}, "error": "token audiences are invalid for the target audiences"});
        }
        json!({"authenticated": true, "user": user.info(), "audiences": both})
    }

    pub(super) async fn access(&self, query: &str, body: Value) -> Reply {
        let spec = &body["spec"];
        let has_subject = spec["user"].as_str().is_some_and(|user| !user.is_empty())
            || spec["groups"].as_array().is_some_and(|groups| !groups.is_empty());
        let is_about_one =
            spec["resourceAttributes"].is_object() != spec["nonResourceAttributes"].is_object();
        if body["kind"] != "SubjectAccessReview" || !has_subject || !is_about_one {
            return invalid("SubjectAccessReview", "spec: Invalid value");
        }
        let decide = |spec: &Value| {
            let Decision { allowed, denied, reason } = self.decide(spec);
            json!({"allowed": allowed, "denied": denied, "reason": reason})
        };
        self.of_access.answer(query, body, decide).await
    }
}

/// What a cluster grants to everybody with a name (`system:discovery`), plus everything about metrics to the group
/// `readers`, and everything to `system:masters`.
pub(crate) fn usual_roles(spec: &Value) -> Decision {
    let in_group = |name: &str| spec["groups"].as_array().is_some_and(|groups| groups.contains(&json!(name)));
    let path = spec["nonResourceAttributes"]["path"].as_str().unwrap_or_default();
    let is_discovery = ["/api", "/apis", "/healthz", "/livez", "/readyz", "/openapi", "/version"]
        .iter()
        .any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let is_reading = spec["resourceAttributes"]["group"] == "metrics.k8s.io"
        && ["get", "list", "watch"].map(Value::from).contains(&spec["resourceAttributes"]["verb"]);
    let allowed = in_group("system:masters")
        || in_group("system:authenticated") && is_discovery && spec["nonResourceAttributes"]["verb"] == "get"
        || in_group("readers") && (is_reading || path == "/metrics");
    if allowed { Decision::when(true) } else { Decision::no("no role grants it") }
}

/// How reviews go wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// An HTTP error.
    Status(u16),
    /// 200 and no JSON.
    Garbage,
    /// No answer ever.
    Hang,
    /// The right answer after a time.
    Late(Duration),
    /// This `status`, whatever is true.
    Says(Value),
}

/// One request for a review.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    /// Of the request's URI.
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// Where reviews of one kind are asked for.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    received: watch::Sender<Vec<Received>>,
    fault: Mutex<Option<Fault>>,
}

impl Desk {
    /// From now on, answers are wrong in this way.
    pub(crate) fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// From now on, answers are right.
    pub(crate) fn recover(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// Every request so far, also those that got no answer.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> usize {
        self.received.borrow().len()
    }

    /// The `spec` of the newest one.
    pub(crate) fn last(&self) -> Value {
        self.received.borrow().last().map_or(Value::Null, |received| received.body["spec"].clone())
    }

    /// Forgets those so far.
    pub(crate) fn forget(&self) {
        self.received.send_modify(Vec::clear);
    }

    /// Waits until there were so many.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut received = self.received.subscribe();
        let waited = received.wait_for(|received| received.len() >= count);
        tokio::time::timeout(Duration::from_secs(30), waited)
            .await
            .expect("asked in time")
            .expect("it is open");
    }

    async fn answer(&self, query: &str, mut body: Value, truth: impl Fn(&Value) -> Value) -> Reply {
        // Before it is known that it was asked: a test changes the fault as soon as it sees the request.
        let fault = self.fault.lock().unwrap().clone();
        let received = Received { at: Instant::now(), query: query.to_owned(), body: body.clone() };
        self.received.send_modify(|all| all.push(received));
        let status = match fault {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Status(code)) => {
                let code = StatusCode::from_u16(code).expect("an HTTP status");
                return Reply::failure(code, "Failure", "made to fail");
            }
            Some(Fault::Garbage) => return Reply::bytes("application/json", "{\"kind\": \"TokenRev"),
            Some(Fault::Says(status)) => status,
            Some(Fault::Late(delay)) => {
                tokio::time::sleep(delay).await;
                truth(&body["spec"])
            }
            None => truth(&body["spec"]),
        };
        body["status"] = status;
        body["metadata"] = json!({"creationTimestamp": null});
        Reply::json(StatusCode::CREATED, &body)
    }
}
