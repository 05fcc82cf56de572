//! How far back agents begin that have to begin anew.
//!
//! An agent keeps a minute for an aggregator that knows nothing, so that any window is whole at once. When the agents of a
//! large cluster come all together, as after a restart, that minute of each is a third of the work until answers are
//! complete, and answers need one window of it. So while many are behind, those who come are asked for that much. Longer windows,
//! which only direct consumers ask for, grow whole within the minute then; their true length is told, as always.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// While more than so many are behind, those who come are asked for less. Fewer have caught up within a second.
const MANY: usize = 64;

/// Beside the window and a tick: those who come are behind for a while.
const SLACK: Duration = Duration::from_secs(4);

/// None is counted for longer: an agent may say that it has more than it ever sends.
const LONGEST: Duration = Duration::from_mins(1);

/// The streams that began anew and have not come to the present yet.
#[derive(Debug)]
pub struct Rush {
    window: Duration,
    behind: AtomicUsize,
}

impl Rush {
    /// For answers over this window.
    #[must_use]
    pub fn new(window: Duration) -> Arc<Self> {
        Arc::new(Self { window, behind: AtomicUsize::new(0) })
    }

    /// Counts one more that is behind.
    pub(super) fn join(self: &Arc<Self>) -> Behind {
        self.behind.fetch_add(1, Relaxed);
        Behind { rush: Arc::clone(self), since: Instant::now() }
    }
}

/// A stream that is behind, until this is dropped.
#[derive(Debug)]
pub(super) struct Behind {
    rush: Arc<Rush>,
    since: Instant,
}

impl Behind {
    /// How far back its agent, which ticks each `interval`, is asked to begin; `None` is as far as it can.
    pub(super) fn back(&self, interval: Duration) -> Option<Duration> {
        let Rush { window, behind } = self.rush.as_ref();
        (behind.load(Relaxed) > MANY).then(|| *window + interval + SLACK)
    }

    /// Whether it has been counted for as long as any is.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > LONGEST
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.rush.behind.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_asked_for_until_many_are_behind_and_again_when_they_are_not() {
        let rush = Rush::new(Duration::from_secs(15));
        let tick = Duration::from_secs(1);
        let mut behind: Vec<Behind> = (0..MANY).map(|_| rush.join()).collect();
        assert!(behind.iter().all(|one| one.back(tick).is_none()));
        let last = rush.join();
        assert_eq!(last.back(tick), Some(Duration::from_secs(20)));
        behind.pop();
        assert_eq!(last.back(tick), None);
    }

    #[test]
    fn nobody_is_counted_for_ever() {
        let behind = Rush::new(Duration::from_secs(15)).join();
        assert!(!behind.is_over(Instant::now()));
        assert!(behind.is_over(Instant::now() + LONGEST * 2));
    }
}
