//! One container's last samples, and the rule that admits a new one. Pure.

use kubevitals::sample::{BootTime, CpuTime, Sample, WorkingSet};

/// A ring of a fixed number of samples, 16 bytes each, ascending in time.
///
/// A slot holds the low half of its time; the rest follows from the newest. That is why the ring never spans
/// more than 2^32 microseconds (71 minutes).
#[derive(Debug)]
pub struct Ring {
    slots: Box<[Slot]>,
    /// Index of the oldest.
    oldest: usize,
    len: usize,
    /// Time of the newest; 0 when empty.
    newest: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    time: u32,
    /// Units of 4 KiB.
    memory: u32,
    cpu: u64,
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
    /// Room for `capacity` samples, at least 2.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let slots = vec![Slot::default(); capacity.max(2)].into_boxed_slice();
        Self { slots, oldest: 0, len: 0, newest: 0 }
    }

    /// Adds a sample if it follows the newest; the oldest makes room.
    pub fn push(&mut self, sample: Sample) -> Result<(), Refused> {
        if let Some(newest) = self.newest() {
            if sample.time <= newest.time {
                return Err(Refused::NotLater);
            }
            if sample.cpu < newest.cpu {
                return Err(Refused::WentBack);
            }
        }
        while self.oldest().is_some_and(|oldest| sample.time.0 - oldest.time.0 > u64::from(u32::MAX)) {
            self.drop_oldest();
        }
        if self.len == self.slots.len() {
            self.drop_oldest();
        }
        let at = self.index(self.len);
        self.len += 1;
        self.newest = sample.time.0;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot =
                Slot { time: low_half(sample.time.0), memory: sample.working_set.units(), cpu: sample.cpu.0 };
        }
        Ok(())
    }

    /// Makes room for `capacity` samples, if there is less.
    pub fn grow(&mut self, capacity: usize) {
        if capacity <= self.slots.len() {
            return;
        }
        let mut larger = Self::new(capacity);
        for sample in (0..self.len).filter_map(|nth| self.get(nth)) {
            // They were admitted before, in this order.
            let _ = larger.push(sample);
        }
        *self = larger;
    }

    fn drop_oldest(&mut self) {
        self.oldest = self.index(1);
        self.len -= 1;
    }

    fn index(&self, nth: usize) -> usize {
        (self.oldest + nth) % self.slots.len()
    }

    /// How many samples are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<Sample> {
        self.get(self.len.checked_sub(1)?)
    }

    /// The oldest sample.
    #[must_use]
    pub fn oldest(&self) -> Option<Sample> {
        self.get(0)
    }

    /// The `nth` sample, 0 being the oldest.
    #[must_use]
    pub fn get(&self, nth: usize) -> Option<Sample> {
        if nth >= self.len {
            return None;
        }
        let slot = self.slots.get(self.index(nth))?;
        let back = low_half(self.newest).wrapping_sub(slot.time);
        Some(Sample {
            time: BootTime(self.newest - u64::from(back)),
            cpu: CpuTime(slot.cpu),
            working_set: WorkingSet::from_units(slot.memory),
        })
    }

    /// How many samples are not later than `time`.
    ///
    /// A list of everything asks this of every ring, and each slot looked at is a wait for memory. Samples come at a
    /// steady pace, so the place is guessed from the first and the last time and searched for from there.
    fn until(&self, time: BootTime) -> usize {
        let is_until = |nth| self.get(nth).is_some_and(|sample| sample.time <= time);
        let (Some(oldest), Some(newest)) = (self.oldest(), self.newest()) else { return 0 };
        if newest.time <= time {
            return self.len;
        }
        if oldest.time > time {
            return 0;
        }
        let (mut low, mut high) = (1, self.len - 1);
        let guess = low.max(place(time.0 - oldest.time.0, newest.time.0 - oldest.time.0, high)).min(high);
        let mut step = 1;
        if is_until(guess) {
            low = guess + 1;
            while low + step <= high {
                if !is_until(low + step - 1) {
                    high = low + step - 1;
                    break;
                }
                low += step;
                step *= 2;
            }
        } else {
            high = guess;
            while low + step <= high {
                if is_until(high - step) {
                    low = high - step + 1;
                    break;
                }
                high -= step;
                step *= 2;
            }
        }
        while low < high {
            let middle = low.midpoint(high);
            if is_until(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The newest sample that is not later than `time`.
    #[must_use]
    pub fn at_or_before(&self, time: BootTime) -> Option<Sample> {
        self.get(self.until(time).checked_sub(1)?)
    }

    /// The oldest sample that is not earlier than `time`.
    #[must_use]
    pub fn at_or_after(&self, time: BootTime) -> Option<Sample> {
        match self.at_or_before(time) {
            Some(sample) if sample.time == time => Some(sample),
            _ => self.get(self.until(time)),
        }
    }

    /// The sample nearest to `time`; of two equally near ones the earlier.
    #[must_use]
    pub fn nearest(&self, time: BootTime) -> Option<Sample> {
        let after = self.until(time);
        let earlier = after.checked_sub(1).and_then(|nth| self.get(nth));
        let later = self.get(after);
        match (earlier, later) {
            (Some(earlier), Some(later)) => {
                let back = time.0 - earlier.time.0;
                let ahead = later.time.0 - time.0;
                Some(if ahead < back { later } else { earlier })
            }
            (one, other) => one.or(other),
        }
    }
}

/// Where `part` of `whole` lies among `slots`, if all are as long.
fn place(part: u64, whole: u64, slots: usize) -> usize {
    let slots_before = u128::from(part) * slots as u128 / u128::from(whole.max(1));
    usize::try_from(slots_before).unwrap_or(slots)
}

/// The low 32 bits.
fn low_half(time: u64) -> u32 {
    (time & u64::from(u32::MAX)).try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn sample(time: u64, cpu: u64) -> Sample {
        Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set: WorkingSet::from_units(7) }
    }

    #[test]
    fn a_sample_that_does_not_follow_is_refused_and_changes_nothing() {
        let mut ring = Ring::new(4);
        ring.push(sample(10, 100)).unwrap();
        assert_eq!(ring.push(sample(10, 100)), Err(Refused::NotLater));
        assert_eq!(ring.push(sample(9, 200)), Err(Refused::NotLater));
        assert_eq!(ring.push(sample(11, 99)), Err(Refused::WentBack));
        assert_eq!((ring.len(), ring.newest()), (1, Some(sample(10, 100))));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut ring = Ring::new(3);
        for n in 1..=5 {
            ring.push(sample(n * 10, n)).unwrap();
        }
        assert_eq!((ring.oldest(), ring.newest()), (Some(sample(30, 3)), Some(sample(50, 5))));
    }

    #[test]
    fn a_ring_that_grows_keeps_what_it_holds() {
        let mut ring = Ring::new(2);
        for n in 1..=3 {
            ring.push(sample(n * 10, n)).unwrap();
        }
        ring.grow(4);
        ring.push(sample(40, 4)).unwrap();
        ring.push(sample(50, 5)).unwrap();
        assert_eq!((ring.len(), ring.oldest()), (4, Some(sample(20, 2))));
    }

    #[test]
    fn nearest_prefers_the_earlier_of_two() {
        let mut ring = Ring::new(8);
        for time in [10, 20, 30] {
            ring.push(sample(time, time)).unwrap();
        }
        let nearest = |time| ring.nearest(BootTime(time)).unwrap().time.0;
        assert_eq!([nearest(0), nearest(14), nearest(15), nearest(16), nearest(99)], [10, 10, 10, 20, 30]);
        assert_eq!(ring.at_or_before(BootTime(9)), None);
        assert_eq!(ring.at_or_after(BootTime(20)), Some(sample(20, 20)));
        assert_eq!(ring.at_or_after(BootTime(21)), Some(sample(30, 30)));
        assert_eq!(ring.at_or_after(BootTime(31)), None);
    }

    proptest! {
        #[test]
        fn behaves_like_a_queue(
            capacity in 2_usize..70,
            steps in proptest::collection::vec(
                (prop_oneof![1_u64..4, 900_000_u64..1_100_000, 1_u64..u64::from(u32::MAX) / 3], 0_u64..1 << 40),
                1..90,
            ),
            asked in any::<prop::sample::Index>(),
            beside in 0_u64..5,
        ) {
            let (mut ring, mut model) = (Ring::new(capacity), VecDeque::new());
            let (mut time, mut cpu) = (1 << 33, 0);
            for (later, more) in steps {
                time += later;
                cpu += more;
                ring.push(sample(time, cpu)).unwrap();
                model.push_back(sample(time, cpu));
                while model.len() > capacity || time - model[0].time.0 > u64::from(u32::MAX) {
                    model.pop_front();
                }
                prop_assert_eq!(ring.len(), model.len());
            }
            let held: Vec<Sample> = (0..ring.len()).filter_map(|nth| ring.get(nth)).collect();
            prop_assert_eq!(&held, &Vec::from(model.clone()));
            let at = BootTime(model[asked.index(model.len())].time.0 - 2 + beside);
            let before = model.iter().rev().find(|held| held.time <= at).copied();
            prop_assert_eq!(ring.at_or_before(at), before);
            prop_assert_eq!(ring.at_or_after(at), model.iter().find(|held| held.time >= at).copied());
            let by_distance = model.iter().min_by_key(|held| (held.time.0.abs_diff(at.0), held.time)).copied();
            prop_assert_eq!(ring.nearest(at), by_distance);
        }
    }
}
