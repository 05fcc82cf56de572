//! Samples as records of a fixed number of bits, as many as those of one ring need. Pure.
//!
//! An agent reads all containers of its node in one sweep, so the time of a sample is known but for a little from when
//! its sweep began, or else from the agent's pace and how many samples came before it. A CPU counter lies about where
//! steady use would have brought it; memory within what changed. That takes 15 to 40 bits where whole values take 128.
//! All records of a ring have the same width, so that any of them is found and read at once.

use kubevitals::sample::{BootTime, CpuTime, Sample, WorkingSet};

use super::{slab::Slab, sweeps::Sweeps};

/// Bits that a record may have: with the seven that may lie before it in its first byte it is read as one word of 128.
const MOST_BITS: u8 = 120;

/// So many samples say how far others of their kind will lie apart.
const MANY: usize = 30;

const NANOS_PER_MICRO: u64 = 1000;

/// A sample in the types that are counted with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Point {
    /// Microseconds.
    pub(super) time: u64,
    /// Nanoseconds.
    pub(super) cpu: u64,
    /// Units of 4 KiB.
    pub(super) memory: u32,
}

impl From<Sample> for Point {
    fn from(sample: Sample) -> Self {
        Self { time: sample.time.0, cpu: sample.cpu.0, memory: sample.working_set.units() }
    }
}

impl From<Point> for Sample {
    fn from(point: Point) -> Self {
        Self {
            time: BootTime(point.time),
            cpu: CpuTime(point.cpu),
            working_set: WorkingSet::from_units(point.memory),
        }
    }
}

/// Flag: the node's sweeps tell when samples are due, not the agent's pace.
const SWEPT: u8 = 1;

/// Flag: CPU time is counted in whole microseconds, as version 2 does.
const IN_MICROS: u8 = 2;

/// What the records of a ring are relative to, and how many bits each of their fields has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Packing {
    /// By how much samples are later than their clock says, in the middle; microseconds.
    late: u64,
    /// Where steady use begins, nanoseconds.
    cpu: u64,
    /// Steady use between two samples, nanoseconds or microseconds.
    slope: u32,
    /// The middle of the memory.
    memory: u32,
    /// Microseconds from one sample to the next, or the number of the first one's sweep.
    step: u32,
    /// One byte for both, for the size of a ring.
    flags: u8,
    /// Bits of the fields, the time's lowest.
    time_bits: u8,
    cpu_bits: u8,
    memory_bits: u8,
}

impl Packing {
    /// The one that suits these samples, with some bits to spare for others of their kind; `None` when they lie too far
    /// apart for any. The newest was read in the last of the sweeps, those before it in the ones before, or else at that pace.
    pub(super) fn fit(points: &[Point], pace: u32, sweeps: &Sweeps) -> Option<Self> {
        let timed = Self::timed(points, pace, sweeps)?;
        let (memory, memory_spread) = middle(points.iter().map(|point| Some(point.memory.into())))?;
        let memory = u32::try_from(memory).ok()?;
        let memory_bits = bits(room(memory_spread, points.len()));
        let (used, cpu_spread) = timed.with_use(points)?;
        let spare = MOST_BITS.checked_sub(timed.time_bits + memory_bits)?;
        let cpu_bits = bits(room(cpu_spread, points.len())).min(spare);
        let fits = cpu_bits >= bits(cpu_spread.saturating_mul(2));
        fits.then_some(Self { memory, cpu_bits, memory_bits, ..used })
    }

    /// By the clock to which the samples keep better.
    fn timed(points: &[Point], pace: u32, sweeps: &Sweeps) -> Option<Self> {
        let before = u32::try_from(points.len()).ok()?.checked_sub(1)?;
        let first = sweeps.last().and_then(|last| last.checked_sub(before));
        let swept = first.map(|step| Self { step, flags: SWEPT, ..Self::default() });
        let paced = Self { step: pace, ..Self::default() };
        let spread = |packing: Self| {
            let late = (0..)
                .zip(points)
                .map(|(line, point)| packing.due(line, sweeps).map(|due| point.time.wrapping_sub(due)));
            let (late, spread) = middle(late)?;
            let room = spread.checked_mul(4).map(|_| room(spread, points.len()))?;
            Some(Self { late, time_bits: bits(room), ..packing })
        };
        let clocks = [swept, Some(paced)];
        clocks.into_iter().flatten().filter_map(spread).min_by_key(|packing| packing.time_bits)
    }

    /// With the steady use that suits the samples, and how far from it they lie at most.
    fn with_use(self, points: &[Point]) -> Option<(Self, u64)> {
        let (first, last) = (points.first()?, points.last()?);
        let in_micros = points.iter().all(|point| (point.cpu - first.cpu).is_multiple_of(NANOS_PER_MICRO));
        let with_unit = Self { flags: self.flags | if in_micros { IN_MICROS } else { 0 }, ..self };
        let scale = with_unit.scale();
        let steps = u64::try_from(points.len()).ok()?.checked_sub(1)?.max(1);
        let slope = (last.cpu - first.cpu) / scale / steps;
        let slope = u32::try_from(slope).unwrap_or(u32::MAX);
        let from_first = Self { cpu: first.cpu, slope, ..with_unit };
        let beside = (0..).zip(points).map(|(line, point)| from_first.beside(point.cpu, line));
        let (middle, spread) = middle(beside)?;
        let cpu = first.cpu.wrapping_add(middle.wrapping_mul(scale));
        Some((Self { cpu, ..from_first }, spread))
    }

    /// Whether the node's sweeps tell when samples are due.
    pub(super) fn is_swept(&self) -> bool {
        self.flags & SWEPT != 0
    }

    /// Nanoseconds in the unit of CPU time.
    fn scale(&self) -> u64 {
        if self.flags & IN_MICROS != 0 { NANOS_PER_MICRO } else { 1 }
    }

    /// The number of the sweep of the sample before which `line` others came, if sweeps are the clock.
    pub(super) fn sweep(&self, line: u32) -> Option<u32> {
        self.is_swept().then(|| self.step.saturating_add(line))
    }

    /// How many bytes so many records take.
    pub(super) fn size(&self, records: usize) -> usize {
        (records * self.width()).div_ceil(8)
    }

    fn width(&self) -> usize {
        usize::from(self.time_bits) + usize::from(self.cpu_bits) + usize::from(self.memory_bits)
    }

    /// The record of a sample before which `line` others came; `None` when it does not fit.
    pub(super) fn pack(&self, point: Point, line: u32, sweeps: &Sweeps) -> Option<u128> {
        let time = fold(point.time.wrapping_sub(self.due(line, sweeps)?).wrapping_sub(self.late));
        let cpu = fold(self.beside(point.cpu, line)?);
        let memory = fold(u64::from(point.memory).wrapping_sub(self.memory.into()));
        let fits =
            bits(time) <= self.time_bits && bits(cpu) <= self.cpu_bits && bits(memory) <= self.memory_bits;
        let (cpu, memory) = (u128::from(cpu) << self.time_bits, u128::from(memory) << self.memory_at());
        fits.then_some(u128::from(time) | cpu | memory)
    }

    /// The sample that was packed; `None` when its sweep is not known any more.
    pub(super) fn unpack(&self, record: u128, line: u32, sweeps: &Sweeps) -> Option<Point> {
        let used = unfold(low(record >> self.time_bits, self.cpu_bits)).wrapping_add(self.steady(line));
        let memory = unfold(low(record >> self.memory_at(), self.memory_bits));
        Some(Point {
            time: self.unpack_time(record, line, sweeps)?,
            cpu: self.cpu.wrapping_add(used.wrapping_mul(self.scale())),
            // What was packed was one.
            memory: u32::try_from(u64::from(self.memory).wrapping_add(memory)).unwrap_or_default(),
        })
    }

    /// When the sample was taken that was packed.
    pub(super) fn unpack_time(&self, record: u128, line: u32, sweeps: &Sweeps) -> Option<u64> {
        let late = unfold(low(record, self.time_bits)).wrapping_add(self.late);
        Some(self.due(line, sweeps)?.wrapping_add(late))
    }

    fn memory_at(&self) -> u8 {
        self.time_bits + self.cpu_bits
    }

    /// When a sample is due before which `line` others came.
    fn due(&self, line: u32, sweeps: &Sweeps) -> Option<u64> {
        match self.sweep(line) {
            Some(sweep) => sweeps.begun(sweep),
            None => Some(u64::from(line) * u64::from(self.step)),
        }
    }

    /// How far a CPU counter lies from steady use, in its unit; `None` when that is no whole number.
    fn beside(&self, cpu: u64, line: u32) -> Option<u64> {
        let used = cpu.wrapping_sub(self.cpu);
        if self.flags & IN_MICROS == 0 {
            return Some(used.wrapping_sub(self.steady(line)));
        }
        // A division by a number that is known beforehand takes a tenth of the time.
        let (nanos, scale) = (used.cast_signed(), NANOS_PER_MICRO.cast_signed());
        let micros = nanos / scale;
        (micros * scale == nanos).then(|| micros.cast_unsigned().wrapping_sub(self.steady(line)))
    }

    fn steady(&self, line: u32) -> u64 {
        u64::from(self.slope) * u64::from(line)
    }

    /// How many samples come before the one nearest to `time`, if all come when they are due.
    pub(super) fn line(&self, time: u64, sweeps: &Sweeps) -> u64 {
        let due = time.saturating_sub(self.late);
        if self.is_swept() {
            return u64::from(sweeps.near(due).saturating_sub(self.step));
        }
        let pace = u64::from(self.step.max(1));
        due.saturating_add(pace / 2) / pace
    }

    /// Reads the record of a slot; the records begin at `start`.
    pub(super) fn read(&self, slab: &Slab, start: u32, slot: usize) -> Option<u128> {
        if self.width() == 0 {
            return Some(0);
        }
        let bit = slot * self.width();
        Some(slab.word(start, bit / 8)? >> (bit % 8))
    }

    /// Writes the record of a slot; what lies beside it stays.
    pub(super) fn write(&self, slab: &mut Slab, start: u32, slot: usize, record: u128) {
        let bit = slot * self.width();
        let own = ((1_u128 << self.width()) - 1) << (bit % 8);
        slab.set_word(start, bit / 8, own, record << (bit % 8));
    }
}

/// How large a field may become when its values lie so far from the middle as yet, the sign included. The fewer are known,
/// the more room; a record that does not fit costs as much time as a hundred that do.
fn room(spread: u64, known: usize) -> u64 {
    let more = if known < MANY { spread } else { spread / 4 };
    spread.saturating_add(more).saturating_mul(2)
}

/// The middle of some values that may have wrapped, and how far they lie from it at most.
/// `None` of none, or when one of them is not known.
fn middle(mut values: impl Iterator<Item = Option<u64>>) -> Option<(u64, u64)> {
    let first = values.next()??;
    let (mut least, mut most) = (0, 0);
    for value in values {
        let from_first = value?.wrapping_sub(first).cast_signed();
        (least, most) = (from_first.min(least), from_first.max(most));
    }
    let spread = most.checked_sub(least)?.cast_unsigned().div_ceil(2);
    Some((first.wrapping_add_signed(least).wrapping_add(spread), spread))
}

/// Small values of either sign to small values without one.
fn fold(value: u64) -> u64 {
    value << 1 ^ (value.cast_signed() >> 63).cast_unsigned()
}

fn unfold(folded: u64) -> u64 {
    folded >> 1 ^ (folded & 1).wrapping_neg()
}

/// Bits up to the highest that is set.
fn bits(value: u64) -> u8 {
    u8::try_from(u64::BITS - value.leading_zeros()).unwrap_or(64)
}

fn low(word: u128, bits: u8) -> u64 {
    u64::try_from(word & ((1 << bits) - 1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(points: &[Point], pace: u32) -> Option<Packing> {
        Packing::fit(points, pace, &Sweeps::NONE)
    }

    fn points(samples: &[(u64, u64, u32)]) -> Vec<Point> {
        let point = |&(time, cpu, memory): &(u64, u64, u32)| Point { time, cpu, memory };
        samples.iter().map(point).collect()
    }

    #[test]
    fn a_record_has_the_bits_that_its_samples_need() {
        let width = |samples: &[(u64, u64, u32)]| fit(&points(samples), 1_000_000).unwrap().width();
        assert_eq!(width(&[(5_000_000, 9, 7), (6_000_000, 9, 7)]), 0, "on time, idle");
        assert_eq!(width(&[(5_000_000, 9, 7), (6_000_100, 9, 7)]), 8, "a tenth of a millisecond late");
        assert_eq!(width(&[(5_000_000, 0, 7), (6_000_000, 1_000_001, 7)]), 0, "steady use");
        let busier = |unit| [0_u64, 0, 999].map(|use_of| use_of * unit);
        let uses = |unit| {
            (5..).zip(busier(unit)).map(|(second, cpu)| (second * 1_000_000, cpu, 7)).collect::<Vec<_>>()
        };
        assert_eq!(width(&uses(1001)), 20, "a millisecond more than before, v1");
        assert_eq!(width(&uses(1000)), 10, "the same on v2");
        assert_eq!(width(&[(5_000_000, 9, 7), (6_000_000, 9, 27)]), 6, "80 KiB more");
    }

    #[test]
    fn what_lies_too_far_apart_fits_no_record() {
        let apart = |time, cpu| fit(&points(&[(1, 1, 0), (time, cpu, u32::MAX)]), 1_000_000).is_some();
        assert!(apart(1 << 36, 1 << 44));
        assert!(!apart(1 << 50, 1 << 62) && !apart(1 << 60, 1 << 40));
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        let packing = fit(&points(&[(1, 1, 1), (2, 3, 4)]), 1_000_000).unwrap();
        assert_eq!(packing.read(&Slab::default(), 0, 0), None);
    }

    proptest! {
        /// Each is read as written, and writing one leaves the others as they are.
        #[test]
        fn all_that_a_packing_is_made_for_are_read_as_written(
            steps in proptest::collection::vec((0_u64..1 << 34, 0_u64..1 << 44, any::<u32>()), 1..40),
            shrink in (0_u32..34, 0_u32..44, 0_u32..32), in_micros in any::<bool>(), pace in any::<u32>(),
        ) {
            let mut point = Point { time: 1 << 33, cpu: 1 << 40, memory: 0 };
            let scale = if in_micros { 1000 } else { 1 };
            let all: Vec<Point> = steps.iter().map(|&(later, more, memory)| {
                point.time += later >> shrink.0;
                point.cpu += (more >> shrink.1) * scale;
                point.memory = memory >> shrink.2;
                point
            }).collect();
            let Some(packing) = fit(&all, pace) else { return Ok(()) };
            let mut slab = Slab::default();
            let before = slab.change(0, 0, 7);
            let start = slab.change(0, 0, packing.size(all.len()));
            let behind = slab.change(0, 0, 9);
            slab.set_word(behind, 0, u128::MAX, u128::MAX);
            for (line, point) in (0..).zip(&all) {
                let record = packing.pack(*point, line, &Sweeps::NONE);
                prop_assert!(record.is_some(), "{point:?} in {packing:?}");
                packing.write(&mut slab, start, line as usize, record.unwrap());
            }
            for (line, point) in (0..).zip(&all) {
                let record = packing.read(&slab, start, line as usize).unwrap();
                prop_assert_eq!(packing.unpack(record, line, &Sweeps::NONE), Some(*point));
            }
            prop_assert_eq!(slab.word(before, 0).unwrap() & ((1 << 56) - 1), 0, "it is another's");
            prop_assert_eq!(slab.word(behind, 0).unwrap(), u128::MAX, "so is this");
        }
    }
}
