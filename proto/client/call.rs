//! One question, one answer: tried again while that helps and there is time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Request, Response, Status, transport::Channel};

use super::{Client, Error, link::Link};
use crate::{
    backoff::Backoff,
    wire::{self, query_client::QueryClient},
};

/// Waits between the attempts of a call.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A request of a unary method. All of them only read, so any may be asked twice.
pub(super) trait Ask: Clone + Send {
    type Answer;

    fn ask(
        client: QueryClient<Channel>,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

impl Ask for wire::ListRequest {
    type Answer = wire::ListResponse;

    async fn ask(
        mut client: QueryClient<Channel>,
        request: Request<Self>,
    ) -> Result<Response<Self::Answer>, Status> {
        client.list(request).await
    }
}

impl Ask for wire::ExplainRequest {
    type Answer = wire::ExplainResponse;

    async fn ask(
        mut client: QueryClient<Channel>,
        request: Request<Self>,
    ) -> Result<Response<Self::Answer>, Status> {
        client.explain(request).await
    }
}

impl Ask for wire::RawRequest {
    type Answer = wire::RawResponse;

    async fn ask(
        mut client: QueryClient<Channel>,
        request: Request<Self>,
    ) -> Result<Response<Self::Answer>, Status> {
        client.raw(request).await
    }
}

impl Client {
    pub(super) async fn call<R: Ask>(&self, request: R) -> Result<R::Answer, Error> {
        let deadline = Instant::now() + self.0.options.timeout;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut was_refused = false;
        loop {
            let attempt = self.attempt(request.clone(), deadline);
            let Ok(outcome) = timeout_at(deadline, attempt).await else {
                return Err(Error::TimedOut(format!("{:?} are over", self.0.options.timeout)));
            };
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let next = match error {
                // The token may have been replaced since it was read.
                Error::Unauthenticated(_) if !was_refused => {
                    was_refused = true;
                    Instant::now()
                }
                // Who is over a limit is not helped by a second question at once.
                Error::Limit(_) | Error::TimedOut(_) => return Err(error),
                ref passing if passing.is_passing() => Instant::now() + backoff.next(rand::random()),
                _ => return Err(error),
            };
            if next >= deadline {
                return Err(error);
            }
            sleep_until(next).await;
        }
    }

    async fn attempt<R: Ask>(&self, request: R, deadline: Instant) -> Result<R::Answer, Error> {
        let link = self.0.shared().await?;
        let mut request = link.request(request);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        match R::ask(link.client(), request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(self.failed(&link, status)),
        }
    }

    /// An aggregator that cannot answer, or does not know the caller, is left.
    fn failed(&self, link: &Link, status: Status) -> Error {
        let error = Error::from(status);
        if matches!(error, Error::Unavailable(_) | Error::Unauthenticated(_) | Error::TimedOut(_)) {
            self.0.forget(link);
        }
        error
    }
}
