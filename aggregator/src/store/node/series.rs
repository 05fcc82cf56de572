//! Which counters a node has: what is announced gets a place, what ends keeps it for a while.

use kubevitals::{
    chain::{Announcement, Tick},
    limits::MAX_SERIES,
    sample::BootTime,
};

use super::{Announced, Applied, Counter, CounterRef, KEEP_ENDED, NodeState, Slot, Stored};

impl NodeState {
    pub(super) fn end_series(&mut self, tick: &Tick) {
        for (series, stored) in self.live.end(tick.ended.iter().map(|farewell| farewell.series)) {
            match stored {
                Stored::In(slot) => self.mark_ended(slot, tick.time),
                Stored::Nowhere | Stored::Evicted => self.refused.remove_series(series),
            }
        }
    }

    pub(super) fn end_unconfirmed(&mut self, time: BootTime) {
        if !std::mem::take(&mut self.unconfirmed) {
            return;
        }
        let unconfirmed = self.counters.iter_mut().filter(|(_, counter)| counter.unconfirmed);
        let slots: Vec<Slot> = unconfirmed.map(|(slot, _)| slot).collect();
        for slot in slots {
            self.mark_ended(slot, time);
        }
    }

    pub(super) fn announce_all(&mut self, announced: &[Announcement], applied: &mut Applied) {
        // The first tick after a snapshot may name what the restart has taken over already.
        let stored = announced.iter().filter(|announcement| {
            CounterRef::is_of(&announcement.subject)
                && self.live.get(announcement.series).is_none()
                && !self.live.is_evicted(announcement.series)
        });
        self.reserve(stored.count());
        for announcement in announced {
            // What is left out was judged before the tick that announces it is stored.
            if !self.live.is_evicted(announcement.series) {
                self.announce(announcement, applied);
            }
        }
    }

    /// Makes room for so many that are announced, and for no more than that: a node's first tick brings almost all it ever has.
    pub(super) fn reserve(&mut self, stored: usize) {
        // To a new agent process most of what it announces is what we have.
        let held = if self.unconfirmed { self.counters.len() } else { 0 };
        self.live.reserve(stored);
        self.counters.reserve(stored.saturating_sub(held));
    }

    pub(super) fn announce(&mut self, announcement: &Announcement, applied: &mut Applied) {
        let Some(name) = CounterRef::of(&announcement.subject) else {
            return;
        };
        let (series, announced) = (announcement.series, Announced::from(announcement));
        if self.live.get(series).is_some() {
            // The restart that this tick brought about has named it.
            return;
        }
        self.refused.remove(&name);
        let slot = self.resume(&name, announcement).or_else(|| self.place(&name, announced));
        let Some(slot) = slot else {
            applied.refused_containers += 1;
            self.live.set(series, Stored::Nowhere);
            self.refused.insert(name, announced);
            return;
        };
        self.live.set(series, Stored::In(slot));
        if let Some(first) = announcement.first {
            applied.count(self.counters.rings.push(slot, first));
        }
    }

    /// Makes a new counter, if there is a place for it.
    fn place(&mut self, name: &CounterRef, announced: Announced) -> Option<Slot> {
        // What was held under this name leaves its place to what is new.
        if let Some(slot) = self.counters.find(name) {
            self.release(slot);
            self.counters.remove(slot);
        }
        // Those that ended count too, so that no agent takes all places by naming new containers without end.
        if *name != CounterRef::Node && self.counters.len() > MAX_SERIES {
            return None;
        }
        let (length, interval) = (self.ring_length(), self.interval());
        self.counters.insert(Counter::new(name.clone(), announced), length, interval)
    }

    /// The series that a counter counted for has it no more. Of two live ones with the same subject (one container in two
    /// places of the tree) the one announced last counts.
    fn release(&mut self, slot: Slot) {
        if let Some(counter) = self.counters.at(slot) {
            self.live.release(counter.series, slot);
        }
    }

    /// Gives places that have become free to those that were refused.
    pub(super) fn admit_refused(&mut self) {
        while let Some((name, announced)) = self.refused.first() {
            let Some(slot) = self.place(&name, announced) else {
                return;
            };
            self.live.set(announced.series, Stored::In(slot));
            self.undescribed.insert(announced.series);
            self.refused.remove(&name);
        }
    }

    /// Goes on with the counter we have already, if that is what is announced (a new agent process saw it again): the same
    /// inode in the same boot, and not lower than before.
    fn resume(&mut self, name: &CounterRef, announcement: &Announcement) -> Option<Slot> {
        let (length, interval) = (self.ring_length(), self.interval());
        let slot = self.counters.find(name)?;
        let samples = self.counters.samples_at(slot)?;
        // A first reading from before what we hold says nothing: the announcement is heard again.
        let newest = samples.newest().zip(announcement.first);
        let lower = newest.is_some_and(|(newest, first)| first.time > newest.time && first.cpu < newest.cpu);
        let held = self.counters.at(slot)?;
        // A series that was replaced under the same inode is a counter that was reset.
        if held.inode != announcement.inode || lower || (held.ended().is_some() && *name != CounterRef::Node)
        {
            return None;
        }
        self.release(slot);
        self.counters.at_mut(slot)?.resume(announcement.into());
        // The agent may tick more often than before.
        self.counters.rings.keep(length, interval);
        Some(slot)
    }

    fn mark_ended(&mut self, slot: Slot, time: BootTime) {
        if let Some(counter) = self.counters.at_mut(slot) {
            counter.end(time);
            self.ended.push((time, slot));
        }
        self.counters.rings.settle(slot);
    }

    pub(super) fn forget_ended(&mut self, now: BootTime) {
        let Self { ended, counters, .. } = self;
        ended.retain(|&(time, slot)| {
            // The same container may have been announced again since, and may even have ended again: whoever does that again
            // and again within moments of its own clock is noted once.
            let is_ended = counters.at(slot).is_some_and(|counter| counter.ended() == Some(time));
            let is_over = now.since(time) > KEEP_ENDED;
            if is_ended && is_over {
                counters.remove(slot);
            }
            is_ended && !is_over
        });
    }
}
