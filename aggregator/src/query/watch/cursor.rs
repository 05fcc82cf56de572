//! How far one reader was told, and what it is told next. Pure.
//!
//! A reader has no queue. Whenever there is room for a message it is made of the newest picture: everything that changed
//! since the tick up to which the reader was told, as it is now. Ticks that passed meanwhile are left out.
//!
//! A large tick is told in parts, in the order of the items. When the picture changes between two parts, the later ones
//! are of the newer picture, and what was told too early to be in it comes with the next tick: that one goes on from where
//! this one *began*. So nothing is kept for a reader but its place, nothing is missed, and each tick comes to its end.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::{
    picture::{Item, Picture},
    told::{Key, Kind},
};

/// Most bytes of items in a message; one item may be more than the rest of it. A reader that takes nothing holds up to
/// two messages.
pub const PART: usize = 256 << 10;

/// A reader's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// It was told everything up to this tick; 0 if nothing.
    told: u64,
    /// In the middle of a tick.
    telling: Option<Telling>,
    /// Its next tick is the first one on this stream: it was away before, not slow.
    is_back: bool,
}

/// A tick that is told in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Telling {
    /// Items that changed after this tick; 0 for a full picture.
    since: u64,
    /// Of the picture when it began.
    tick: u64,
    /// The item to go on with; none at the begin.
    next: Option<Key>,
}

/// What a reader is told at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// It is, or belongs to, a full picture.
    pub full: bool,
    /// Fields `usages` and `absent`, encoded.
    pub items: Bytes,
    /// The tick that is complete with it; none while more follows.
    pub complete: Option<u64>,
    /// Ticks that were left out before it.
    pub conflated: u64,
}

impl Cursor {
    /// The place of a reader who says it was told everything up to `tick`.
    #[must_use]
    pub fn resumed(tick: u64) -> Self {
        Self { told: tick, telling: None, is_back: true }
    }

    /// What there is to tell; none when that is nothing.
    pub fn next(&mut self, picture: &Picture) -> Option<Part> {
        let (telling, conflated) = match self.telling.take() {
            // What left since cannot be told in full any more.
            Some(telling) if telling.since > 0 && !picture.reaches_back_to(telling.since) => {
                (self.begin(picture)?, 0)
            }
            Some(telling) => (telling, 0),
            None => (self.begin(picture)?, self.left_out(picture)),
        };
        self.is_back = false;
        let (full, tick) = (telling.since == 0, telling.tick);
        let (items, next) = picture.shared.part(picture, telling.since, telling.next.as_ref());
        let complete = next.is_none().then_some(tick);
        match next {
            None => self.told = tick,
            next => self.telling = Some(Telling { next, ..telling }),
        }
        Some(Part { full, items, complete, conflated })
    }

    fn begin(&self, picture: &Picture) -> Option<Telling> {
        let tick = picture.tick();
        let since = if picture.reaches_back_to(self.told) { self.told } else { 0 };
        (since < tick).then_some(Telling { since, tick, next: None })
    }

    fn left_out(&self, picture: &Picture) -> u64 {
        if self.told == 0 || self.is_back {
            return 0;
        }
        picture.tick().saturating_sub(self.told + 1)
    }

    /// The last complete tick; none before the first.
    #[must_use]
    pub fn told(&self) -> Option<u64> {
        (self.told > 0 && self.telling.is_none()).then_some(self.told)
    }
}

/// Places at which readers are at one time, beyond which each gets parts of its own.
const PLACES: usize = 64;

/// Parts that were made of one picture, for readers at the same place: nearly all of them are. They are gone with the
/// picture, and together never larger than it.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Vec<Made>>);

#[derive(Debug)]
struct Made {
    since: u64,
    from: Option<Key>,
    items: Bytes,
    next: Option<Key>,
}

impl Shared {
    /// What changed after `since`, from the item `from` on, and the item to go on with.
    fn part(&self, picture: &Picture, since: u64, from: Option<&Key>) -> (Bytes, Option<Key>) {
        // While one reader encodes, those who want the same wait for it, which is shorter than doing it again.
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |made: &&Made| made.since == since && made.from.as_ref() == from;
        if let Some(made) = parts.iter().find(is_it) {
            return (made.items.clone(), made.next.clone());
        }
        let (items, next) = encode(picture, since, from);
        let held: usize = parts.iter().map(|made| made.items.len()).sum();
        if parts.len() < PLACES && held + items.len() <= picture.bytes() {
            let (items, next) = (items.clone(), next.clone());
            parts.push(Made { since, from: from.cloned(), items, next });
        }
        (items, next)
    }
}

fn encode(picture: &Picture, since: u64, from: Option<&Key>) -> (Bytes, Option<Key>) {
    let mut bytes = Vec::new();
    // A full picture is without what left.
    let is_wanted = |item: &&Arc<Item>| item.tick > since && (since > 0 || item.told.kind() != Kind::Left);
    for item in picture.from(from).iter().filter(is_wanted) {
        let field = item.told.field();
        if !bytes.is_empty() && bytes.len() + field.len() > PART {
            return (bytes.into(), Some(item.key.clone()));
        }
        bytes.extend_from_slice(field);
    }
    (bytes.into(), None)
}

#[cfg(test)]
mod tests;
