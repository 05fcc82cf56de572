//! The number of the newest batch, for those who wait for it.
//!
//! A watch channel would do, but it tells its readers in eight groups, one after the other: a stream that ran as soon as
//! its group was told waited again in a later one, and on every other tick it was woken twice.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// The writer's side; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Newest(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    sequence: AtomicU64,
    told: Notify,
}

/// One reader's side.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    seen: u64,
}

impl Newest {
    /// Tells all readers.
    pub(super) fn tell(&self, sequence: u64) {
        self.0.sequence.store(sequence, Ordering::Release);
        self.0.told.notify_waiters();
    }

    /// A reader that has seen what is newest now.
    pub(super) fn follow(&self) -> Follower {
        Follower { shared: Arc::clone(&self.0), seen: self.0.sequence.load(Ordering::Acquire) }
    }
}

impl Follower {
    /// The newest batch's number as this reader saw it last; 0 before the first batch.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Waits until there is a batch that was not seen yet. Nothing is lost when this is dropped while it waits.
    pub async fn changed(&mut self) {
        loop {
            // Before the look: what is told after the look is then heard.
            let told = self.shared.told.notified();
            let sequence = self.shared.sequence.load(Ordering::Acquire);
            if sequence != self.seen {
                self.seen = sequence;
                return;
            }
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn each_reader_is_told_of_a_batch_once() {
        let newest = Newest::default();
        newest.tell(1);
        let mut readers = [newest.follow(), newest.follow()];
        for reader in &mut readers {
            assert_eq!(reader.seen(), 1);
            assert!(reader.changed().now_or_never().is_none(), "nothing new yet");
        }
        newest.tell(2);
        newest.tell(3);
        for reader in &mut readers {
            reader.changed().await;
            assert_eq!(reader.seen(), 3);
            assert!(reader.changed().now_or_never().is_none(), "told once");
        }
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let newest = Newest::default();
        let mut reader = newest.follow();
        let waiting = tokio::spawn(async move {
            reader.changed().await;
            reader.seen()
        });
        tokio::task::yield_now().await;
        newest.tell(7);
        assert_eq!(waiting.await.unwrap(), 7);
    }
}
