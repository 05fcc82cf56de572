//! A sample as its difference from the one before, in few bytes that are read from their end. Pure.
//!
//! Most samples of most containers need four to seven bytes: the time beside the tick in one or two, the working set in
//! none or one, the CPU time in as many as its difference has, and one that tells these lengths. The one that tells comes
//! last, because readers begin with the newest sample: what they ask for is rarely older than a window.

use kubevitals::sample::{BootTime, CpuTime, Sample, WorkingSet};

/// Bytes that must lie before the first difference: each field is read as the end of a word of eight.
pub(super) const MARGIN: usize = 8;

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

/// What a sample adds to the one before. All arithmetic wraps, so that any two samples have a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delta {
    /// How far the time between the two is from the pace, microseconds, folded.
    time: u64,
    /// Nanoseconds, or microseconds if the shape says so.
    cpu: u64,
    /// Folded.
    memory: u32,
    shape: Shape,
}

/// How many bytes each field has: two bits for the time (1, 2, 4 or 8), two for the working set (0, 1, 2 or 4), three
/// for the CPU time (0 to 6, or 8), and one that says that this is in microseconds, as v2 counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape(u8);

const IN_MICROS: u8 = 0x80;
const NANOS_PER_MICRO: u64 = 1000;

impl Shape {
    fn new(time: u64, memory: u32, cpu: u64, in_micros: bool) -> Self {
        let time = match significant(time) {
            0 | 1 => 0,
            2 => 1,
            3 | 4 => 2,
            _ => 3,
        };
        let memory = significant(memory.into()).min(3);
        let cpu = significant(cpu).min(7);
        Self(time | memory << 2 | cpu << 4 | if in_micros { IN_MICROS } else { 0 })
    }

    fn time(self) -> usize {
        1 << (self.0 & 3)
    }

    fn memory(self) -> usize {
        let code = usize::from(self.0 >> 2 & 3);
        code + code / 3
    }

    fn cpu(self) -> usize {
        let code = usize::from(self.0 >> 4 & 7);
        code + code / 7
    }

    fn is_in_micros(self) -> bool {
        self.0 & IN_MICROS != 0
    }
}

/// Bytes up to the highest that is not zero.
fn significant(value: u64) -> u8 {
    let bits = u64::BITS - value.leading_zeros();
    u8::try_from(bits.div_ceil(8)).unwrap_or(8)
}

impl Delta {
    /// From `before` to `after`, if samples come every `pace` microseconds or so.
    pub(super) fn between(before: Point, after: Point, pace: u32) -> Self {
        let late = after.time.wrapping_sub(before.time).wrapping_sub(pace.into());
        // Folded: small values of either sign have few significant bytes.
        let time = late << 1 ^ (late.cast_signed() >> 63).cast_unsigned();
        let more = after.memory.wrapping_sub(before.memory);
        let memory = more << 1 ^ (more.cast_signed() >> 31).cast_unsigned();
        let nanos = after.cpu.wrapping_sub(before.cpu);
        let in_micros = nanos != 0 && nanos.is_multiple_of(NANOS_PER_MICRO);
        let cpu = if in_micros { nanos / NANOS_PER_MICRO } else { nanos };
        Self { time, cpu, memory, shape: Shape::new(time, memory, cpu, in_micros) }
    }

    /// The sample before `after`.
    pub(super) fn before(self, after: Point, pace: u32) -> Point {
        let late = self.time >> 1 ^ (self.time & 1).wrapping_neg();
        let more = self.memory >> 1 ^ (self.memory & 1).wrapping_neg();
        let nanos = if self.shape.is_in_micros() { self.cpu.wrapping_mul(NANOS_PER_MICRO) } else { self.cpu };
        Point {
            time: after.time.wrapping_sub(late).wrapping_sub(pace.into()),
            cpu: after.cpu.wrapping_sub(nanos),
            memory: after.memory.wrapping_sub(more),
        }
    }

    /// How many bytes it takes.
    pub(super) fn len(self) -> usize {
        length(self.shape)
    }

    /// Writes it behind what is there.
    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.cpu.to_le_bytes().into_iter().take(self.shape.cpu()));
        bytes.extend(self.memory.to_le_bytes().into_iter().take(self.shape.memory()));
        bytes.extend(self.time.to_le_bytes().into_iter().take(self.shape.time()));
        bytes.push(self.shape.0);
    }

    /// The one that ends before `end`, if there is one.
    pub(super) fn read(bytes: &[u8], end: usize) -> Option<Self> {
        let at = end.checked_sub(1)?;
        let shape = Shape(*bytes.get(at)?);
        let time = field(bytes, at, shape.time())?;
        let at = at - shape.time();
        let memory = field(bytes, at, shape.memory())?;
        let at = at - shape.memory();
        let cpu = field(bytes, at, shape.cpu())?;
        // At most four bytes.
        let memory = u32::try_from(memory).unwrap_or_default();
        Some(Self { time, cpu, memory, shape })
    }
}

/// How many bytes the difference before `end` takes; only its last one is looked at.
pub(super) fn length_before(bytes: &[u8], end: usize) -> Option<usize> {
    end.checked_sub(1).and_then(|at| bytes.get(at)).map(|&shape| length(Shape(shape)))
}

fn length(shape: Shape) -> usize {
    shape.time() + shape.memory() + shape.cpu() + 1
}

/// The number in the `length` bytes before `end`: the upper ones of a word, so that one load does for any length.
fn field(bytes: &[u8], end: usize, length: usize) -> Option<u64> {
    let word = bytes.get(end.checked_sub(8)?..end)?.try_into().ok()?;
    let unwanted = u32::try_from(64 - 8 * length).ok()?;
    // All 64 when there is no byte.
    Some(u64::from_le_bytes(word).checked_shr(unwanted).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(before: Point, after: Point, pace: u32) -> Vec<u8> {
        let mut bytes = vec![0; MARGIN];
        Delta::between(before, after, pace).write(&mut bytes);
        bytes
    }

    #[test]
    fn a_steady_sample_takes_few_bytes() {
        let before = Point { time: 5_000_000, cpu: 7_000_000_000, memory: 40_000 };
        let size = |time, cpu, memory| {
            let after =
                Point { time: before.time + time, cpu: before.cpu + cpu, memory: before.memory + memory };
            written(before, after, 1_000_000).len() - MARGIN
        };
        assert_eq!(size(1_000_060, 0, 0), 2, "idle");
        assert_eq!(size(1_000_060, 2_345_678, 0), 5, "2 thousandths of a core on v1");
        assert_eq!(size(1_004_000, 2_345_678, 3), 7, "late, and it took memory");
        assert_eq!(size(1_000_060, 2_345_000, 0), 4, "2 thousandths of a core on v2");
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        for length in 0..MARGIN {
            assert_eq!(Delta::read(&vec![0xff; length], length), None);
        }
        assert_eq!(Delta::read(&[0; 16], 17), None);
        assert_eq!(length_before(&[], 0), None);
    }

    fn point() -> impl Strategy<Value = Point> {
        (any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(time, cpu, memory)| Point { time, cpu, memory })
    }

    /// Differences of all sizes, not only large ones.
    fn near(point: Point) -> impl Strategy<Value = Point> {
        (any::<u64>(), 0_u32..64, any::<u64>(), 0_u32..64, any::<i32>(), 0_u32..32).prop_map(
            move |(time, less, cpu, fewer, memory, smaller)| Point {
                time: point.time.wrapping_add(time >> less),
                cpu: point.cpu.wrapping_add(cpu >> fewer),
                memory: point.memory.wrapping_add_signed(memory >> smaller),
            },
        )
    }

    proptest! {
        #[test]
        fn any_two_samples_are_read_as_written(
            (before, after) in point().prop_flat_map(|before| (Just(before), near(before))),
            pace in any::<u32>(), in_micros in any::<bool>(),
        ) {
            let cpu = if in_micros { before.cpu.wrapping_add(after.cpu.wrapping_sub(before.cpu) / 1000 * 1000) } else { after.cpu };
            let after = Point { cpu, ..after };
            let bytes = written(before, after, pace);
            let delta = Delta::read(&bytes, bytes.len()).unwrap();
            prop_assert_eq!(delta.before(after, pace), before);
            prop_assert_eq!(Some(delta.len()), length_before(&bytes, bytes.len()));
            prop_assert_eq!(delta.len(), bytes.len() - MARGIN);
        }
    }
}
