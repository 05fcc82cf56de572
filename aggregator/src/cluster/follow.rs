//! One watch that goes on whatever happens: what it says is handed on, what fails is logged and counted.
//!
//! Lists, resumed watches and expired versions are the kube crate's work. Its backoff is not used: with each try it
//! grows, to 30 s, and so long names would stay wrong after the API server's return. It is asked about once a second
//! instead, which costs it next to nothing for two watches of each replica.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::SetOnce;
use tracing::{Dispatch, instrument::WithSubscriber};

use crate::{causes::with_causes, metrics::Watch};

/// The longest wait before the next try; the shortest is half of it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Waits that do not grow, each of another length, so that replicas do not ask in step.
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(LONGEST_WAIT.mul_f64(0.5 + 0.5 * rand::random::<f64>()))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

/// How a watch is getting on.
pub(super) struct Progress {
    resource: &'static str,
    metrics: Watch,
    synced: Arc<SetOnce<()>>,
    /// The last error, until something was heard again.
    trouble: Option<String>,
}

/// Whether everything was read once.
#[derive(Debug, Clone)]
pub struct Synced([Arc<SetOnce<()>>; 2]);

impl Synced {
    pub(super) fn of(watches: [&Progress; 2]) -> Self {
        Self(watches.map(|watch| Arc::clone(&watch.synced)))
    }

    /// Whether it was.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.iter().all(|watch| watch.initialized())
    }

    /// Waits until it was.
    pub async fn wait(&self) {
        for watch in &self.0 {
            watch.wait().await;
        }
    }
}

impl Progress {
    pub(super) fn new(resource: &'static str, metrics: Watch) -> Self {
        Self { resource, metrics, synced: Arc::default(), trouble: None }
    }

    fn heard(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(resource = self.resource, "watching the cluster again");
        }
    }

    fn listed(&mut self) {
        self.heard();
        match self.synced.set(()) {
            Ok(()) => tracing::info!(resource = self.resource, "watching the cluster"),
            Err(_) => {
                self.metrics.relists.inc();
            }
        }
    }

    fn failed(&mut self, error: &watcher::Error) {
        self.metrics.errors.inc();
        let trouble = with_causes(error);
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(resource = self.resource, error = trouble, "cannot watch the cluster; trying on");
        }
        self.trouble = Some(trouble);
    }
}

/// Hands every event to `take`. Does not end by itself.
pub(super) async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    mut progress: Progress,
    mut take: impl FnMut(Event<K>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut events = pin!(watcher(api, config).backoff(Steady));
    // The client logs each failed request as an error of its own; we log what changes.
    while let Some(event) = events.next().with_subscriber(Dispatch::none()).await {
        match event {
            // Asked for a list; nothing was answered yet.
            Ok(Event::Init) => take(Event::Init),
            Ok(Event::InitDone) => {
                take(Event::InitDone);
                progress.listed();
            }
            Ok(event) => {
                progress.heard();
                progress.metrics.events.inc();
                take(event);
            }
            Err(error) => progress.failed(&error),
        }
    }
}
