//! What the rings of a node have in common: how long they are, and when the node's last sweeps began. Pure.
//!
//! An agent reads all containers of its node one after the other, so what a sweep's begin leaves open of the time of a
//! sample is little: 5 to 10 bits a sample less than what the agent's pace leaves open.

use std::{collections::VecDeque, time::Duration};

use kubevitals::sample::BootTime;

/// So many more are known than a ring has samples: one that is under way, and one for whom was left out in it.
const SPARE: usize = 2;

/// The lengths of a node's rings, and the begins of its last sweeps, ascending; they are numbered.
#[derive(Debug, Default)]
pub(in crate::store) struct Sweeps {
    /// Microseconds.
    begun: VecDeque<u64>,
    /// The last of them once more: what is asked is mostly of a time since the last, and finds it in one place.
    newest: u64,
    /// The number of the next one.
    next: u32,
    /// Microseconds from one to the next, as the agent promises.
    pace: u32,
    /// Samples of a ring; one that has more slots keeps them.
    capacity: u16,
}

impl Sweeps {
    /// For rings that are of no node.
    pub(super) const NONE: Self = Self { begun: VecDeque::new(), newest: 0, next: 0, pace: 0, capacity: 0 };

    /// Rings have so many samples from now on, if they have less, that come every `pace` or so. Others are admitted as well,
    /// and take more memory.
    pub(in crate::store) fn keep(&mut self, samples: usize, pace: Duration) {
        let samples = u16::try_from(samples.max(2)).unwrap_or(u16::MAX);
        self.capacity = self.capacity.max(samples);
        self.pace = u32::try_from(pace.as_micros()).unwrap_or(u32::MAX);
    }

    pub(super) fn capacity(&self) -> u16 {
        self.capacity
    }

    pub(super) fn pace(&self) -> u32 {
        self.pace
    }

    /// A sweep begins. One that is not later than the last is none.
    pub(in crate::store) fn begin(&mut self, time: BootTime) {
        if self.begun.back().is_some_and(|&last| last >= time.0) || self.next == u32::MAX {
            return;
        }
        while self.begun.len() >= usize::from(self.capacity) + SPARE {
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

    /// The number of one that began near `time`: within one or two of the nearest when they come at their pace.
    pub(super) fn near(&self, time: u64) -> u32 {
        let pace = u64::from(self.pace.max(1));
        let before_last = self.newest.saturating_sub(time).saturating_add(pace / 2) / pace;
        let before_next = u32::try_from(before_last).unwrap_or(u32::MAX).saturating_add(1);
        self.next.saturating_sub(before_next).max(self.first())
    }

    fn first(&self) -> u32 {
        self.next.saturating_sub(u32::try_from(self.begun.len()).unwrap_or(u32::MAX))
    }
}
