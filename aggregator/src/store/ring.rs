//! One container's last samples, and the rule that admits a new one. Pure.
//!
//! Of a cluster's memory the rings are the largest part, so samples are kept packed (`packing.rs`): they take a third
//! to a half of what whole ones would. The packing is made anew now and then, in one go for all samples of a ring,
//! when it has come round or a sample does not fit.

mod packing;

use std::time::Duration;

use kubevitals::sample::{BootTime, Sample};

use self::packing::{Packing, Point};

/// The pace at which samples take the least memory, unless another is said: the agents' default tick.
const PACE: Duration = Duration::from_secs(1);

/// Slots of a ring that has few samples.
const FEW: usize = 8;

/// A ring takes and gives back memory in steps of so many bytes, so that it often keeps what it has.
const STEP: usize = 32;

/// A ring of at most a fixed number of samples, ascending in time.
#[derive(Debug, Default)]
pub struct Ring {
    packing: Packing,
    /// A record for each slot.
    bytes: Box<[u8]>,
    /// Fewer than the capacity as long as there are few samples.
    slots: u16,
    /// At least 2.
    capacity: u16,
    len: u16,
    /// Kept whole as well: most that is asked is about it, and each place in memory that need not be looked at counts.
    newest: Point,
    /// Samples since the packing was made; each is in the slot of its number, or of its number less all slots.
    written: u32,
}

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
        Self { capacity: count(capacity.max(2)), packing: Packing::at_pace(pace), ..Self::default() }
    }

    /// Adds a sample if it follows the newest; the oldest makes room. So do those that differ from it by more than can
    /// be packed: by years and CPU time that no machine has.
    pub fn push(&mut self, sample: Sample) -> Result<(), Refused> {
        if let Some(newest) = self.newest() {
            if sample.time <= newest.time {
                return Err(Refused::NotLater);
            }
            if sample.cpu < newest.cpu {
                return Err(Refused::WentBack);
            }
        }
        let point = sample.into();
        match self.packing.pack(point, self.written).filter(|_| !self.has_come_round()) {
            Some(record) => self.write(record),
            None => self.pack_anew(point),
        }
        self.newest = point;
        Ok(())
    }

    /// Looks at the place of the next record. To look at those of many rings before any is written lets the processor
    /// wait for all of them at once.
    #[must_use]
    pub(super) fn touch(&self) -> u8 {
        self.bytes.get(self.packing.first_byte(self.slot(self.written))).copied().unwrap_or(0)
    }

    /// Looks at the place of the sample that was taken so long before the newest, as [`touch`](Self::touch) does.
    #[must_use]
    pub(super) fn look_back(&self, window: Duration) -> u8 {
        let length = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let line = self.line(self.guess(self.newest.time.saturating_sub(length))).unwrap_or_default();
        self.bytes.get(self.packing.first_byte(self.slot(line))).copied().unwrap_or(0)
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
        self.len = (self.len + 1).min(self.slots);
    }

    /// Packs all that is held and one more in the way that suits them now.
    fn pack_anew(&mut self, point: Point) {
        let leaving = usize::from(self.len == self.capacity);
        let held = (leaving..self.len()).filter_map(|nth| self.point(nth));
        let mut points: Vec<Point> = held.chain([point]).collect();
        loop {
            let slots = points.len().next_power_of_two().max(FEW).min(self.capacity.into());
            let is_full = slots == usize::from(self.capacity);
            let lines = if is_full { 2 * slots } else { slots };
            if let Some(packing) = self.packing.fit(&points, lines) {
                self.take(packing, slots, &points);
                return;
            }
            points.remove(0);
        }
    }

    fn take(&mut self, packing: Packing, slots: usize, points: &[Point]) {
        let size = packing.size(slots).next_multiple_of(STEP);
        if self.bytes.len() < size || self.bytes.len() > size + size / 8 {
            self.bytes = vec![0; size].into_boxed_slice();
        }
        (self.packing, self.slots, self.len, self.written) = (packing, count(slots), 0, 0);
        for &point in points {
            // They all fit: the packing is made for them.
            let Some(record) = packing.pack(point, self.written) else { continue };
            self.write(record);
        }
    }

    /// Makes room for `capacity` samples, if there is less, that come every `pace` or so from now on.
    pub fn grow(&mut self, capacity: usize, pace: Duration) {
        let other = Self::at_pace(capacity.max(self.capacity.into()), pace);
        if (other.capacity, other.packing.pace()) == (self.capacity, self.packing.pace()) {
            return;
        }
        let former = std::mem::replace(self, other);
        for sample in former.iter() {
            // They were admitted before, in this order.
            let _ = self.push(sample);
        }
    }

    fn slot(&self, line: u32) -> usize {
        let slots = u32::from(self.slots);
        let slot = if line >= slots { line - slots } else { line };
        usize::try_from(slot).unwrap_or(usize::MAX)
    }

    /// How many samples came before the `nth` since the packing was made.
    fn line(&self, nth: usize) -> Option<u32> {
        let after = u32::from(self.len).checked_sub(u32::try_from(nth).ok()?).filter(|&after| after > 0)?;
        Some(self.written - after)
    }

    /// The record of the `nth` sample, and how many came before it since the packing was made.
    fn record(&self, nth: usize) -> Option<(u128, u32)> {
        let line = self.line(nth)?;
        Some((self.packing.read(&self.bytes, self.slot(line))?, line))
    }

    fn point(&self, nth: usize) -> Option<Point> {
        self.record(nth).map(|(record, line)| self.packing.unpack(record, line))
    }

    /// When the `nth` sample was taken.
    fn time(&self, nth: usize) -> Option<u64> {
        self.record(nth).map(|(record, line)| self.packing.unpack_time(record, line))
    }

    /// How many samples are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The samples, oldest first.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Sample> {
        (0..self.len()).filter_map(|nth| self.get(nth))
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<Sample> {
        (self.len > 0).then(|| self.newest.into())
    }

    /// The oldest sample.
    #[must_use]
    pub fn oldest(&self) -> Option<Sample> {
        self.get(0)
    }

    /// The `nth` sample, 0 being the oldest.
    #[must_use]
    pub fn get(&self, nth: usize) -> Option<Sample> {
        self.point(nth).map(Sample::from)
    }

    /// Which sample is the nearest to `time`, if all were taken when they were due.
    fn guess(&self, time: u64) -> usize {
        let before = u64::from(self.written) - u64::from(self.len);
        let guess = self.packing.line(time).saturating_sub(before);
        usize::try_from(guess).unwrap_or(usize::MAX).min(self.len().saturating_sub(1))
    }

    /// Which sample is the nearest to `time`, of two equally near ones the earlier; 0 when there is none.
    ///
    /// A list of everything asks this of every ring, and each place looked at may be a wait for memory. Samples come
    /// at a steady pace, so the first guess is right but for a step or two, and its neighbours lie beside it.
    fn place(&self, time: BootTime) -> usize {
        let distance = |nth| self.time(nth).map(|held| held.abs_diff(time.0));
        let mut place = self.guess(time.0);
        let Some(mut least) = distance(place) else { return 0 };
        while let Some(nearer) = distance(place + 1).filter(|&other| other < least) {
            (place, least) = (place + 1, nearer);
        }
        while let Some(nearer) = place.checked_sub(1).and_then(distance).filter(|&other| other <= least) {
            (place, least) = (place - 1, nearer);
        }
        place
    }

    /// The newest sample that is not later than `time`.
    #[must_use]
    pub fn at_or_before(&self, time: BootTime) -> Option<Sample> {
        if self.newest.time <= time.0 {
            return self.newest();
        }
        let near = self.place(time);
        self.get(near).filter(|sample| sample.time <= time).or_else(|| self.get(near.checked_sub(1)?))
    }

    /// The oldest sample that is not earlier than `time`.
    #[must_use]
    pub fn at_or_after(&self, time: BootTime) -> Option<Sample> {
        let near = self.place(time);
        self.get(near).filter(|sample| sample.time >= time).or_else(|| self.get(near + 1))
    }

    /// The sample nearest to `time`; of two equally near ones the earlier.
    #[must_use]
    pub fn nearest(&self, time: BootTime) -> Option<Sample> {
        self.get(self.place(time))
    }
}

fn count(samples: usize) -> u16 {
    u16::try_from(samples).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
