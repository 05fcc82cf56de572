//! A node's counters, each in a slot: found by container when something is asked, by series when a tick is stored.
//!
//! A tick is stored once a second for every container of the cluster, and by then nothing of the node is in the
//! processor's caches any more. So what a tick needs lies side by side in the order in which it comes, and what only
//! questions need lies apart: storing goes over a few arrays from front to back, which the processor reads ahead of us.

use std::{hash::BuildHasher as _, time::Duration};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    Places,
    counter::Counter,
    ring::Samples,
    rings::Rings,
    subject::{CounterRef, LastPlace},
};

/// Fewer free slots are not worth closing.
const FEW_FREE: usize = 16;

/// Where a counter is as long as it is kept, or until gaps are closed. Later another one may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

impl Slot {
    pub(super) fn new(index: u32) -> Self {
        Self(index)
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The counters of one node. Each but the node's own has a place, which is given back when it is let go of.
#[derive(Debug)]
pub(super) struct Counters {
    places: Places,
    /// By slot; that of a free one is empty.
    pub(super) rings: Rings,
    /// By slot; `None` is free.
    rest: Vec<Option<Counter>>,
    free: Vec<Slot>,
    /// Slots by the hash of their counter's name: names are kept once, with their counters.
    names: HashTable<Slot>,
    hasher: RandomState,
}

impl Counters {
    /// None yet.
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            rings: Rings::default(),
            rest: Vec::new(),
            free: Vec::new(),
            names: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Where the counter of this name is.
    pub(super) fn find(&self, name: &CounterRef) -> Option<Slot> {
        let is_it = |slot: &Slot| self.at(*slot).is_some_and(|counter| counter.name == *name);
        self.names.find(self.hasher.hash_one(name), is_it).copied()
    }

    /// The same, looked for where it was the last time.
    pub(super) fn find_again(&self, name: &CounterRef, last: &LastPlace) -> Option<Slot> {
        if let Some(slot) = last.slot()
            && self.at(slot).is_some_and(|counter| counter.name == *name)
        {
            return Some(slot);
        }
        let slot = self.find(name)?;
        last.note(slot);
        Some(slot)
    }

    /// Where the counter of this name was, or may be: names are not compared.
    pub(super) fn likely(&self, name: &CounterRef, last: &LastPlace) -> Option<Slot> {
        last.slot().or_else(|| self.names.find(self.hasher.hash_one(name), |_| true).copied())
    }

    /// The counter of this name.
    pub(super) fn get(&self, name: &CounterRef) -> Option<&Counter> {
        self.at(self.find(name)?)
    }

    /// Its samples.
    pub(super) fn samples(&self, name: &CounterRef) -> Option<Samples<'_>> {
        self.samples_at(self.find(name)?)
    }

    /// The counter in a slot.
    pub(super) fn at(&self, slot: Slot) -> Option<&Counter> {
        self.rest.get(slot.index())?.as_ref()
    }

    /// The counter in a slot, to change. Its name stays.
    pub(super) fn at_mut(&mut self, slot: Slot) -> Option<&mut Counter> {
        self.rest.get_mut(slot.index())?.as_mut()
    }

    /// The samples of the counter in a slot.
    pub(super) fn samples_at(&self, slot: Slot) -> Option<Samples<'_>> {
        self.rings.samples(slot)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Counter> {
        self.rest.iter().flatten()
    }

    /// All of them with their slots, to change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Counter)> {
        (0..).map(Slot).zip(&mut self.rest).filter_map(|(slot, counter)| Some((slot, counter.as_mut()?)))
    }

    /// Adds one whose name is not there yet; `None` when there is no place for it.
    pub(super) fn insert(&mut self, counter: Counter, samples: usize, pace: Duration) -> Option<Slot> {
        if needs_place(&counter) && !self.places.take() {
            return None;
        }
        self.rings.keep(samples, pace);
        let hash = self.hasher.hash_one(&counter.name);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.new_slot(),
        };
        if let Some(rest) = self.rest.get_mut(slot.index()) {
            *rest = Some(counter);
        }
        let Self { names, rest, hasher, .. } = self;
        names.insert_unique(hash, slot, |held| hash_at(rest, hasher, *held));
        Some(slot)
    }

    /// Makes room for so many more, and for little more than that.
    pub(super) fn reserve(&mut self, more: usize) {
        let more = more.saturating_sub(self.free.len());
        let spare = self.rest.capacity() - self.rest.len();
        if more > spare {
            // What comes one by one moves the others now and then, not every time.
            let more = more.max(self.rest.len() / 32);
            self.rest.reserve_exact(more);
            self.rings.reserve(more);
        }
    }

    fn new_slot(&mut self) -> Slot {
        self.reserve(1);
        // A node has at most a few times as many as series, which 32 bits count.
        let slot = Slot(u32::try_from(self.rest.len()).unwrap_or(u32::MAX));
        self.rest.push(None);
        self.rings.add();
        slot
    }

    /// Lets go of the one in a slot.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Some(counter) = self.rest.get_mut(slot.index()).and_then(Option::take) else { return };
        if needs_place(&counter) {
            self.places.give_back(1);
        }
        self.rings.clear(slot);
        if let Ok(entry) = self.names.find_entry(self.hasher.hash_one(&counter.name), |held| *held == slot) {
            entry.remove();
        }
        self.free.push(slot);
    }

    /// Closes the gaps when a quarter of all slots is free, and says where each counter is now, by its former slot. The
    /// order stays.
    pub(super) fn compact(&mut self) -> Option<Vec<Option<Slot>>> {
        if self.free.len() < FEW_FREE || self.free.len() * 4 < self.rest.len() {
            return None;
        }
        let mut kept = (0..).map(Slot);
        let moved: Vec<Option<Slot>> =
            self.rest.iter().map(|counter| counter.as_ref().and_then(|_| kept.next())).collect();
        self.rings.keep_only(|index| moved.get(index).is_some_and(Option::is_some));
        self.rest.retain(Option::is_some);
        self.rest.shrink_to_fit();
        self.free = Vec::new();
        let Self { names, rest, hasher, .. } = self;
        *names = HashTable::with_capacity(rest.len());
        for (slot, counter) in (0..).map(Slot).zip(rest.iter()) {
            if let Some(counter) = counter {
                names
                    .insert_unique(hasher.hash_one(&counter.name), slot, |held| hash_at(rest, hasher, *held));
            }
        }
        Some(moved)
    }

    /// Lets go of all.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.places.clone());
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.places.give_back(self.iter().filter(|counter| needs_place(counter)).count());
    }
}

/// The hash of the name of what is in a slot.
fn hash_at(rest: &[Option<Counter>], hasher: &RandomState, slot: Slot) -> u64 {
    rest.get(slot.index()).and_then(Option::as_ref).map_or(0, |counter| hasher.hash_one(&counter.name))
}

fn needs_place(counter: &Counter) -> bool {
    counter.name != CounterRef::Node
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use kubevitals::sample::{ContainerId, SeriesId};
    use proptest::prelude::*;

    use super::{super::counter::Announced, *};

    fn name(n: u32) -> CounterRef {
        CounterRef::Container(ContainerId::new(&n.to_string()).unwrap())
    }

    proptest! {
        /// Slots are used again, and names are never mixed up by that.
        #[test]
        fn each_counter_is_found_under_its_own_name(steps in proptest::collection::vec((0_u32..60, any::<bool>()), 1..300)) {
            let (mut counters, mut model) = (Counters::new(Places::new(60)), HashMap::new());
            for (series, (n, is_added)) in (1_u32..).zip(steps) {
                if let Some(slot) = counters.find(&name(n)) {
                    counters.remove(slot);
                    model.remove(&n);
                }
                if is_added {
                    let announced = Announced { series: SeriesId(series), inode: 1, birth: None };
                    counters.insert(Counter::new(name(n), announced), 2, Duration::from_secs(1)).unwrap();
                    model.insert(n, series);
                }
                let before: Vec<_> = (0..60).map(|n| (n, counters.find(&name(n)))).collect();
                let moved = counters.compact();
                for (n, slot) in before {
                    let now = moved.as_ref().map_or(slot, |moved| moved[slot?.index()]);
                    prop_assert_eq!(counters.find(&name(n)), now);
                }
                prop_assert_eq!((counters.len(), counters.places.taken()), (model.len(), model.len()));
                prop_assert!(counters.rest.len() <= 60);
                for n in 0..60 {
                    let held = counters.get(&name(n)).map(|counter| counter.series.0);
                    prop_assert_eq!(held, model.get(&n).copied());
                }
            }
            prop_assert_eq!(counters.iter().count(), model.len());
            let places = counters.places.clone();
            drop(counters);
            prop_assert_eq!(places.taken(), 0);
        }
    }
}
