//! Cgroups that were found but are not series yet: empty ones, and ones that cannot be read (yet).
//!
//! Most of them are leftovers that stay empty for ever, so an old candidate costs one look now and then and holds no
//! descriptor.

use std::collections::HashMap;

use kubevitals::sample::{CgroupPath, Sample, Subject};

use crate::cgroup::{Buffer, CgroupReader, Descriptors, Found, Mounts, has_processes_at};

/// A candidate that appeared while we watched is looked at on every tick for so many ticks, then now and then.
const EAGER_TICKS: u64 = 10;

/// How often an old candidate is looked at, ticks.
const LAZY_TICKS: u64 = 5;

/// Most old candidates looked at in one tick: each look takes some ten microseconds.
const LOOKS: u64 = 500;

/// How often a first reading is tried between two ticks before it waits for the next one.
const QUICK_TRIES: u8 = 8;

/// What a look needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) mounts: &'a Mounts,
    pub(super) descriptors: &'a Descriptors,
}

/// The candidates, in the order in which they were found: parents before children.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    order: u64,
    by_path: HashMap<CgroupPath, Candidate>,
    /// What the start found has been added.
    started: bool,
}

#[derive(Debug)]
struct Candidate {
    found: Found,
    /// It was there before us.
    was_there: bool,
    /// Position in the order of discovery.
    order: u64,
    /// Up to this tick it is looked at on every one.
    eager_until: u64,
    quick_tries: u8,
    reader: Option<CgroupReader>,
    /// The first reading.
    reading: Option<Sample>,
}

/// A candidate that has processes and can be read.
#[derive(Debug)]
pub(super) struct Ripe {
    pub(super) found: Found,
    /// It was there before us, so nobody saw it being made.
    pub(super) was_there: bool,
    pub(super) reader: CgroupReader,
    /// Its first reading.
    pub(super) first: Sample,
}

impl Candidates {
    pub(super) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whatever is added from now on was made while we watched.
    pub(super) fn started(&mut self) {
        self.started = true;
    }

    /// Adds a cgroup seen at `tick`, 0 being the start. One that stands here already is replaced: its path was made
    /// anew.
    pub(super) fn add(&mut self, found: Found, tick: u64) {
        // What is empty at the start was so before us, and will hardly change in the next second.
        let eager = if tick == 0 { 1 } else { EAGER_TICKS };
        self.insert(found, tick + eager, 0);
    }

    /// Adds one that need not be looked at soon.
    pub(super) fn shelve(&mut self, found: Found) {
        self.insert(found, 0, QUICK_TRIES);
    }

    fn insert(&mut self, found: Found, eager_until: u64, quick_tries: u8) {
        self.order += 1;
        let order = self.order;
        let was_there = !self.started;
        let candidate =
            Candidate { found, was_there, order, eager_until, quick_tries, reader: None, reading: None };
        self.by_path.insert(candidate.found.path.clone(), candidate);
    }

    pub(super) fn remove(&mut self, path: &CgroupPath) {
        self.by_path.remove(path);
    }

    /// Whether one without a reading is worth trying again before the next tick.
    pub(super) fn any_new(&self) -> bool {
        self.by_path.values().any(Candidate::is_new)
    }

    /// Tries the first reading of those that have none.
    pub(super) fn first_readings(&mut self, means: Means<'_>, buffer: &mut Buffer) {
        for candidate in self.by_path.values_mut().filter(|candidate| candidate.is_new()) {
            candidate.quick_tries += 1;
            // At the start most empty ones are leftovers: they must not take the descriptors of live ones.
            if candidate.eager_until > 1 || candidate.has_processes(means) {
                candidate.read(means, buffer);
            } else {
                candidate.quick_tries = QUICK_TRIES;
            }
        }
    }

    /// Takes out those that have processes, parents before children.
    pub(super) fn ripe(&mut self, tick: u64, means: Means<'_>, buffer: &mut Buffer) -> Vec<Ripe> {
        let turns = LAZY_TICKS.max(u64::try_from(self.by_path.len()).unwrap_or(u64::MAX) / LOOKS);
        let mut ripe = Vec::new();
        for candidate in self.by_path.values_mut().filter(|candidate| candidate.is_due(tick, turns)) {
            if candidate.is_ripe(tick, means, buffer) {
                ripe.push((candidate.order, candidate.found.path.clone()));
            }
        }
        ripe.sort_unstable_by_key(|(order, _)| *order);
        ripe.into_iter().filter_map(|(_, path)| self.by_path.remove(&path)?.into_ripe()).collect()
    }
}

impl Candidate {
    fn is_new(&self) -> bool {
        self.reading.is_none() && self.quick_tries < QUICK_TRIES
    }

    fn is_due(&self, tick: u64, turns: u64) -> bool {
        tick <= self.eager_until || (tick + self.order).is_multiple_of(turns)
    }

    fn has_processes(&self, means: Means<'_>) -> bool {
        let recursive = !matches!(self.found.subject, Subject::Cgroup { .. });
        has_processes_at(means.mounts, &self.found.path, recursive).unwrap_or(false)
    }

    /// Reads it, opening it first if needed; what fails is tried again at the next look.
    fn read(&mut self, means: Means<'_>, buffer: &mut Buffer) -> bool {
        if self.reader.is_none() {
            self.reader = CgroupReader::open(means.mounts, &self.found.path, means.descriptors).ok();
        }
        let Some(Ok(sample)) = self.reader.as_mut().map(|reader| reader.sample(buffer)) else {
            // Removed, or its path leads elsewhere by now: begin again from the path.
            self.let_go();
            return false;
        };
        self.reading.get_or_insert(sample);
        true
    }

    fn let_go(&mut self) {
        self.reader = None;
        self.reading = None;
    }

    /// Whether it has processes and can be read. An old one that is empty lets go of what it holds: its first rate,
    /// should it ever have one, must not reach back over the time in which it was empty.
    fn is_ripe(&mut self, tick: u64, means: Means<'_>, buffer: &mut Buffer) -> bool {
        if self.has_processes(means) {
            return self.read(means, buffer);
        }
        if tick >= self.eager_until {
            self.quick_tries = QUICK_TRIES;
            self.let_go();
        }
        false
    }

    fn into_ripe(self) -> Option<Ripe> {
        let Self { found, was_there, .. } = self;
        Some(Ripe { found, was_there, reader: self.reader?, first: self.reading? })
    }
}
