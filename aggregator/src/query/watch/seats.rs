//! How much may be watched: by all, and by one caller, who cannot take all of it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use tonic::Status;

use crate::metrics::watch::{Limit, Watch};

/// What may be watched at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Watches. A reader that takes nothing holds up to two messages of 256 KiB, so this bounds them at 500 MiB.
    pub watches: usize,
    /// Watches of one caller.
    pub watches_of_one: usize,
    /// Different selections, those included that a reader may still come back to.
    pub feeds: usize,
    /// Items of all selections together, each of some 500 bytes.
    pub items: usize,
    /// Items of the selections that one caller began to watch.
    pub items_of_one: usize,
}

impl Default for Limits {
    /// Several readers of everything in the largest cluster, beside many of little.
    fn default() -> Self {
        Self { watches: 1000, watches_of_one: 100, feeds: 256, items: 1_000_000, items_of_one: 500_000 }
    }
}

/// Who takes how much.
#[derive(Debug, Clone)]
pub struct Seats {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
    items: Arc<AtomicUsize>,
    metrics: Watch,
}

#[derive(Debug, Default)]
struct Taken {
    watches: usize,
    /// Watches and items by caller.
    callers: HashMap<Arc<str>, Share, RandomState>,
}

#[derive(Debug, Default)]
struct Share {
    watches: usize,
    items: usize,
}

/// One watch's place; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    caller: Arc<str>,
}

/// The places of one feed's items, which count as those of whoever began it; given back when dropped.
#[derive(Debug)]
pub struct Items {
    seats: Seats,
    caller: Arc<str>,
    count: usize,
}

impl Seats {
    /// All free.
    #[must_use]
    pub fn new(limits: Limits, metrics: Watch) -> Self {
        Self { limits, taken: Arc::default(), items: Arc::default(), metrics }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of whoever is over a limit; it is counted.
    pub(super) fn over(&self, limit: Limit, most: usize) -> Status {
        self.metrics.refused(limit);
        Status::resource_exhausted(format!("{}: at most {most}", limit.text()))
    }

    /// How many different selections there may be.
    pub(super) fn most_feeds(&self) -> usize {
        self.limits.feeds
    }

    /// A place for one more watch of `caller`; `RESOURCE_EXHAUSTED` when there is none.
    pub fn sit(&self, caller: &str) -> Result<Seat, Status> {
        let Limits { watches, watches_of_one, .. } = self.limits;
        let mut taken = self.taken();
        if taken.watches >= watches {
            return Err(self.over(Limit::Watches, watches));
        }
        if taken.callers.get(caller).is_some_and(|share| share.watches >= watches_of_one) {
            return Err(self.over(Limit::WatchesOfOne, watches_of_one));
        }
        let caller: Arc<str> = Arc::from(caller);
        taken.watches += 1;
        taken.callers.entry(Arc::clone(&caller)).or_default().watches += 1;
        Ok(Seat { seats: self.clone(), caller })
    }

    /// For the items of a feed that `caller` begins.
    #[must_use]
    pub fn items(&self, caller: &str) -> Items {
        Items { seats: self.clone(), caller: Arc::from(caller), count: 0 }
    }
}

impl Taken {
    /// Changes what a caller takes, and forgets one who takes nothing.
    fn change(&mut self, caller: &Arc<str>, change: impl FnOnce(&mut Share)) {
        let share = self.callers.entry(Arc::clone(caller)).or_default();
        change(share);
        if share.watches == 0 && share.items == 0 {
            self.callers.remove(caller);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.watches = taken.watches.saturating_sub(1);
        taken.change(&self.caller, |share| share.watches = share.watches.saturating_sub(1));
    }
}

impl Items {
    /// Room for `count` items instead of as many as before; `RESOURCE_EXHAUSTED`, and nothing changes, when there is not
    /// so much.
    pub fn resize(&mut self, count: usize) -> Result<(), Status> {
        let Limits { items, items_of_one, .. } = self.seats.limits;
        let before = self.count;
        let mut taken = self.seats.taken();
        if count > before {
            let of_one = taken.callers.get(&self.caller).map_or(0, |share| share.items);
            if of_one - before.min(of_one) + count > items_of_one {
                return Err(self.seats.over(Limit::ItemsOfOne, items_of_one));
            }
            if self.seats.items.load(Ordering::Relaxed) - before + count > items {
                return Err(self.seats.over(Limit::Items, items));
            }
        }
        taken.change(&self.caller, |share| share.items = share.items + count - before);
        // Written under the lock.
        self.seats.items.fetch_add(count, Ordering::Relaxed);
        let all = self.seats.items.fetch_sub(before, Ordering::Relaxed) - before;
        self.count = count;
        self.seats.metrics.items.set(i64::try_from(all).unwrap_or(i64::MAX));
        Ok(())
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        // Less is always granted.
        let _granted = self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn seats() -> Seats {
        let limits = Limits { watches: 3, watches_of_one: 2, feeds: 1, items: 10, items_of_one: 6 };
        Seats::new(limits, Watch::default())
    }

    #[test]
    fn one_caller_cannot_take_all_places_and_all_come_back() {
        let seats = seats();
        let mine = [seats.sit("a").unwrap(), seats.sit("a").unwrap()];
        let refused = seats.sit("a").unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.message(), "watches of one caller: at most 2");
        let other = seats.sit("b").unwrap();
        assert_eq!(seats.sit("c").unwrap_err().message(), "watches: at most 3");
        drop((mine, other));
        assert!(seats.taken().callers.is_empty());
        assert!(seats.sit("a").is_ok());
    }

    #[test]
    fn items_are_bounded_for_all_and_for_each() {
        let seats = seats();
        let (mut one, mut two, mut other) = (seats.items("a"), seats.items("a"), seats.items("b"));
        one.resize(4).unwrap();
        assert_eq!(two.resize(3).unwrap_err().message(), "watched items of one caller: at most 6");
        two.resize(2).unwrap();
        assert_eq!(other.resize(5).unwrap_err().message(), "watched items: at most 10");
        one.resize(3).unwrap();
        other.resize(5).unwrap();
        drop((one, two, other));
        assert_eq!(seats.items.load(Ordering::Relaxed), 0);
        assert!(seats.taken().callers.is_empty());
    }
}
