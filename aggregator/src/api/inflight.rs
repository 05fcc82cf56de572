//! How many requests are answered at one time, and which ones a shutdown waits for.
//!
//! A request counts until the last byte of its response is sent and the work behind it has ended, whichever is later:
//! a client that leaves does not stop a thread that is encoding for it. Only the few milliseconds of a long list that another
//! thread is at by then do not count: there are at most as many of those as turns (`stream/budget.rs`).

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Requests at one time when no flag says otherwise; as many as Kubernetes' own servers allow.
pub const DEFAULT_LIMIT: usize = 400;

/// The requests being answered. Clones share them.
#[derive(Clone, Debug)]
pub struct InFlight {
    limit: usize,
    places: Arc<Semaphore>,
    begun: TaskTracker,
    draining: CancellationToken,
    gauge: Gauge,
}

/// One request that a shutdown waits for.
#[derive(Debug)]
pub struct Begun {
    _waited_for: TaskTrackerToken,
    gauge: Gauge,
}

/// One of the places of which there are so many.
#[derive(Debug)]
pub struct Place {
    /// None for those to whom the limit does not apply.
    _permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// At most `limit` at one time, counted by `gauge`.
    #[must_use]
    pub fn new(limit: usize, gauge: Gauge) -> Self {
        Self {
            limit,
            places: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            begun: TaskTracker::new(),
            draining: CancellationToken::new(),
            gauge,
        }
    }

    /// How many there may be at one time.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Begins a request; `None` when new ones are turned away.
    #[must_use]
    pub fn begin(&self) -> Option<Begun> {
        // Counted before the question, so that a shutdown that begins meanwhile waits for it.
        self.gauge.inc();
        let begun = Begun { _waited_for: self.begun.token(), gauge: self.gauge.clone() };
        (!self.draining.is_cancelled()).then_some(begun)
    }

    /// A place for a request; `None` when all are taken and it is not exempt.
    #[must_use]
    pub fn place(&self, exempt: bool) -> Option<Place> {
        if exempt {
            return Some(Place { _permit: None });
        }
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: Some(permit) })
    }

    /// Turns new requests away from now on, and waits for those that have begun.
    pub async fn drain(&self) {
        self.draining.cancel();
        self.begun.close();
        self.begun.wait().await;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn c110_places_are_limited_and_come_back_and_some_need_none() {
        let in_flight = InFlight::new(2, Gauge::default());
        let first = in_flight.place(false).unwrap();
        let _second = in_flight.place(false).unwrap();
        assert!(in_flight.place(false).is_none());
        assert!(in_flight.place(true).is_some());
        drop(first);
        assert!(in_flight.place(false).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn c116_a_drain_waits_for_what_has_begun_and_lets_nothing_new_begin() {
        let gauge = Gauge::default();
        let in_flight = InFlight::new(2, gauge.clone());
        let begun = in_flight.begin().unwrap();
        assert_eq!(gauge.get(), 1);
        let mut drain = std::pin::pin!(in_flight.drain());
        assert!(timeout(Duration::from_secs(1), drain.as_mut()).await.is_err());
        assert!(in_flight.begin().is_none());
        assert_eq!(gauge.get(), 1);
        drop(begun);
        timeout(Duration::from_secs(1), drain).await.unwrap();
        assert_eq!(gauge.get(), 0);
    }
}
