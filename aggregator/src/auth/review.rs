//! Asking kube-apiserver for a review, again where that may help, and never longer than is of use.
//!
//! What is asked and what the answer means is [`super::token_review`]'s and [`super::access_review`]'s business.
//! Nothing that is sent or received is ever logged or part of an error: it holds credentials.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Limited};
use kube::client::{Body, Client};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Dispatch, instrument::WithSubscriber as _};

use crate::metrics::auth::Reviews;

/// One call.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// All calls of a review with the pauses between them.
const WHOLE: Duration = Duration::from_secs(30);

/// Pauses between calls: with four there are at most five calls, over 4 to 5 s.
const PAUSES: i32 = 4;

/// The pause after the first call; each further one is half as long again, and all are up to a fifth longer, so that
/// not all replicas ask at the same moment.
const PAUSE: Duration = Duration::from_millis(500);
const GROWTH: f64 = 1.5;
const JITTER: f64 = 0.2;

/// How long to wait after each call but the last.
pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    (0..PAUSES).map(|grown| PAUSE.mul_f64(GROWTH.powi(grown) * (1.0 + JITTER * rand::random::<f64>())))
}

/// Calls under way at one time; further ones wait.
const CALLS: usize = 100;

/// Size of an answer, bytes. It repeats what was asked, at most some tens of kilobytes.
const ANSWER: usize = 1 << 20;

/// Why there is no review. Nothing of it is shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection failed.
    #[error("kube-apiserver cannot be reached")]
    Unreachable,
    /// Another answer than a review.
    #[error("kube-apiserver answered {0}")]
    Refused(StatusCode),
    /// An answer that is not the review that was asked for.
    #[error("the answer cannot be read")]
    Garbled,
    /// Too many at one time, or a fault of ours.
    #[error("too many reviews at one time")]
    Busy,
}

impl ReviewError {
    /// Whether asking again may help. Not after a whole call was spent in vain: the caller waits.
    fn may_heal(self) -> bool {
        match self {
            Self::Unreachable => true,
            Self::Refused(code) => code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error(),
            Self::TimedOut | Self::Garbled | Self::Busy => false,
        }
    }
}

/// Asks for reviews of one kind.
pub(super) struct Reviewer {
    client: Client,
    uri: &'static str,
    places: Semaphore,
    /// Connections live in the runtime they were made in, and are kept for whoever asks next. Agents are served in
    /// runtimes that pause and may end before the API's.
    runtime: Handle,
    metrics: Reviews,
    /// The last error, until an answer came again.
    trouble: Mutex<Option<ReviewError>>,
}

impl Reviewer {
    /// Asks in the runtime that this is called in.
    pub(super) fn new(client: Client, uri: &'static str, metrics: Reviews) -> Self {
        let (places, runtime, trouble) = (Semaphore::new(CALLS), Handle::current(), Mutex::new(None));
        Self { client, uri, places, runtime, metrics, trouble }
    }

    /// Asks until there is an answer, or no use in asking.
    pub(super) async fn ask<R: Serialize + DeserializeOwned>(&self, review: R) -> Result<R, ReviewError> {
        let body = serde_json::to_vec(&review).map(Bytes::from).map_err(|_| ReviewError::Garbled)?;
        // Many may wait at one time; once is enough to keep what each asks.
        drop(review);
        let answer = timeout(WHOLE, self.tries(body)).await.unwrap_or(Err(ReviewError::TimedOut));
        self.note(answer.as_ref().err().copied());
        answer
    }

    async fn tries<R: DeserializeOwned>(&self, body: Bytes) -> Result<R, ReviewError> {
        let mut pauses = pauses();
        loop {
            match (self.call(body.clone()).await, pauses.next()) {
                (Err(error), Some(pause)) if error.may_heal() => sleep(pause).await,
                (outcome, _) => return outcome,
            }
        }
    }

    /// One call, counted.
    async fn call<R: DeserializeOwned>(&self, body: Bytes) -> Result<R, ReviewError> {
        let _place = self.places.acquire().await.map_err(|_| ReviewError::Busy)?;
        let begun = Instant::now();
        let answered =
            timeout_at(begun + CALL, self.exchange(body)).await.unwrap_or(Err(ReviewError::TimedOut));
        let code = match &answered {
            Ok((code, _)) => Some(*code),
            Err(_) => None,
        };
        self.metrics.called(code, begun.elapsed());
        let (code, text) = answered?;
        if !code.is_success() {
            return Err(ReviewError::Refused(code));
        }
        serde_json::from_slice(&text).map_err(|_| ReviewError::Garbled)
    }

    async fn exchange(&self, body: Bytes) -> Result<(StatusCode, Bytes), ReviewError> {
        let request = Request::post(self.uri).header(CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body)).map_err(|_| ReviewError::Garbled)?;
        let client = self.client.clone();
        let exchange = async move {
            let response = client.send(request).await.map_err(|_| ReviewError::Unreachable)?;
            let code = response.status();
            let text = Limited::new(response.into_body(), ANSWER).collect().await;
            Ok((code, text.map_err(|_| ReviewError::Unreachable)?.to_bytes()))
        };
        // The client logs what it cannot read, and that holds credentials.
        let exchange = self.runtime.spawn(exchange.with_subscriber(Dispatch::none()));
        AbortOnDropHandle::new(exchange).await.map_err(|_| ReviewError::Unreachable)?
    }

    /// Logs what changes.
    fn note(&self, error: Option<ReviewError>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (*trouble, error) {
            (held, Some(error)) if held != Some(error) => {
                tracing::warn!(uri = self.uri, %error, "no reviews; requests that need one are refused");
            }
            (Some(_), None) => tracing::info!(uri = self.uri, "reviews again"),
            _ => {}
        }
        *trouble = error;
    }
}
