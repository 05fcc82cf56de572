//! What was told of everything selected, and when each item last changed. Pure.
//!
//! A picture is never changed: the next one is made of it and of new readings, and shares what stays. So a reader that
//! takes its time holds up nobody. Ticks are counted from 1; one in which nothing changes is not counted. Tested with
//! [`super::cursor`], whose readers put together what pictures say.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use kubevitals::wire::AbsenceReason;
use tokio::time::Instant;

use super::{
    cursor::Shared,
    told::{Key, Kind, Saying, Told},
};

/// For how long it is remembered what left: longer than a feed waits for a reader that was cut off.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Of a small selection, this much that left is remembered; of a larger one as much as it has items.
const FEW: usize = 1000;

/// What a look found about one item.
#[derive(Debug, Clone)]
pub enum Look {
    /// It was not looked at, because nothing has come in since: what was told of it holds.
    Same,
    /// This.
    Found(Box<Saying>),
}

/// One item.
#[derive(Debug)]
pub struct Item {
    /// Which.
    pub key: Key,
    /// What was told.
    pub told: Told,
    /// The tick in which that was new.
    pub tick: u64,
    /// When that was.
    since: Instant,
}

/// Everything at one tick.
#[derive(Debug)]
pub struct Picture {
    tick: u64,
    /// What left up to this tick may be forgotten.
    floor: u64,
    /// Ascending; what left stays for a while.
    items: Box<[Arc<Item>]>,
    /// Items that are selected.
    selected: usize,
    /// Size of all that was told.
    bytes: usize,
    /// Messages that several readers have in common.
    pub(super) shared: Shared,
}

impl Default for Picture {
    /// Before the first look. No reader is told of it.
    fn default() -> Self {
        Self { tick: 0, floor: 0, items: Box::default(), selected: 0, bytes: 0, shared: Shared::default() }
    }
}

impl Picture {
    /// How many ticks there were in which something changed; the first one is the first look.
    #[must_use]
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// Whoever was told everything up to `tick` can go on with what changed since; others need all of it.
    #[must_use]
    pub fn reaches_back_to(&self, tick: u64) -> bool {
        (self.floor.max(1)..=self.tick).contains(&tick)
    }

    /// How many items are selected.
    #[must_use]
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// All items, also those that left a short time ago, from `key` on.
    pub(super) fn from(&self, key: Option<&Key>) -> &[Arc<Item>] {
        let begin = key.map_or(0, |key| self.items.partition_point(|item| item.key < *key));
        self.items.get(begin..).unwrap_or_default()
    }

    /// Size of all that was told, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next picture: `looks` has everything that is selected now, ascending by key, each key once; `left` says why
    /// an item is not among it any more. None when nothing changed.
    #[must_use]
    pub fn next(
        &self,
        looks: impl IntoIterator<Item = (Key, Look)>,
        left: impl Fn(&Item) -> AbsenceReason,
        now: Instant,
    ) -> Option<Self> {
        let mut making =
            Making { tick: self.tick + 1, now, items: Vec::with_capacity(self.items.len()), changed: 0 };
        let mut before = self.items.iter().peekable();
        for (key, look) in looks {
            while let Some(item) = before.next_if(|item| item.key < key) {
                making.without(item, &left);
            }
            let item = before.next_if(|item| item.key.cmp(&key) == Ordering::Equal);
            making.with(key, look, item);
        }
        before.for_each(|item| making.without(item, &left));
        if making.changed == 0 && self.tick > 0 {
            return None;
        }
        Some(making.finish(self.floor))
    }
}

/// A picture in the making.
struct Making {
    tick: u64,
    now: Instant,
    items: Vec<Arc<Item>>,
    changed: usize,
}

impl Making {
    fn put(&mut self, key: Key, told: Told) {
        self.changed += 1;
        self.items.push(Arc::new(Item { key, told, tick: self.tick, since: self.now }));
    }

    /// An item that is selected.
    fn with(&mut self, key: Key, look: Look, before: Option<&Arc<Item>>) {
        match (look, before) {
            (Look::Found(saying), Some(item)) if saying.is_told(&item.told) => {
                self.items.push(Arc::clone(item));
            }
            (Look::Found(saying), _) => self.put(key, saying.tell()),
            (Look::Same, Some(item)) => self.items.push(Arc::clone(item)),
            // Nothing was ever said of it, so there is nothing that holds.
            (Look::Same, None) => {}
        }
    }

    /// An item that is not.
    fn without(&mut self, item: &Arc<Item>, left: &impl Fn(&Item) -> AbsenceReason) {
        if item.told.kind() == Kind::Left {
            self.items.push(Arc::clone(item));
        } else {
            self.put(item.key.clone(), item.told.leaving(left(item)));
        }
    }

    fn finish(self, floor: u64) -> Picture {
        let Self { tick, now, mut items, .. } = self;
        let floor = forget(&mut items, floor, now);
        let selected = items.iter().filter(|item| item.told.kind() != Kind::Left).count();
        let bytes = items.iter().map(|item| item.told.field().len()).sum();
        Picture { tick, floor, items: items.into(), selected, bytes, shared: Shared::default() }
    }
}

/// Forgets what left long ago, and the oldest of what is too much. Returns up to which tick that was.
fn forget(items: &mut Vec<Arc<Item>>, floor: u64, now: Instant) -> u64 {
    let has_left = |item: &&Arc<Item>| item.told.kind() == Kind::Left;
    let mut ticks: Vec<u64> = items.iter().filter(has_left).map(|item| item.tick).collect();
    if ticks.is_empty() {
        return floor;
    }
    ticks.sort_unstable();
    let most = FEW.max(items.len() - ticks.len());
    let too_many = ticks.len().checked_sub(most + 1).and_then(|last| ticks.get(last)).copied();
    let is_old = |item: &&Arc<Item>| now.saturating_duration_since(item.since) > REMEMBERED;
    let too_old = items.iter().filter(has_left).filter(is_old).map(|item| item.tick).max();
    let Some(up_to) = too_many.max(too_old) else { return floor };
    items.retain(|item| item.told.kind() != Kind::Left || item.tick > up_to);
    floor.max(up_to)
}
