//! Samples as records of a fixed number of bits, as many as those of one ring need. Pure.
//!
//! An agent reads a container at a steady pace, so the time of a sample is known but for a little from how many came
//! before it; the CPU counter lies within a minute's use of where it was; memory within what changed. That takes 20
//! to 50 bits where whole values take 128. All records of a ring have the same width, so that any of them is found
//! and read at once.

use kubevitals::sample::{BootTime, CpuTime, Sample, WorkingSet};

/// Bits that a record may have: with the seven that may lie before it in its first byte it is read as one word of 128.
const MOST_BITS: u8 = 120;

/// Bytes of a word. A word is read and written whole, so there is one behind the last record.
const WORD: usize = 16;

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

/// What the records of a ring are relative to, and how many bits each of their fields has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Packing {
    /// When the first one is due, the least CPU counter, and the middle of the memory.
    base: Point,
    /// Microseconds from one to the next.
    pace: u32,
    time: u8,
    cpu: u8,
    memory: u8,
    /// Whether CPU counters are a whole number of microseconds from the base, as v2 counts them.
    in_micros: bool,
}

impl Packing {
    /// For samples that come every `pace` microseconds or so; none fits yet but in records without a bit.
    pub(super) fn at_pace(pace: u32) -> Self {
        Self { pace, ..Self::default() }
    }

    pub(super) fn pace(&self) -> u32 {
        self.pace
    }

    /// The one that suits these samples, with some bits to spare so that `lines` samples of their kind would fit;
    /// `None` when they lie too far apart for any.
    pub(super) fn fit(&self, points: &[Point], lines: usize) -> Option<Self> {
        let (first, last, pace) = (points.first()?, points.last()?, self.pace);
        let late = (0_u64..).zip(points).map(|(line, point)| point.time.wrapping_sub(line * u64::from(pace)));
        let late: Vec<u64> = late.collect();
        let (time, spread) = middle(late.iter().copied())?;
        let (memory, memory_spread) = middle(points.iter().map(|point| point.memory.into()))?;
        let base = Point { time, cpu: first.cpu, memory: u32::try_from(memory).ok()? };
        let used = last.cpu - first.cpu;
        let in_micros = points.iter().all(|point| (point.cpu - first.cpu).is_multiple_of(NANOS_PER_MICRO));
        let scale = if in_micros { NANOS_PER_MICRO } else { 1 };
        // Twice the spread, as the sign takes a bit; and twice that.
        let (time, memory) = (bits(spread.checked_mul(4)?), bits(memory_spread * 4));
        let all = u128::from(used / scale) * lines.max(points.len()) as u128 / points.len() as u128;
        let spare = MOST_BITS.checked_sub(time + memory)?;
        let cpu = bits(u64::try_from(all).unwrap_or(u64::MAX)).min(spare);
        (cpu >= bits(used / scale)).then_some(Self { base, pace, time, cpu, memory, in_micros })
    }

    /// How many bytes so many records take.
    pub(super) fn size(&self, records: usize) -> usize {
        (records * self.width()).div_ceil(8) + WORD
    }

    fn width(&self) -> usize {
        usize::from(self.time) + usize::from(self.cpu) + usize::from(self.memory)
    }

    /// The record of a sample before which `line` others came; `None` when it does not fit.
    pub(super) fn pack(&self, point: Point, line: u32) -> Option<u128> {
        let time = fold(point.time.wrapping_sub(self.due(line)));
        let used = point.cpu.checked_sub(self.base.cpu)?;
        let cpu = match self.in_micros {
            false => used,
            true if used.is_multiple_of(NANOS_PER_MICRO) => used / NANOS_PER_MICRO,
            true => return None,
        };
        let memory = fold(u64::from(point.memory).wrapping_sub(self.base.memory.into()));
        let fits = bits(time) <= self.time && bits(cpu) <= self.cpu && bits(memory) <= self.memory;
        let record =
            u128::from(time) | u128::from(cpu) << self.time | u128::from(memory) << (self.time + self.cpu);
        fits.then_some(record)
    }

    /// The sample that was packed.
    pub(super) fn unpack(&self, record: u128, line: u32) -> Point {
        let cpu = low(record >> self.time, self.cpu);
        let memory = unfold(low(record >> (self.time + self.cpu), self.memory));
        let used = if self.in_micros { cpu * NANOS_PER_MICRO } else { cpu };
        let memory = u64::from(self.base.memory).wrapping_add(memory);
        Point {
            time: self.unpack_time(record, line),
            cpu: self.base.cpu + used,
            // What was packed was one.
            memory: u32::try_from(memory).unwrap_or_default(),
        }
    }

    /// When the sample was taken that was packed.
    pub(super) fn unpack_time(&self, record: u128, line: u32) -> u64 {
        self.due(line).wrapping_add(unfold(low(record, self.time)))
    }

    /// When a sample is due before which `line` others came.
    fn due(&self, line: u32) -> u64 {
        self.base.time.wrapping_add(u64::from(line) * u64::from(self.pace))
    }

    /// How many samples come before the one nearest to `time`, if all come when they are due.
    pub(super) fn line(&self, time: u64) -> u64 {
        let pace = u64::from(self.pace.max(1));
        (time.saturating_sub(self.base.time) + pace / 2) / pace
    }

    /// Reads the record of a slot.
    pub(super) fn read(&self, bytes: &[u8], slot: usize) -> Option<u128> {
        let (at, shift) = self.place(slot);
        let word = bytes.get(at..at + WORD)?.try_into().ok()?;
        Some(u128::from_le_bytes(word) >> shift)
    }

    /// Writes the record of a slot; what lies beside it stays.
    pub(super) fn write(&self, bytes: &mut [u8], slot: usize, record: u128) {
        let (at, shift) = self.place(slot);
        let Some(place) = bytes.get_mut(at..at + WORD) else { return };
        let Ok(word) = <[u8; WORD]>::try_from(&*place) else { return };
        let own = ((1_u128 << self.width()) - 1) << shift;
        let word = u128::from_le_bytes(word) & !own | record << shift;
        place.copy_from_slice(&word.to_le_bytes());
    }

    /// The first byte of a slot's record.
    pub(super) fn first_byte(&self, slot: usize) -> usize {
        self.place(slot).0
    }

    /// The first byte of a slot's record, and where in it the record begins.
    fn place(&self, slot: usize) -> (usize, usize) {
        let bit = slot * self.width();
        (bit / 8, bit % 8)
    }
}

/// The middle of some values that may have wrapped, and how far they lie from it at most.
fn middle(mut values: impl Iterator<Item = u64>) -> Option<(u64, u64)> {
    let first = values.next()?;
    let (mut least, mut most) = (0, 0);
    for value in values {
        let from_first = value.wrapping_sub(first).cast_signed();
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
        Packing::at_pace(pace).fit(points, 2 * points.len())
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
        assert_eq!(
            width(&[(5_000_000, 0, 7), (6_000_000, 1_000_001, 7)]),
            21,
            "a millisecond of CPU time, v1"
        );
        assert_eq!(width(&[(5_000_000, 0, 7), (6_000_000, 1_001_000, 7)]), 11, "the same on v2");
        assert_eq!(width(&[(5_000_000, 9, 7), (6_000_000, 9, 27)]), 6, "80 KiB more");
    }

    #[test]
    fn what_lies_too_far_apart_fits_no_record() {
        let apart = |time, cpu| fit(&points(&[(1, 1, 0), (time, cpu, u32::MAX)]), 1_000_000).is_some();
        assert!(apart(1 << 36, 1 << 44));
        assert!(!apart(1 << 50, u64::MAX) && !apart(1 << 60, 1 << 40));
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        let packing = fit(&points(&[(1, 1, 1), (2, 3, 4)]), 1_000_000).unwrap();
        assert_eq!(packing.read(&[0; WORD - 1], 0), None);
        assert_eq!(packing.read(&[0; WORD], 9), None);
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
            let mut bytes = vec![0xa5; packing.size(all.len())];
            for (line, point) in (0..).zip(&all) {
                let record = packing.pack(*point, line);
                prop_assert!(record.is_some(), "{point:?} in {packing:?}");
                packing.write(&mut bytes, line as usize, record.unwrap());
            }
            for (line, point) in (0..).zip(&all) {
                let record = packing.read(&bytes, line as usize).unwrap();
                prop_assert_eq!(packing.unpack(record, line), *point);
            }
        }
    }
}
