//! When the last sweeps of a node began. Pure.
//!
//! An agent reads all containers of its node one after the other, so what a sweep's begin leaves open of the time of a
//! sample is little: 5 to 10 bits a sample less than what the agent's pace leaves open.

use std::collections::VecDeque;

use kubevitals::sample::BootTime;

/// So many more are known than a ring has samples: one that is under way, and one for whom was left out in it.
const SPARE: usize = 2;

/// The begins of a node's last sweeps, ascending; they are numbered.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// Microseconds.
    begun: VecDeque<u64>,
    /// The last of them once more: what is asked is mostly of a time since the last, and finds it in one place.
    newest: u64,
    /// The number of the next one.
    next: u32,
    /// Most that are remembered: as many as the longest ring has samples, and a few more.
    most: usize,
}

impl Sweeps {
    /// For rings that are of no node.
    pub(super) const NONE: Self = Self { begun: VecDeque::new(), newest: 0, next: 0, most: 0 };

    /// Remembers as many as the samples of a ring, from now on.
    pub(super) fn keep(&mut self, samples: usize) {
        self.most = self.most.max(samples + SPARE);
    }

    /// A sweep begins. One that is not later than the last is none.
    pub(super) fn begin(&mut self, time: BootTime) {
        if self.begun.back().is_some_and(|&last| last >= time.0) || self.next == u32::MAX {
            return;
        }
        while self.begun.len() >= self.most.max(1) {
            self.begun.pop_front();
        }
        self.begun.push_back(time.0);
        self.newest = time.0;
        self.next += 1;
    }

    /// The number of the last one.
    pub(super) fn last(&self) -> Option<u32> {
        self.next.checked_sub(1).filter(|_| !self.begun.is_empty())
    }

    /// When a sweep began, if it is remembered.
    pub(super) fn begun(&self, number: u32) -> Option<u64> {
        let nth = number.checked_sub(self.first())?;
        self.begun.get(usize::try_from(nth).ok()?).copied()
    }

    /// The number of one that began near `time`: within one or two of the nearest when they come at that pace.
    pub(super) fn near(&self, time: u64, pace: u32) -> u32 {
        let pace = u64::from(pace.max(1));
        let before_last = (self.newest.saturating_sub(time) + pace / 2) / pace;
        let before_next = u32::try_from(before_last).unwrap_or(u32::MAX).saturating_add(1);
        self.next.saturating_sub(before_next).max(self.first())
    }

    fn first(&self) -> u32 {
        self.next.saturating_sub(u32::try_from(self.begun.len()).unwrap_or(u32::MAX))
    }
}
