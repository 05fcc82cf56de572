//! What surrounds every request of the port: a place among those that are answered, a time limit, and an end that is
//! told and counted whatever happens.
//!
//! A request that is over its time, finds no place or meets a fault of ours gets a gRPC status like any other. Strangers
//! may ask for health and reflection, but a connection on which nobody is recognised ends before long.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures_util::FutureExt as _;
use http::{HeaderMap, StatusCode, Version};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::ending::{Ending, Record};
use crate::{
    https::{Admitted, Lasting, Stranger},
    metrics::query::Query as Metrics,
};

/// Longest time of a request that is no stream, and what it gets when its caller sets none.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a watcher may take nothing of its stream. It holds up to two messages meanwhile, and is told the newest numbers
/// when it reads on.
pub(super) const STALLED_WATCH: Duration = Duration::from_secs(600);

/// Requests answered at a time: each holds an answer of up to 3 MiB until its caller has taken it.
const PLACES: usize = 64;
/// Watches at a time.
const WATCHES: usize = 2048;
/// Requests for health and reflection at a time. Anybody may ask; nobody else waits for them.
const OPEN_PLACES: usize = 256;

/// What is asked, as far as the path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    List,
    Watch,
    Explain,
    Raw,
    Health,
    Reflection,
    /// None that there is.
    Other,
}

/// How many may be answered at a time, and how long each may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Stream,
    Open,
}

impl Method {
    fn of(path: &str) -> Self {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        match (service, method) {
            ("kubevitals.v1.Query", "List") => Self::List,
            ("kubevitals.v1.Query", "Watch") => Self::Watch,
            ("kubevitals.v1.Query", "Explain") => Self::Explain,
            ("kubevitals.v1.Query", "Raw") => Self::Raw,
            ("grpc.health.v1.Health", _) => Self::Health,
            (service, _) if service.starts_with("grpc.reflection.") => Self::Reflection,
            _ => Self::Other,
        }
    }

    /// As a metric label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
            Self::Explain => "explain",
            Self::Raw => "raw",
            Self::Health => "health",
            Self::Reflection => "reflection",
            Self::Other => "other",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::List | Self::Explain | Self::Raw => Kind::Request,
            Self::Watch => Kind::Stream,
            Self::Health | Self::Reflection | Self::Other => Kind::Open,
        }
    }

    /// Whether its duration says anything.
    pub(super) fn is_timed(self) -> bool {
        self.kind() == Kind::Request
    }
}

/// Places by kind.
#[derive(Clone, Debug)]
struct Places {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Places {
    fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { requests: places(PLACES), streams: places(WATCHES), open: places(OPEN_PLACES) }
    }
}

/// Stands before every request. Connections on which nobody was recognised yet have places of their own: who asks and never
/// says who it is keeps places until its time is over, but none of those who are known.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    known: Places,
    strangers: Places,
    metrics: Metrics,
    shutdown: CancellationToken,
}

impl Guard {
    pub(super) fn new(metrics: Metrics, shutdown: CancellationToken) -> Self {
        Self { known: Places::new(), strangers: Places::new(), metrics, shutdown }
    }

    /// `routes`, guarded.
    pub(super) fn around(self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self, guarded))
    }

    fn place(&self, kind: Kind, is_known: bool) -> Result<OwnedSemaphorePermit, Status> {
        let places = if is_known { &self.known } else { &self.strangers };
        let places = match kind {
            Kind::Request => &places.requests,
            Kind::Stream => &places.streams,
            Kind::Open => &places.open,
        };
        let taken = |_| Status::resource_exhausted("too many requests are being answered; try again later");
        Arc::clone(places).try_acquire_owned().map_err(taken)
    }
}

/// One request, to the last byte of its answer.
async fn guarded(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let method = Method::of(request.uri().path());
    let mut record = Record::begin(&guard.metrics, method);
    let admitted = request.extensions().get::<Admitted>().cloned();
    let asked = deadline(request.headers());
    let end = match method.kind() {
        Kind::Stream => asked,
        Kind::Request | Kind::Open => {
            let longest = Instant::now() + LONGEST;
            Some(asked.map_or(longest, |asked| asked.min(longest)))
        }
    };
    if request.version() != Version::HTTP_2 {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        return refused;
    }
    let is_known = || admitted.as_ref().is_some_and(Admitted::is_set);
    let was_known = is_known();
    let answered = async {
        record.keep(guard.place(method.kind(), was_known)?);
        let response = answer(request, next, end).await?;
        if is_known() && !was_known {
            record.keep(guard.place(method.kind(), true)?);
        }
        Ok(response)
    };
    let mut response = answered.await.unwrap_or_else(Status::into_http);
    if method.kind() == Kind::Stream && is_success(response.headers()) {
        response.extensions_mut().insert(Lasting { stall: STALLED_WATCH });
    }
    // Whoever answers pings would keep its place among the connections for ever.
    if !is_known() {
        response.extensions_mut().insert(Stranger);
    }
    let (parts, body) = response.into_parts();
    let ending = Ending::new(body, &parts.headers, record, end, guard.shutdown);
    Response::from_parts(parts, Body::new(ending))
}

/// The answer, by its time limit; a panic is this request's and nobody else's.
async fn answer(request: Request, next: Next, end: Option<Instant>) -> Result<Response, Status> {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let outcome = match end {
        Some(end) => timeout_at(end.into(), answer).await.map_err(|_| Status::deadline_exceeded(LATE))?,
        None => answer.await,
    };
    outcome.map_err(|_| Status::internal(FAULT))
}

/// What a caller hears whose time is over.
pub(super) const LATE: &str = "the answer was not complete within the deadline";

/// What a caller hears whose request made us panic.
pub(super) const FAULT: &str = "this request met a fault in the server";

/// Whether a stream begins: an answer that is over already says its code in its head.
fn is_success(headers: &HeaderMap) -> bool {
    Status::from_header_map(headers).is_none_or(|status| status.code() == Code::Ok)
}

/// `grpc-timeout` of a request: up to eight digits and a unit. One that is not that is ignored, as others do.
fn deadline(headers: &HeaderMap) -> Option<Instant> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let length = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Instant::now().checked_add(length)
}

#[cfg(test)]
mod tests;
