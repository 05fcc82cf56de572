//! One container's last samples, and the rule that admits a new one. Pure.
//!
//! Of a cluster's memory the rings are the largest part, so samples are kept packed (`packing.rs`): they take a sixth
//! of what whole ones would. The packing is made anew now and then, in one go for all samples of a ring, when it has come
//! round or a sample does not fit. What is asked of a ring is in `samples.rs`.

mod packing;
mod samples;

use std::time::Duration;

use kubevitals::sample::Sample;

use self::packing::{Packing, Point};
pub use self::samples::Samples;
use super::sweeps::Sweeps;

/// The pace at which samples take the least memory, unless another is said: the agents' default tick.
const PACE: Duration = Duration::from_secs(1);

/// Slots of a ring that has few samples.
const FEW: usize = 8;

/// The allocator gives out blocks of a multiple of so many bytes and half as many more.
const STEP: usize = 16;

/// A ring of at most a fixed number of samples, ascending in time.
///
/// Its fields are ordered and sized so that it takes 80 bytes: a tick looks at each ring of a node.
#[derive(Debug, Default)]
pub struct Ring {
    packing: Packing,
    /// A record for each slot.
    bytes: Box<[u8]>,
    /// The newest sample is kept whole as well: most that is asked is about it, and each place in memory that need not be
    /// looked at counts. Microseconds.
    newest_time: u64,
    /// Nanoseconds.
    newest_cpu: u64,
    /// Units of 4 KiB.
    newest_memory: u32,
    /// Microseconds from one sample to the next.
    pace: u32,
    /// Samples since the packing was made, those among them that were there before; each is in the slot of its number, or of
    /// its number less all slots.
    written: u32,
    /// Fewer than the capacity as long as there are few samples.
    slots: u16,
    /// At least 2.
    capacity: u16,
}

const _: () = assert!(size_of::<Ring>() == 80, "one is kept for every container");

/// Why a sample is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is not later than the newest: what was served must never go back in time.
    NotLater,
    /// Its CPU counter is lower than the newest: it belongs to another counter.
    WentBack,
}

impl Ring {
    /// Room for `capacity` samples, at least 2 and at most 65,535.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::at_pace(capacity, PACE)
    }

    /// The same for samples that come every `pace` or so. Others are admitted as well, and take more memory.
    #[must_use]
    pub fn at_pace(capacity: usize, pace: Duration) -> Self {
        let pace = u32::try_from(pace.as_micros()).unwrap_or(u32::MAX);
        Self { capacity: count(capacity.max(2)), pace, ..Self::default() }
    }

    /// Adds a sample if it follows the newest; the oldest makes room. So do those that differ from it by more than can
    /// be packed: by years and CPU time that no machine has.
    pub fn push(&mut self, sample: Sample) -> Result<(), Refused> {
        self.push_swept(sample, &Sweeps::NONE)
    }

    /// The same for a ring of a node, whose sweeps these are.
    pub(super) fn push_swept(&mut self, sample: Sample, sweeps: &Sweeps) -> Result<(), Refused> {
        let point = Point::from(sample);
        if self.written > 0 && point.time <= self.newest_time {
            return Err(Refused::NotLater);
        }
        if self.written > 0 && point.cpu < self.newest_cpu {
            return Err(Refused::WentBack);
        }
        match self.packing.pack(point, self.written, sweeps).filter(|_| !self.has_come_round()) {
            Some(record) => self.write(record),
            None => self.pack_anew(point, sweeps),
        }
        (self.newest_time, self.newest_cpu, self.newest_memory) = (point.time, point.cpu, point.memory);
        Ok(())
    }

    /// Looks at the place of the next record. To look at those of many rings before any is written lets the processor
    /// wait for all of them at once.
    #[must_use]
    pub(super) fn touch(&self) -> u8 {
        self.bytes.get(self.packing.first_byte(self.slot(self.written))).copied().unwrap_or(0)
    }

    /// Whether all slots were written since the packing was made; when the ring is full, twice: then no sample is left
    /// for which it was made.
    fn has_come_round(&self) -> bool {
        let slots = u32::from(self.slots);
        self.written >= if self.slots < self.capacity { slots } else { 2 * slots }
    }

    fn write(&mut self, record: u128) {
        let slot = self.slot(self.written);
        self.packing.write(&mut self.bytes, slot, record);
        self.written += 1;
    }

    /// Packs all that is held and one more in the way that suits them now.
    fn pack_anew(&mut self, point: Point, sweeps: &Sweeps) {
        let leaving = usize::from(self.len() == usize::from(self.capacity));
        let held = (leaving..self.len()).filter_map(|nth| self.point(nth, sweeps));
        let points = held.chain([point]).collect();
        self.hold(points, sweeps);
    }

    /// Holds these, or the latest of them if the others lie too far back.
    fn hold(&mut self, mut points: Vec<Point>, sweeps: &Sweeps) {
        while !points.is_empty() {
            if let Some(packing) = Packing::fit(&points, self.pace, sweeps) {
                return self.take(packing, &points, sweeps);
            }
            points.remove(0);
        }
    }

    fn take(&mut self, packing: Packing, points: &[Point], sweeps: &Sweeps) {
        let slots = points.len().next_power_of_two().max(FEW).min(self.capacity.into());
        let size = match packing.size(slots) {
            0 => 0,
            size => size.saturating_sub(STEP / 2).next_multiple_of(STEP) + STEP / 2,
        };
        if self.bytes.len() < size || self.bytes.len() > size + STEP {
            self.bytes = vec![0; size].into_boxed_slice();
        }
        (self.packing, self.slots, self.written) = (packing, count(slots), 0);
        for &point in points {
            // They all fit: the packing is made for them.
            let Some(record) = packing.pack(point, self.written, sweeps) else { continue };
            self.write(record);
        }
    }

    /// Makes room for `capacity` samples, if there is less, that come every `pace` or so from now on.
    pub fn grow(&mut self, capacity: usize, pace: Duration) {
        let other = Self::at_pace(capacity.max(self.capacity.into()), pace);
        (self.capacity, self.pace) = (other.capacity, other.pace);
    }

    /// Whether the newest sample is of an earlier sweep than the last, and its time is known by its sweep.
    #[must_use]
    pub(super) fn lags(&self, sweeps: &Sweeps) -> bool {
        let newest = self.written.checked_sub(1).and_then(|line| self.packing.sweep(line));
        newest.is_some() && newest != sweeps.last()
    }

    /// Makes its samples independent of the sweeps, which are remembered for as long as samples come in each of them.
    pub(super) fn settle(&mut self, sweeps: &Sweeps) {
        if self.packing.is_swept() {
            let points = (0..self.len()).filter_map(|nth| self.point(nth, sweeps)).collect();
            self.hold(points, &Sweeps::NONE);
        }
    }

    fn slot(&self, line: u32) -> usize {
        let slots = u32::from(self.slots);
        let slot = if line >= slots { line - slots } else { line };
        usize::try_from(slot).unwrap_or(usize::MAX)
    }

    /// The record of the `nth` sample, and how many came before it since the packing was made.
    fn record(&self, nth: usize) -> Option<(u128, u32)> {
        let held = self.written.min(self.slots.into());
        let after = held.checked_sub(u32::try_from(nth).ok()?).filter(|&after| after > 0)?;
        let line = self.written - after;
        Some((self.packing.read(&self.bytes, self.slot(line))?, line))
    }

    fn point(&self, nth: usize, sweeps: &Sweeps) -> Option<Point> {
        self.record(nth).and_then(|(record, line)| self.packing.unpack(record, line, sweeps))
    }

    /// When the `nth` sample was taken.
    fn time(&self, nth: usize, sweeps: &Sweeps) -> Option<u64> {
        self.record(nth).and_then(|(record, line)| self.packing.unpack_time(record, line, sweeps))
    }

    /// How many samples are held.
    fn len(&self) -> usize {
        usize::try_from(self.written).unwrap_or(usize::MAX).min(self.slots.into())
    }
}

fn count(samples: usize) -> u16 {
    u16::try_from(samples).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
