//! Batches to samples, every field checked.

use std::collections::HashSet;

use super::{
    Announcement, ChainError, Farewell, Omission,
    live::{Changes, Live},
    numbers::{Numbers, low, signed},
    parts::{DetailPart, Parts},
};
use crate::{
    announce::{knows_end_reason, omission_reason},
    limits::MAX_SERIES,
    sample::{BootTime, Detail, Details, Sample, SeriesId, Subject, WallTime},
    wire,
};

/// The state of a chain after one of its batches.
#[derive(Debug, Default)]
pub struct Decoder {
    pub(super) sequence: u64,
    pub(super) time: BootTime,
    pub(super) wall: WallTime,
    /// A snapshot of which parts are still to come.
    pub(super) is_partial: bool,
    pub(super) live: Live,
    /// The highest series number ever announced.
    highest: u32,
    pub(super) unknown: Unknown,
}

/// Memory to decode batches in.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Of a batch its announcements, farewells and omissions alone.
    lists: wire::Batch,
    changes: Changes,
    tick: Tick,
}

impl Buffers {
    /// What the last batch said that was decoded here.
    #[must_use]
    pub fn tick(&self) -> &Tick {
        &self.tick
    }
}

/// How much a newer peer said that this version does not know and skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    /// Fields of batches and snapshots; those of what they hold are not seen.
    pub fields: u64,
    /// Announced series with an unknown subject.
    pub subjects: u64,
    /// Columns and values of unknown details.
    pub details: u64,
    /// Reasons of omissions and of ends.
    pub reasons: u64,
}

/// What one batch said.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The batch's number.
    pub sequence: u64,
    /// When the sweep began.
    pub time: BootTime,
    /// Wall time at that moment.
    pub wall: WallTime,
    /// Series that ended; they come before those that begin.
    pub ended: Vec<Farewell>,
    /// New series.
    pub announced: Vec<Announcement>,
    /// Samples, ascending by series.
    pub samples: Vec<(SeriesId, Sample)>,
    /// Details that changed.
    pub details: Vec<(SeriesId, Detail, Option<u64>)>,
    /// What was left out.
    pub omissions: Vec<Omission>,
}

impl Decoder {
    /// A chain of which nothing was seen: the first batch has number 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of the last batch.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the last batch's sweep began, and the wall time then.
    #[must_use]
    pub fn time(&self) -> (BootTime, WallTime) {
        (self.time, self.wall)
    }

    /// The live series with their newest sample and details. First readings are not kept: the newest sample tells them as
    /// long as there is no other.
    pub fn live(&self) -> impl Iterator<Item = (Announcement, Option<Sample>, Details)> {
        self.live.iter()
    }

    /// What the live series were announced as, but for first readings.
    pub fn announcements(&self) -> impl Iterator<Item = Announcement> {
        self.live.announcements()
    }

    /// The live series, ascending.
    #[must_use]
    pub fn series(&self) -> &[SeriesId] {
        self.live.series()
    }

    /// What was unknown since this was asked last.
    pub fn take_unknown(&mut self) -> Unknown {
        std::mem::take(&mut self.unknown)
    }

    /// Takes the next batch in its encoded form.
    pub fn batch(&mut self, encoded: &[u8]) -> Result<Tick, ChainError> {
        let mut buffers = Buffers::default();
        self.batch_into(encoded, &mut buffers)?;
        Ok(buffers.tick)
    }

    /// Takes the next batch in memory that is used again. Decoders have none of their own: there are as many as nodes, and
    /// what one leaves behind is still in the processor's caches when it is the next one's turn.
    pub fn batch_into<'a>(
        &mut self,
        encoded: &[u8],
        buffers: &'a mut Buffers,
    ) -> Result<&'a mut Tick, ChainError> {
        let mut usual = Vec::new();
        let parts = Parts::of(encoded, &mut usual)?;
        self.unknown.fields += parts.unknown_fields;
        self.unknown.details += parts.unknown_details;
        let Buffers { lists, changes, tick } = buffers;
        parts.lists(lists)?;
        // A broken number comes before what it may have led to.
        self.take(&parts, lists, changes, tick).map_err(|error| parts.checked().err().unwrap_or(error))?;
        Ok(tick)
    }

    fn take(
        &mut self,
        parts: &Parts<'_>,
        lists: &wire::Batch,
        changes: &mut Changes,
        tick: &mut Tick,
    ) -> Result<(), ChainError> {
        self.head(parts, tick)?;
        self.end(lists, tick)?;
        self.announce(lists, tick)?;
        self.columns(parts, tick)?;
        self.details(parts, changes, tick)?;
        self.omissions(lists, tick);
        Ok(())
    }

    fn omissions(&mut self, lists: &wire::Batch, tick: &mut Tick) {
        tick.omissions.clear();
        for omission in &lists.omissions {
            match omission_reason(omission.reason) {
                Some(reason) => tick.omissions.push(Omission { reason, count: omission.count }),
                None => self.unknown.reasons += 1,
            }
        }
    }

    fn head(&mut self, parts: &Parts<'_>, tick: &mut Tick) -> Result<(), ChainError> {
        let expected = in_range("sequence", self.sequence.checked_add(1))?;
        if parts.sequence != expected {
            return Err(ChainError::Sequence { got: parts.sequence, expected });
        }
        later("time_us", parts.time_us, self.time.0)?;
        later("wall_us", parts.wall_us, self.wall.0)?;
        self.sequence = expected;
        self.time = BootTime(parts.time_us);
        self.wall = WallTime(parts.wall_us);
        tick.sequence = self.sequence;
        tick.time = self.time;
        tick.wall = self.wall;
        Ok(())
    }

    fn end(&mut self, lists: &wire::Batch, tick: &mut Tick) -> Result<(), ChainError> {
        tick.ended.clear();
        if lists.ended.is_empty() {
            return Ok(());
        }
        let mut ended = HashSet::with_capacity(lists.ended.len());
        for wire in &lists.ended {
            let farewell = Farewell::from(wire);
            self.unknown.reasons += u64::from(!knows_end_reason(wire.reason));
            if self.live.find(farewell.series).is_none() || !ended.insert(farewell.series) {
                return Err(ChainError::UnknownSeries { field: "ended", series: farewell.series });
            }
            tick.ended.push(farewell);
        }
        self.live.remove(&ended);
        Ok(())
    }

    fn announce(&mut self, lists: &wire::Batch, tick: &mut Tick) -> Result<(), ChainError> {
        tick.announced.clear();
        if self.live.len() + lists.announced.len() > MAX_SERIES {
            return Err(ChainError::TooManySeries);
        }
        self.live.reserve(lists.announced.len());
        for announcement in &lists.announced {
            let announcement = Announcement::try_from(announcement)?;
            if let Some(first) = announcement.first
                && first.time.0 > tick.time.0
            {
                return Err(ChainError::OutOfRange("announced.first.time_us"));
            }
            self.add(&announcement, None, &Details::default())?;
            tick.announced.push(announcement);
        }
        Ok(())
    }

    /// Adds a series, with what was read of it last.
    pub(super) fn add(
        &mut self,
        announcement: &Announcement,
        last: Option<Sample>,
        details: &Details,
    ) -> Result<(), ChainError> {
        let series = announcement.series;
        self.unknown.subjects += u64::from(announcement.subject == Subject::Unknown);
        if series.0 <= self.highest {
            return Err(ChainError::Order { field: "announced", series });
        }
        self.highest = series.0;
        self.live.push(announcement, last, details);
        Ok(())
    }

    fn columns(&mut self, parts: &Parts<'_>, tick: &mut Tick) -> Result<(), ChainError> {
        tick.samples.clear();
        let skipped = parts.skipped.clone().checked()?;
        let expected = self.live.len().checked_sub(skipped.len()).unwrap_or(usize::MAX);
        let [mut gaps, mut cpus, mut memories] =
            [&parts.time_gap_us, &parts.cpu_delta_ns, &parts.working_set_delta_4k].map(Clone::clone);
        length("time_gap_us", gaps.len(), expected)?;
        length("cpu_delta_ns", cpus.len(), expected)?;
        length("working_set_delta_4k", memories.len(), expected)?;
        let mut skipped = skipped.map(low).peekable();
        let mut columns = gaps.by_ref().zip(cpus.by_ref()).zip(memories.by_ref());
        let mut time = parts.time_us;
        tick.samples.reserve_exact(expected);
        for (series, reading) in self.live.readings() {
            if skipped.next_if_eq(&series.0).is_some() {
                continue;
            }
            let Some(((gap, cpu), memory)) = columns.next() else {
                break;
            };
            time = in_range("time_gap_us", time.checked_add(low(gap).into()))?;
            tick.samples.push((series, reading.next(time, cpu, signed(memory))?));
        }
        if let Some(series) = skipped.next() {
            // Not live, or not ascending: either way it was not met on the way.
            return Err(ChainError::UnknownSeries { field: "skipped", series: SeriesId(series) });
        }
        // As many as were counted, unless one is broken.
        [gaps, cpus, memories].iter().try_for_each(Numbers::done)
    }

    fn details(
        &mut self,
        parts: &Parts<'_>,
        changes: &mut Changes,
        tick: &mut Tick,
    ) -> Result<(), ChainError> {
        tick.details.clear();
        if parts.is_repeated {
            return Err(ChainError::Repeated("details.field"));
        }
        let named = parts.details().map(|part| part.series_gap.len() + part.absent_gap.len()).sum();
        changes.begin(&self.live, named);
        for part in parts.details() {
            length("details.delta", part.delta.len(), part.series_gap.len())?;
            let DetailPart { detail, mut series_gap, mut delta, mut absent_gap } = part.clone();
            let mut column = Column { live: &self.live, detail, changes, told: &mut tick.details };
            let deltas = delta.by_ref().map(|delta| Some(signed(delta)));
            column.take("details.series_gap", series_gap.by_ref().zip(deltas))?;
            column.take("details.absent_gap", absent_gap.by_ref().zip(std::iter::repeat(None)))?;
            [series_gap, delta, absent_gap].iter().try_for_each(Numbers::done)?;
        }
        changes.apply(&mut self.live);
        Ok(())
    }
}

/// A detail of some series while a batch changes it.
struct Column<'a> {
    live: &'a Live,
    detail: Detail,
    changes: &'a mut Changes,
    told: &'a mut Vec<(SeriesId, Detail, Option<u64>)>,
}

impl Column<'_> {
    /// One part of the column: series gaps with the change, or `None` where the value went away.
    fn take(
        &mut self,
        field: &'static str,
        part: impl Iterator<Item = (u64, Option<i64>)>,
    ) -> Result<(), ChainError> {
        let mut series = 0_u32;
        for (gap, delta) in part {
            let id = in_range(field, series.checked_add(low(gap)))?;
            if id == series {
                return Err(ChainError::Order { field, series: SeriesId(id) });
            }
            series = id;
            let series = SeriesId(id);
            let unknown = || ChainError::UnknownSeries { field, series };
            let details = self.changes.of(self.live, series).ok_or_else(unknown)?;
            let before = details.get(self.detail).unwrap_or(0);
            let value = delta.map(|delta| before.wrapping_add_signed(delta));
            details.set(self.detail, value);
            self.told.push((series, self.detail, value));
        }
        Ok(())
    }
}

fn length(field: &'static str, got: usize, expected: usize) -> Result<(), ChainError> {
    if got == expected { Ok(()) } else { Err(ChainError::Length { field, got, expected }) }
}

/// The number, or the error that names its field: `ok_or` would make one for each number, and drop it.
pub(super) fn in_range<T>(field: &'static str, number: Option<T>) -> Result<T, ChainError> {
    let Some(number) = number else { return Err(ChainError::OutOfRange(field)) };
    Ok(number)
}

pub(super) fn later(field: &'static str, got: u64, before: u64) -> Result<(), ChainError> {
    if got > before { Ok(()) } else { Err(ChainError::NotLater { field, got, before }) }
}
