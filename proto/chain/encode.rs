//! Samples to batches.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Announcement, Farewell, OmissionReason,
    checkpoint::{Checkpoint, Live},
    detail_to_wire,
    slabs::Slabs,
};
use crate::{
    sample::{BootTime, CpuTime, Detail, Details, Sample, SeriesId, WallTime},
    wire,
};

/// Makes the chain. One tick is [`begin`](Encoder::begin), then [`end`](Encoder::end) and
/// [`announce`](Encoder::announce) as needed, then for every live series in ascending order
/// [`sample`](Encoder::sample) or [`skip`](Encoder::skip), then [`finish`](Encoder::finish).
///
/// All columns are reused, and so is the memory of batches that were dropped: a tick without news allocates nothing.
#[derive(Debug, Default)]
pub struct Encoder {
    /// What readers know.
    state: Checkpoint,
    /// Index into the live series of the one whose turn it is.
    cursor: usize,
    /// When the series before was read.
    previous_read: u64,
    batch: wire::Batch,
    /// One per [`Detail`], in its order.
    columns: Vec<Column>,
    slabs: Slabs,
}

/// A detail column in the making, with the last series listed in either part.
#[derive(Debug, Default)]
struct Column {
    wire: wire::DetailColumn,
    last_changed: u32,
    last_absent: u32,
}

impl Encoder {
    /// The series that began with the tick made last.
    pub fn announced(&self) -> impl Iterator<Item = SeriesId> + '_ {
        self.batch.announced.iter().map(|announcement| SeriesId(announcement.series))
    }

    /// The series that ended with the tick made last.
    pub fn ended(&self) -> impl Iterator<Item = SeriesId> + '_ {
        self.batch.ended.iter().map(|farewell| SeriesId(farewell.series))
    }

    /// Starts the next tick. `wall` is the wall time at `time`.
    pub fn begin(&mut self, time: BootTime, wall: WallTime) {
        let batch = &mut self.batch;
        batch.sequence = self.state.sequence + 1;
        batch.time_us = time.0;
        batch.wall_us = wall.0;
        batch.announced.clear();
        batch.ended.clear();
        batch.skipped.clear();
        batch.time_gap_us.clear();
        batch.cpu_delta_ns.clear();
        batch.working_set_delta_4k.clear();
        batch.omissions.clear();
        // The columns were moved into the batch by the tick before; take them back with their capacity.
        for mut column in batch.details.drain(..) {
            let number = usize::try_from(column.field).unwrap_or_default();
            column.series_gap.clear();
            column.delta.clear();
            column.absent_gap.clear();
            if let Some(slot) = number.checked_sub(1).and_then(|index| self.columns.get_mut(index)) {
                slot.wire = column;
            }
        }
        self.columns.resize_with(Detail::ALL.len(), Column::default);
        for column in &mut self.columns {
            column.last_changed = 0;
            column.last_absent = 0;
        }
        self.cursor = 0;
        self.previous_read = time.0;
    }

    /// Ends a series. Unknown ones are ignored: they were never announced.
    pub fn end(&mut self, farewell: Farewell) {
        let live = &mut self.state.live;
        if let Ok(index) = live.binary_search_by_key(&farewell.series, |live| live.id) {
            live.remove(index);
            // One announced in this very batch never needs to be heard of: readers take endings first.
            let announced = &mut self.batch.announced;
            match announced.iter().rposition(|new| new.series == farewell.series.0) {
                Some(at) => drop(announced.remove(at)),
                None => self.batch.ended.push(farewell.into()),
            }
        }
    }

    /// Announces a series; its number must be higher than any before.
    pub fn announce(&mut self, announcement: &Announcement) {
        debug_assert!(self.state.live.last().is_none_or(|last| last.id < announcement.series));
        self.state.live.push(Live {
            id: announcement.series,
            announcement: Arc::new(announcement.clone()),
            last: announcement.first,
            details: Details::default(),
        });
        self.batch.announced.push(announcement.into());
    }

    /// The next live series' sample. Its CPU counter must not be below the one before.
    pub fn sample(&mut self, sample: Sample, details: Option<&Details>) {
        let Some(live) = self.state.live.get_mut(self.cursor) else {
            return;
        };
        self.cursor += 1;
        let read = sample.time.0.max(self.previous_read);
        let gap = u32::try_from(read - self.previous_read).unwrap_or(u32::MAX);
        self.batch.time_gap_us.push(gap);
        self.previous_read += u64::from(gap);
        let (cpu, memory) = live.last.map_or((0, 0), |last| (last.cpu.0, last.working_set.units()));
        self.batch.cpu_delta_ns.push(sample.cpu.0.saturating_sub(cpu));
        self.batch.working_set_delta_4k.push(i64::from(sample.working_set.units()) - i64::from(memory));
        let (time, cpu) = (BootTime(self.previous_read), CpuTime(sample.cpu.0.max(cpu)));
        live.last = Some(Sample { time, cpu, working_set: sample.working_set });
        if let Some(details) = details {
            for (column, &detail) in self.columns.iter_mut().zip(Detail::ALL) {
                column.put(live.id, live.details.get(detail), details.get(detail));
            }
            live.details = *details;
        }
    }

    /// The next live series has no sample in this tick.
    pub fn skip(&mut self) {
        if let Some(live) = self.state.live.get(self.cursor) {
            self.cursor += 1;
            self.batch.skipped.push(live.id.0);
        }
    }

    /// Says how many readings were left out for a reason; zero is not worth saying.
    pub fn omitted(&mut self, reason: OmissionReason, count: u32) {
        if count > 0 {
            let reason = wire::OmissionReason::from(reason).into();
            self.batch.omissions.push(wire::Omission { reason, count });
        }
    }

    /// Ends the tick: its sequence number and encoded batch. Series whose turn never came count as skipped.
    pub fn finish(&mut self) -> (u64, Bytes) {
        while self.cursor < self.state.live.len() {
            self.skip();
        }
        for (column, &detail) in self.columns.iter_mut().zip(Detail::ALL) {
            if !column.wire.series_gap.is_empty() || !column.wire.absent_gap.is_empty() {
                let mut wire = std::mem::take(&mut column.wire);
                wire.field = detail_to_wire(detail).into();
                self.batch.details.push(wire);
            }
        }
        let (state, batch) = (&mut self.state, &self.batch);
        state.sequence = batch.sequence;
        (state.time, state.wall) = (BootTime(batch.time_us), WallTime(batch.wall_us));
        (state.sequence, self.slabs.encode(batch))
    }

    /// What a reader of all batches made so far knows.
    #[must_use]
    pub fn state(&self) -> &Checkpoint {
        &self.state
    }

    /// How many series are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state.live.len()
    }
}

impl Column {
    fn put(&mut self, id: SeriesId, before: Option<u64>, now: Option<u64>) {
        match (before, now) {
            (before, Some(now)) if before != Some(now) => {
                self.wire.series_gap.push(id.0 - self.last_changed);
                // Modulo 2^64: the reader adds the same way.
                self.wire.delta.push(now.wrapping_sub(before.unwrap_or(0)).cast_signed());
                self.last_changed = id.0;
            }
            (Some(_), None) => {
                self.wire.absent_gap.push(id.0 - self.last_absent);
                self.last_absent = id.0;
            }
            _ => {}
        }
    }
}
