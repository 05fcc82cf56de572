//! The live series of a chain.
//!
//! An aggregator goes over the live series of every node once a second, and finds none of them in the processor's
//! caches. So what a batch changes, 28 bytes of each series, lies apart from what was said of the series once.

use std::collections::HashSet;

use super::{Announcement, ChainError, kept::Kept};
use crate::{
    announce::working_set,
    sample::{BootTime, CpuTime, Details, PackedDetails, Sample, SeriesId, WorkingSet},
};

/// All live series, ascending; the columns are parallel.
#[derive(Debug, Default)]
pub(super) struct Live {
    series: Vec<SeriesId>,
    newest: Vec<Newest>,
    known: Vec<Known>,
}

/// The newest sample of a series, or the announced first reading; packed, as an `Option<Sample>` takes 32 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    time: u64,
    cpu: u64,
    memory: u32,
    is_read: bool,
}

/// What is rarely asked of a series.
#[derive(Debug)]
struct Known {
    announced: Kept,
    details: PackedDetails,
}

impl Live {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn find(&self, series: SeriesId) -> Option<usize> {
        self.series.binary_search(&series).ok()
    }

    /// Each with its newest sample and details. Of first readings only the newest sample tells.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Announcement, Option<Sample>, Details)> {
        let all = self.series.iter().zip(&self.newest).zip(&self.known);
        all.map(|((&series, newest), known)| {
            (known.announced.announcement(series), newest.sample(), known.details.unpack())
        })
    }

    /// Makes room for so many more, and for no more than that.
    pub(super) fn reserve(&mut self, more: usize) {
        if more > self.known.capacity() - self.known.len() {
            // What comes one by one moves the others now and then, not every time.
            let more = more.max(self.known.len() / 8);
            self.series.reserve_exact(more);
            self.newest.reserve_exact(more);
            self.known.reserve_exact(more);
        }
    }

    /// Adds a series that is higher than all others.
    pub(super) fn push(&mut self, announcement: &Announcement) {
        self.series.push(announcement.series);
        self.newest.push(announcement.first.map_or_else(Newest::default, Newest::from));
        self.known.push(Known { announced: announcement.into(), details: PackedDetails::default() });
    }

    /// Forgets these.
    pub(super) fn remove(&mut self, ended: &HashSet<SeriesId>) {
        let keep: Vec<bool> = self.series.iter().map(|series| !ended.contains(series)).collect();
        let kept = || {
            let mut each = keep.iter();
            move || each.next().copied().unwrap_or(true)
        };
        let (mut series, mut newest, mut known) = (kept(), kept(), kept());
        self.series.retain(|_| series());
        self.newest.retain(|_| newest());
        self.known.retain(|_| known());
    }

    /// Says what was read of the series added last.
    pub(super) fn describe_last(&mut self, newest: Option<Sample>, details: &Details) {
        if let (Some(held), Some(sample)) = (self.newest.last_mut(), newest) {
            *held = sample.into();
        }
        if let Some(known) = self.known.last_mut() {
            known.details.set(details);
        }
    }

    /// The details of all, to be changed and [set](Self::set_details).
    pub(super) fn details(&self) -> Vec<Details> {
        self.known.iter().map(|known| known.details.unpack()).collect()
    }

    pub(super) fn set_details(&mut self, details: &[Details]) {
        self.known.iter_mut().zip(details).for_each(|(known, details)| known.details.set(details));
    }

    /// The series with their newest samples, to take the next ones in.
    pub(super) fn readings(&mut self) -> impl Iterator<Item = (SeriesId, Reading<'_>)> {
        self.series.iter().copied().zip(self.newest.iter_mut().map(Reading))
    }
}

/// The newest sample of one series.
pub(super) struct Reading<'a>(&'a mut Newest);

impl Reading<'_> {
    /// Takes the sample that follows.
    pub(super) fn next(self, time: u64, cpu_delta: u64, memory_delta: i64) -> Result<Sample, ChainError> {
        let before = *self.0;
        if before.is_read {
            super::decode::later("time_gap_us", time, before.time)?;
        }
        let cpu = before.cpu.checked_add(cpu_delta).ok_or(ChainError::OutOfRange("cpu_delta_ns"))?;
        let units = u64::from(before.memory)
            .checked_add_signed(memory_delta)
            .ok_or(ChainError::OutOfRange("working_set_delta_4k"))?;
        let sample = Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set: working_set(units)? };
        *self.0 = sample.into();
        Ok(sample)
    }
}

impl From<Sample> for Newest {
    fn from(sample: Sample) -> Self {
        let Sample { time, cpu, working_set } = sample;
        Self { time: time.0, cpu: cpu.0, memory: working_set.units(), is_read: true }
    }
}

impl Newest {
    fn sample(&self) -> Option<Sample> {
        let sample = Sample {
            time: BootTime(self.time),
            cpu: CpuTime(self.cpu),
            working_set: WorkingSet::from_units(self.memory),
        };
        self.is_read.then_some(sample)
    }
}
