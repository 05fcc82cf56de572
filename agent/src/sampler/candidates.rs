//! Cgroups that were found but are not series yet: empty ones, and ones that cannot be read (yet).

use std::collections::HashMap;

use kubevitals::sample::{CgroupPath, Sample, Subject};

use crate::cgroup::{Buffer, CgroupReader, Descriptors, Found, Mounts};

/// A candidate is looked at on every tick while it is younger than this many ticks, then now and then.
const EAGER_TICKS: u64 = 10;

/// How often an old candidate is looked at, ticks.
const LAZY_TICKS: u64 = 5;

/// How often a first reading is tried between two ticks before it waits for the next one.
const QUICK_TRIES: u8 = 8;

/// The candidates, in the order in which they were found: parents before children.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    order: u64,
    by_path: HashMap<CgroupPath, Candidate>,
}

#[derive(Debug)]
struct Candidate {
    found: Found,
    /// Position in the order of discovery.
    order: u64,
    since: u64,
    quick_tries: u8,
    reader: Option<CgroupReader>,
    /// The latest reading before there were processes.
    reading: Option<Sample>,
}

/// A candidate that has processes and can be read.
#[derive(Debug)]
pub(super) struct Ripe {
    pub(super) found: Found,
    pub(super) reader: CgroupReader,
    /// Its first reading.
    pub(super) first: Sample,
}

impl Candidates {
    pub(super) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Adds a cgroup seen at `tick`. One that stands here already is replaced: its path was made anew.
    pub(super) fn add(&mut self, found: Found, tick: u64) {
        self.insert(found, tick, 0);
    }

    /// Adds one that need not be looked at soon.
    pub(super) fn shelve(&mut self, found: Found, tick: u64) {
        self.insert(found, tick.saturating_sub(EAGER_TICKS), QUICK_TRIES);
    }

    fn insert(&mut self, found: Found, since: u64, quick_tries: u8) {
        self.order += 1;
        let order = self.order;
        let candidate = Candidate {
            found,
            order,
            since,
            quick_tries,
            reader: None,
            reading: None,
        };
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
    pub(super) fn first_readings(&mut self, mounts: &Mounts, descriptors: &Descriptors, buffer: &mut Buffer) {
        for candidate in self.by_path.values_mut().filter(|candidate| candidate.is_new()) {
            candidate.quick_tries += 1;
            candidate.read(mounts, descriptors, buffer);
        }
    }

    /// Takes out those that have processes, parents before children.
    pub(super) fn ripe(
        &mut self,
        tick: u64,
        mounts: &Mounts,
        descriptors: &Descriptors,
        buffer: &mut Buffer,
    ) -> Vec<Ripe> {
        let mut ripe = Vec::new();
        let due = self
            .by_path
            .values_mut()
            .filter(|candidate| candidate.is_due(tick));
        for candidate in due {
            if candidate.is_ripe(mounts, descriptors, buffer) {
                ripe.push((candidate.order, candidate.found.path.clone()));
            }
        }
        ripe.sort_unstable_by_key(|(order, _)| *order);
        ripe.into_iter()
            .filter_map(|(_, path)| self.by_path.remove(&path)?.into_ripe())
            .collect()
    }
}

impl Candidate {
    fn is_new(&self) -> bool {
        self.reading.is_none() && self.quick_tries < QUICK_TRIES
    }

    fn is_due(&self, tick: u64) -> bool {
        tick.saturating_sub(self.since) <= EAGER_TICKS || (tick + self.order).is_multiple_of(LAZY_TICKS)
    }

    /// Reads it, opening it first if needed; what fails is tried again at the next tick.
    fn read(&mut self, mounts: &Mounts, descriptors: &Descriptors, buffer: &mut Buffer) -> Option<Sample> {
        if self.reader.is_none() {
            self.reader = CgroupReader::open(mounts, &self.found.path, descriptors).ok();
        }
        let Ok(sample) = self.reader.as_mut()?.sample(buffer) else {
            // Removed, or its path leads elsewhere by now: begin again from the path.
            self.reader = None;
            self.reading = None;
            return None;
        };
        self.reading.get_or_insert(sample);
        Some(sample)
    }

    /// Whether it has processes. One that has none yet moves its reading forward, so that its first rate will
    /// not reach back over a time in which it was empty.
    fn is_ripe(&mut self, mounts: &Mounts, descriptors: &Descriptors, buffer: &mut Buffer) -> bool {
        let Some(sample) = self.read(mounts, descriptors, buffer) else {
            return false;
        };
        let recursive = !matches!(self.found.subject, Subject::Cgroup { .. });
        let has_processes = self
            .reader
            .as_ref()
            .is_some_and(|reader| reader.has_processes(recursive).unwrap_or(false));
        if !has_processes {
            self.reading = Some(sample);
        }
        has_processes
    }

    fn into_ripe(self) -> Option<Ripe> {
        Some(Ripe {
            found: self.found,
            reader: self.reader?,
            first: self.reading?,
        })
    }
}
