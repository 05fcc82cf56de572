//! What all long lists together may take: places, memory for plans, and turns at the processors.

use std::{sync::Arc, thread::available_parallelism};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use crate::api::inflight::DEFAULT_LIMIT;

/// Memory for plans, bytes. Who finds none waits within the request's time.
const MEMORY: usize = 256 << 20;

/// Counted for one pod that may be in a list, bytes.
const PER_POD: usize = 48;

/// The unit in which memory is given out, bytes.
const UNIT: usize = 4096;

/// The budget; clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    places: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::beside(DEFAULT_LIMIT)
    }
}

/// One processor is left to ingest and to small answers, if there is more than one. More lists at one time would be no
/// faster.
fn turns() -> usize {
    available_parallelism().map_or(1, |processors| processors.get().saturating_sub(1).max(1))
}

impl Budget {
    /// For a server that answers at most `requests` at one time. Three quarters of them may be long lists of pods: however many
    /// people look at everything, autoscalers, who want a few pods each, find a place.
    #[must_use]
    pub fn beside(requests: usize) -> Self {
        let places = requests.min(Semaphore::MAX_PERMITS).div_ceil(4) * 3;
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { places: semaphore(places), memory: semaphore(MEMORY / UNIT), turns: semaphore(turns()) }
    }

    /// A place for a long list, until it is sent; `None` when all are taken. Nobody is exempt, as each takes memory.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Waits for room for a list of so many pods. One too large for all of it gets all of it. None never comes: nobody
    /// closes the queue.
    pub(super) async fn room_for(&self, pods: usize) -> Option<OwnedSemaphorePermit> {
        let units = (pods.saturating_mul(PER_POD) / UNIT).clamp(1, MEMORY / UNIT);
        Arc::clone(&self.memory).acquire_many_owned(u32::try_from(units).ok()?).await.ok()
    }

    /// Waits for a turn: less than a millisecond of work on a long list.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// A turn, if nobody else has it or waits for it.
    pub(super) fn turn_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    /// The same as [`Self::turn`], to be polled for.
    pub(super) fn turns(&self) -> PollSemaphore {
        PollSemaphore::new(Arc::clone(&self.turns))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_on_long_lists_leaves_a_processor_to_others() {
        let budget = Budget::default();
        let mut taken = Vec::new();
        for _ in 0..turns() {
            taken.push(budget.turn().await.unwrap());
        }
        assert!(timeout(Duration::from_secs(1), budget.turn()).await.is_err());
        taken.pop();
        assert!(budget.turn().await.is_some());
    }
}
