//! How `serve` ends: readiness first, then a while for clients to move away, then what is in flight.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{api::inflight::InFlight, pipeline::Pipeline, serve::RunError};

/// How long what is in flight may take after the delay. Both together must stay within a pod's usual grace period of
/// 30 s; a peer that is gone without a word would take longer.
const DRAIN: Duration = Duration::from_secs(10);

/// The steps of an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Between failing readiness and the end: how long load balancers take to notice.
    pub delay: Duration,
    /// Whether the listener stays open until what is in flight has ended, and tells new requests to come back later.
    pub send_retry_after: bool,
}

impl Shutdown {
    /// Waits for the signal, then ends everything in order. `stop` ends the tasks; one that ends before is a fault.
    pub(crate) async fn run(
        self,
        mut tasks: JoinSet<&'static str>,
        pipeline: Pipeline,
        in_flight: InFlight,
        stop: CancellationToken,
        signal: CancellationToken,
    ) -> Result<(), RunError> {
        let ended = tokio::select! {
            () = signal.cancelled() => None,
            ended = tasks.join_next() => ended,
        };
        if let Some(ended) = ended {
            stop.cancel();
            return Err(RunError::TaskEnded(ended.unwrap_or("a panicking task")));
        }
        pipeline.unready();
        tracing::info!(delay_s = self.delay.as_secs_f64(), "readiness fails; still serving for a while");
        sleep(self.delay).await;
        let end = Instant::now() + DRAIN;
        if self.send_retry_after && timeout_at(end, in_flight.drain()).await.is_err() {
            tracing::warn!("requests in flight did not end in time");
        }
        stop.cancel();
        let drained = async { while tasks.join_next().await.is_some() {} };
        if timeout_at(end, drained).await.is_err() {
            tracing::warn!("what did not end in time is cut off");
        }
        tracing::info!("stopped");
        Ok(())
    }
}
