//! What is asked of a node's counters, and the way between its two clocks.

use std::time::{Duration, Instant};

use kubevitals::{
    chain::Omission,
    sample::{BootTime, Details, WallTime},
};

use super::{Counter, CounterRef, LastPlace, NodeState, Samples, Session, Slot};

impl NodeState {
    /// The samples of a counter.
    #[must_use]
    pub fn ring(&self, counter: &CounterRef) -> Option<Samples<'_>> {
        self.counters.samples(counter)
    }

    /// The samples of a counter that was asked for before.
    #[must_use]
    pub fn ring_again(&self, counter: &CounterRef, last: &LastPlace) -> Option<Samples<'_>> {
        self.counters.samples_at(self.counters.find_again(counter, last)?)
    }

    /// Looks at all that a question about any counter needs of the node. The number says nothing.
    pub(in crate::store) fn look_around(&self) -> u64 {
        let cpus = self.session.as_ref().map_or(0, |session| u64::from(session.cpus));
        let counters = u64::try_from(self.counters.len()).unwrap_or_default();
        self.anchor.0.0 ^ cpus ^ counters ^ u64::from(self.received.is_some())
    }

    /// Where the samples of a counter are, or of another one: to be read ahead, not to be used.
    pub(in crate::store) fn likely_slot(&self, counter: &CounterRef, last: &LastPlace) -> Option<Slot> {
        self.counters.likely(counter, last)
    }

    /// Looks at the counter in a slot and at its samples. The number says nothing.
    pub(in crate::store) fn look_at(&self, slot: Slot) -> u64 {
        let counter = self.counters.at(slot).map_or(0, Counter::look);
        let samples = self.counters.samples_at(slot).map_or(0, Samples::len);
        counter ^ samples as u64
    }

    /// Looks at the sample in a slot that was taken so long before its newest. The number says nothing.
    pub(in crate::store) fn look_back(&self, slot: Slot, window: Duration) -> u64 {
        self.counters.samples_at(slot).map_or(0, |samples| samples.look_back(window))
    }

    /// What was read of a counter's cgroup beside CPU time and memory; `None` when nothing was.
    #[must_use]
    pub fn details(&self, counter: &CounterRef) -> Option<Details> {
        self.counters.get(counter)?.details()
    }

    /// When a counter's cgroup was made, if its agent knows.
    #[must_use]
    pub fn birth(&self, counter: &CounterRef) -> Option<WallTime> {
        self.counters.get(counter)?.birth()
    }

    /// Whether a counter is live, not just kept.
    #[must_use]
    pub fn is_live(&self, counter: &CounterRef) -> bool {
        self.counters.get(counter).is_some_and(|counter| counter.ended().is_none())
    }

    /// Whether there was no place for a counter within the limit.
    #[must_use]
    pub fn is_refused(&self, counter: &CounterRef) -> bool {
        self.refused.contains(counter)
    }

    /// How many live counters are kept, the node's own among them, and for how many there was no place.
    #[must_use]
    pub fn counted(&self) -> (usize, usize) {
        (self.counters.iter().filter(|counter| counter.ended().is_none()).count(), self.refused.len())
    }

    /// What the agent left out at its last tick, by reason.
    #[must_use]
    pub fn omissions(&self) -> &[Omission] {
        &self.omissions
    }

    /// Who speaks for the node.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether a stream is open.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// When the last tick began, on the node's clock.
    #[must_use]
    pub fn last_tick(&self) -> BootTime {
        self.anchor.0
    }

    /// How long ago the last tick came; `None` before the first.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.received.map(|received| now.saturating_duration_since(received))
    }

    /// What the node's clock says now, as far as we can tell.
    #[must_use]
    pub fn now(&self, now: Instant) -> BootTime {
        let silent = self.silent_for(now).unwrap_or_default();
        BootTime(self.anchor.0.0.saturating_add(u64::try_from(silent.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The wall time of a moment on the node's clock.
    #[must_use]
    pub fn wall(&self, time: BootTime) -> WallTime {
        let (anchor, wall) = self.anchor;
        WallTime(if time >= anchor {
            wall.0.saturating_add(time.0 - anchor.0)
        } else {
            wall.0.saturating_sub(anchor.0 - time.0)
        })
    }

    /// The moment on the node's clock of a wall time.
    #[must_use]
    pub fn boot(&self, time: WallTime) -> BootTime {
        let (anchor, wall) = self.anchor;
        BootTime(if time >= wall {
            anchor.0.saturating_add(time.0 - wall.0)
        } else {
            anchor.0.saturating_sub(wall.0 - time.0)
        })
    }
}
