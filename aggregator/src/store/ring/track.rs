//! One ring of a node: which samples it has, and where their records lie.

use kubevitals::sample::Sample;

use super::{
    Refused,
    packing::{Packing, Point},
    slab::Slab,
    sweeps::Sweeps,
};

/// Slots of a ring that has few samples.
const FEW: usize = 8;

/// A ring's head; its records are in the node's slab.
///
/// It is as large as a line of the processor's cache: a tick looks at each ring of a node, and finds none of them there. To
/// begin where a line does gained nothing.
#[derive(Debug, Default)]
pub(in crate::store) struct Track {
    packing: Packing,
    /// The newest sample is kept whole as well: most that is asked is about it, and each place in memory that need not be
    /// looked at counts. Microseconds.
    newest_time: u64,
    /// Nanoseconds.
    newest_cpu: u64,
    /// Units of 4 KiB.
    newest_memory: u32,
    /// Samples since the packing was made, those among them that were there before; each is in the slot of its number, or of
    /// its number less all slots.
    written: u32,
    /// Where the records begin in the slab.
    start: u32,
    /// Fewer than the capacity as long as there are few samples.
    slots: u16,
}

const _: () = assert!(size_of::<Track>() == 64, "a line of the cache");

impl Track {
    /// Adds a sample if it follows the newest; the oldest makes room. So do those that differ from it by more than can
    /// be packed: by years and CPU time that no machine has.
    pub(in crate::store) fn push(
        &mut self,
        sample: Sample,
        sweeps: &Sweeps,
        slab: &mut Slab,
    ) -> Result<(), Refused> {
        let point = Point::from(sample);
        if self.written > 0 && point.time <= self.newest_time {
            return Err(Refused::NotLater);
        }
        if self.written > 0 && point.cpu < self.newest_cpu {
            return Err(Refused::WentBack);
        }
        let record = self.packing.pack(point, self.written, sweeps).filter(|_| !self.has_come_round(sweeps));
        match record {
            Some(record) => self.write(record, slab),
            None => self.pack_anew(point, sweeps, slab),
        }
        (self.newest_time, self.newest_cpu, self.newest_memory) = (point.time, point.cpu, point.memory);
        Ok(())
    }

    /// Looks at it; the number says nothing.
    pub(in crate::store) fn look(&self) -> u32 {
        self.start
    }

    /// Whether all slots were written since the packing was made; when the ring is full, twice: then no sample is left
    /// for which it was made.
    fn has_come_round(&self, sweeps: &Sweeps) -> bool {
        let slots = u32::from(self.slots);
        self.written >= if self.slots < sweeps.capacity() { slots } else { 2 * slots }
    }

    fn write(&mut self, record: u128, slab: &mut Slab) {
        let slot = self.slot(self.written);
        self.packing.write(slab, self.start, slot, record);
        self.written += 1;
    }

    /// Packs all that is held and one more in the way that suits them now.
    fn pack_anew(&mut self, point: Point, sweeps: &Sweeps, slab: &mut Slab) {
        let leaving = usize::from(self.len() == usize::from(sweeps.capacity()));
        let held = (leaving..self.len()).filter_map(|nth| self.point(nth, slab, sweeps));
        // Reserved at once: how many of them there are cannot be told from the iterator.
        let mut points = Vec::with_capacity(self.len() + 1);
        points.extend(held.chain([point]));
        self.hold(points, sweeps, sweeps, slab);
    }

    /// Holds these, or the latest of them if the others lie too far back; packed beside `by`.
    fn hold(&mut self, mut points: Vec<Point>, by: &Sweeps, sweeps: &Sweeps, slab: &mut Slab) {
        while !points.is_empty() {
            if let Some(packing) = Packing::fit(&points, sweeps.pace(), by) {
                let slots = points.len().next_power_of_two().max(FEW).min(sweeps.capacity().into());
                let (start, held) = self.records();
                self.start = slab.change(start, held, packing.size(slots));
                (self.packing, self.slots, self.written) =
                    (packing, u16::try_from(slots).unwrap_or(u16::MAX), 0);
                for &point in &points {
                    // They all fit: the packing is made for them.
                    let Some(record) = packing.pack(point, self.written, by) else { continue };
                    self.write(record, slab);
                }
                return;
            }
            points.remove(0);
        }
    }

    /// Whether the newest sample is of an earlier sweep than the last, and its time is known by its sweep.
    #[must_use]
    pub(in crate::store) fn lags(&self, sweeps: &Sweeps) -> bool {
        let newest = self.written.checked_sub(1).and_then(|line| self.packing.sweep(line));
        newest.is_some() && newest != sweeps.last()
    }

    /// Makes its samples independent of the sweeps, which are remembered for as long as samples come in each of them.
    pub(in crate::store) fn settle(&mut self, sweeps: &Sweeps, slab: &mut Slab) {
        if self.packing.is_swept() {
            let points = (0..self.len()).filter_map(|nth| self.point(nth, slab, sweeps)).collect();
            self.hold(points, &Sweeps::NONE, sweeps, slab);
        }
    }

    /// Gives its memory back.
    pub(in crate::store) fn clear(&mut self, slab: &mut Slab) {
        let (start, held) = self.records();
        slab.change(start, held, 0);
        *self = Self::default();
    }

    /// Where its records begin in the slab, and how many bytes they are.
    pub(super) fn records(&self) -> (u32, usize) {
        (self.start, self.packing.size(self.slots.into()))
    }

    /// The slab has them elsewhere now.
    pub(super) fn moved(&mut self, start: u32) {
        self.start = start;
    }

    pub(super) fn packing(&self) -> &Packing {
        &self.packing
    }

    fn slot(&self, line: u32) -> usize {
        let slots = u32::from(self.slots);
        let slot = if line >= slots { line - slots } else { line };
        usize::try_from(slot).unwrap_or(usize::MAX)
    }

    /// The record of the `nth` sample, and how many came before it since the packing was made.
    fn record(&self, nth: usize, slab: &Slab) -> Option<(u128, u32)> {
        let held = self.written.min(self.slots.into());
        let after = held.checked_sub(u32::try_from(nth).ok()?).filter(|&after| after > 0)?;
        let line = self.written - after;
        Some((self.packing.read(slab, self.start, self.slot(line))?, line))
    }

    /// The `nth` sample, 0 being the oldest.
    pub(super) fn point(&self, nth: usize, slab: &Slab, sweeps: &Sweeps) -> Option<Point> {
        self.record(nth, slab).and_then(|(record, line)| self.packing.unpack(record, line, sweeps))
    }

    /// When the `nth` sample was taken.
    pub(super) fn time(&self, nth: usize, slab: &Slab, sweeps: &Sweeps) -> Option<u64> {
        self.record(nth, slab).and_then(|(record, line)| self.packing.unpack_time(record, line, sweeps))
    }

    /// How many samples are held.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.written).unwrap_or(usize::MAX).min(self.slots.into())
    }

    /// How many came before those that are held since the packing was made.
    pub(super) fn gone(&self) -> u64 {
        u64::from(self.written.saturating_sub(self.slots.into()))
    }

    pub(super) fn newest(&self) -> Point {
        let &Self { newest_time: time, newest_cpu: cpu, newest_memory: memory, .. } = self;
        Point { time, cpu, memory }
    }
}
