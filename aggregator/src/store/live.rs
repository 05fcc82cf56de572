//! The live series of a node, ascending as ticks name them, and in which slot each is stored. Pure.
//!
//! A tick's samples ascend as well, so both are gone through side by side and nothing is searched for.

use kubevitals::sample::SeriesId;

use super::counters::Slot;

/// What is stored of a live series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// The counter in this slot is its own.
    In(Slot),
    /// Nothing: there was no place for it, or a series announced later is of the same container.
    Nowhere,
    /// It should never have been announced, or nothing of it is needed: it counts as unknown.
    Evicted,
}

/// The same in four bytes: one is kept for every series of every node. No node has so many slots as to reach the highest
/// numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held(u32);

const NOWHERE: Held = Held(u32::MAX);
const EVICTED: Held = Held(u32::MAX - 1);
/// On its way out.
const GONE: Held = Held(u32::MAX - 2);

impl From<Stored> for Held {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::In(slot) => Self(slot.number()),
            Stored::Nowhere => NOWHERE,
            Stored::Evicted => EVICTED,
        }
    }
}

impl From<Held> for Stored {
    fn from(held: Held) -> Self {
        match held {
            NOWHERE => Self::Nowhere,
            EVICTED | GONE => Self::Evicted,
            Held(slot) => Self::In(Slot::new(slot)),
        }
    }
}

/// All live series that are of a kind which is stored.
#[derive(Debug, Default)]
pub(super) struct LiveSeries {
    /// Ascending.
    all: Vec<(SeriesId, Held)>,
}

impl LiveSeries {
    /// What is stored of a series; `None` when it is unknown.
    pub(super) fn get(&self, series: SeriesId) -> Option<Stored> {
        let (_, held) = self.all.get(self.place(series).ok()?)?;
        Some(Stored::from(*held)).filter(|stored| *stored != Stored::Evicted)
    }

    /// Where a series is stored.
    pub(super) fn slot(&self, series: SeriesId) -> Option<Slot> {
        match self.get(series)? {
            Stored::In(slot) => Some(slot),
            Stored::Nowhere | Stored::Evicted => None,
        }
    }

    /// Says what is stored of a series.
    pub(super) fn set(&mut self, series: SeriesId, stored: Stored) {
        match self.place(series) {
            Ok(at) => {
                if let Some(held) = self.all.get_mut(at) {
                    held.1 = stored.into();
                }
            }
            // At the end, unless it was left out before.
            Err(at) => self.all.insert(at, (series, stored.into())),
        }
    }

    /// Whether it is taken for one that is unknown.
    pub(super) fn is_evicted(&self, series: SeriesId) -> bool {
        let held = self.place(series).ok().and_then(|at| self.all.get(at));
        held.is_some_and(|(_, held)| *held == EVICTED)
    }

    /// Takes a series for one that is unknown, from now on or from its announcement on.
    pub(super) fn leave_out(&mut self, series: SeriesId) {
        self.set(series, Stored::Evicted);
    }

    /// What was in a slot is in another one now.
    pub(super) fn moved(&mut self, place: impl Fn(Slot) -> Option<Slot>) {
        for (_, held) in &mut self.all {
            if let Stored::In(slot) = Stored::from(*held) {
                *held = place(slot).map_or(NOWHERE, |slot| Stored::In(slot).into());
            }
        }
    }

    /// The slot has another counter from now on, or none, if it had that of this series.
    pub(super) fn release(&mut self, series: SeriesId, slot: Slot) {
        if self.slot(series) == Some(slot) {
            self.set(series, Stored::Nowhere);
        }
    }

    /// Forgets these, in any order, and says what was stored of those that were known.
    pub(super) fn end(&mut self, ended: impl Iterator<Item = SeriesId>) -> Vec<(SeriesId, Stored)> {
        let (mut known, mut is_any) = (Vec::new(), false);
        for series in ended {
            if let Some(stored) = self.get(series) {
                known.push((series, stored));
            }
            if let Ok(at) = self.place(series)
                && let Some(held) = self.all.get_mut(at)
            {
                held.1 = GONE;
                is_any = true;
            }
        }
        if is_any {
            // In one go, however many they are.
            self.all.retain(|(_, held)| *held != GONE);
        }
        known
    }

    /// Of how many something is stored.
    pub(super) fn stored(&self) -> usize {
        self.all.iter().filter(|(_, held)| matches!(Stored::from(*held), Stored::In(_))).count()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Makes room for so many more, and for little more than that.
    pub(super) fn reserve(&mut self, more: usize) {
        if more > self.all.capacity() - self.all.len() {
            self.all.reserve_exact(more.max(self.all.len() / 32));
        }
    }

    /// Those of `told` that are stored, with their slots. What does not ascend is searched for.
    pub(super) fn join<'a, T>(&'a self, told: &'a [(SeriesId, T)]) -> impl Iterator<Item = (Slot, &'a T)> {
        let mut next = 0;
        told.iter().filter_map(move |(series, value)| {
            let at = |place: usize| self.all.get(place).map(|(held, _)| held);
            if at(next) != Some(series) {
                let is_between = at(next).is_none_or(|held| held > series)
                    && next.checked_sub(1).and_then(at).is_none_or(|held| held < series);
                if is_between {
                    return None;
                }
                next = self.place(*series).unwrap_or_else(|place| place);
            }
            match self.all.get(next) {
                Some((held, stored)) if held == series => {
                    next += 1;
                    if let Stored::In(slot) = Stored::from(*stored) { Some((slot, value)) } else { None }
                }
                _ => None,
            }
        })
    }

    fn place(&self, series: SeriesId) -> Result<usize, usize> {
        // Almost always one that is announced is higher than all before.
        match self.all.last() {
            Some((last, _)) if *last >= series => self.all.binary_search_by_key(&series, |(held, _)| *held),
            _ => Err(self.all.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is announced, ends and is evicted: as many samples find their slots as in a map of the live, in whatever
        /// order they come, and what was left out stays so until it ends or is taken in.
        #[test]
        fn samples_are_joined_with_the_slots_of_their_series(
            steps in proptest::collection::vec((0_u32..40, 0_u32..4), 1..60),
            told in proptest::collection::vec(0_u32..40, 0..60), is_sorted in any::<bool>(),
        ) {
            let (mut live, mut model, mut left_out) = (LiveSeries::default(), BTreeMap::new(), BTreeSet::new());
            for (slot, &(series, kind)) in (0..).zip(&steps) {
                let id = SeriesId(series);
                match kind {
                    0 => {
                        let known: Vec<SeriesId> = live.end([id, id].into_iter()).iter().map(|one| one.0).collect();
                        prop_assert_eq!(known.contains(&id), model.remove(&series).is_some());
                        left_out.remove(&series);
                    }
                    1 => {
                        live.leave_out(id);
                        model.remove(&series);
                        left_out.insert(series);
                    }
                    _ => {
                        let stored = if kind == 2 { Stored::Nowhere } else { Stored::In(Slot::new(slot)) };
                        live.set(id, stored);
                        model.insert(series, stored);
                        left_out.remove(&series);
                    }
                }
                for series in 0..40 {
                    prop_assert_eq!(live.is_evicted(SeriesId(series)), left_out.contains(&series));
                }
            }
            let mut told: Vec<(SeriesId, u32)> = told.into_iter().map(|series| (SeriesId(series), series)).collect();
            if is_sorted {
                told.sort_unstable();
                told.dedup();
            }
            let expected: Vec<(Slot, u32)> = told.iter().filter_map(|(_, series)| match model.get(series) {
                Some(Stored::In(slot)) => Some((*slot, *series)),
                _ => None,
            }).collect();
            let joined: Vec<(Slot, u32)> = live.join(&told).map(|(slot, series)| (slot, *series)).collect();
            prop_assert_eq!(joined, expected);
        }
    }
}
