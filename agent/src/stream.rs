//! One stream to one aggregator: open, say who we are, replay, send, and begin again after a wait.
//!
//! Every aggregator has its own task and its own position in the history, so that a slow or lost one holds up
//! nobody. A task never ends by itself.

mod connect;
mod links;
mod session;
pub mod targets;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kubevitals::{backoff::Backoff, wire};
use tokio_util::sync::CancellationToken;

pub use connect::Endpoint;
pub use links::{Links, NoReview};
pub use session::EndedBy;

use crate::{history::History, identity::Identities, metrics::Streams};

/// The first wait after a stream was lost.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest wait for an aggregator that does not answer. Short, because an aggregator that comes back should
/// have complete windows within two seconds, and a refused connection costs next to nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait for one that refuses us or breaks the contract: it has to be mended by someone.
const LONGEST_WAIT_REFUSED: Duration = Duration::from_secs(15);

/// A stream that was open for so long ended for a reason of that moment, such as a token that was replaced: what was
/// waited before does not count.
const LASTED: Duration = Duration::from_secs(30);

/// What all streams of an agent share.
#[derive(Debug, Clone)]
pub struct Context {
    /// Sent first on each stream.
    pub hello: Arc<wire::Hello>,
    /// What to send.
    pub history: History,
    /// What comes back: who the series are.
    pub identities: Identities,
    /// Aggregators that have let us in.
    pub links: Links,
    /// Where to count.
    pub metrics: Streams,
    /// The tick, from which time limits follow.
    pub interval: Duration,
}

/// Streams to one aggregator until `shutdown`.
pub async fn run(endpoint: Endpoint, context: Context, shutdown: CancellationToken) {
    let mut soon = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut late = Backoff::new(FIRST_WAIT, LONGEST_WAIT_REFUSED);
    let mut reported = None;
    loop {
        let begun = Instant::now();
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = session::run(&endpoint, &context) => ended,
        };
        context.identities.left(&endpoint.to_string());
        context.metrics.ended(ended.by.as_str());
        if ended.was_open && (!ended.by.is_refusal() || begun.elapsed() >= LASTED) {
            soon.reset();
            late.reset();
            reported = None;
        }
        // The same fault again is counted, not logged.
        if reported != Some(ended.by) {
            tracing::warn!(aggregator = %endpoint, reason = ended.by.as_str(), detail = %ended.detail, "stream ended");
            reported = Some(ended.by);
        }
        let backoff = if ended.by.is_refusal() { &mut late } else { &mut soon };
        let wait = backoff.next(rand::random());
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
