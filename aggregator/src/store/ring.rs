//! One container's last samples, and the rule that admits a new one. Pure.
//!
//! Samples are kept as differences (`delta.rs`): of a cluster's memory the rings are the largest part, and whole samples
//! would take three times as much. The newest is kept whole and the others are found by going back from it. So what is
//! read costs by how far it lies back, and that is a window: some 20 steps of a few nanoseconds within two or three lines
//! of the processor's cache, where a search over whole samples waits for memory at each place it looks at.

mod delta;

use std::time::Duration;

use kubevitals::sample::{BootTime, Sample};

use self::delta::{Delta, MARGIN, Point, length_before};

/// The time between samples that takes the fewest bytes, unless another is said: the agents' default tick.
const PACE: Duration = Duration::from_secs(1);

/// With fewer samples than this nothing can be said of how much memory the rest will take.
const FEW: usize = 8;

/// Room for so many samples of usual size, for a ring that has few.
const ROOM_FOR_FEW: usize = FEW * 8;

/// A ring of at most a fixed number of samples, ascending in time.
#[derive(Debug, Default)]
pub struct Ring {
    /// A margin, differences of samples that have left the ring, and those of the samples that are in it, oldest first.
    bytes: Vec<u8>,
    newest: Point,
    /// Microseconds.
    pace: u32,
    /// At least 2.
    capacity: u32,
    len: u32,
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
        Self::at_pace(capacity, PACE)
    }

    /// Room for `capacity` samples, at least 2, that come every `pace` or so. Others are admitted as well, and take more
    /// memory.
    #[must_use]
    pub fn at_pace(capacity: usize, pace: Duration) -> Self {
        Self { capacity: count(capacity.max(2)), pace: micros(pace), ..Self::default() }
    }

    /// Adds a sample if it follows the newest; the oldest makes room.
    pub fn push(&mut self, sample: Sample) -> Result<(), Refused> {
        let point = Point::from(sample);
        if self.len > 0 {
            if point.time <= self.newest.time {
                return Err(Refused::NotLater);
            }
            if point.cpu < self.newest.cpu {
                return Err(Refused::WentBack);
            }
            let delta = Delta::between(self.newest, point, self.pace);
            if self.bytes.capacity() - self.bytes.len() < delta.len() {
                self.make_room(delta.len());
            }
            delta.write(&mut self.bytes);
        }
        self.newest = point;
        self.len = (self.len + 1).min(self.capacity);
        Ok(())
    }

    /// Makes room for `capacity` samples, if there is less, that come every `pace` or so from now on.
    pub fn grow(&mut self, capacity: usize, pace: Duration) {
        self.capacity = self.capacity.max(count(capacity));
        if self.pace == micros(pace) {
            return;
        }
        let held: Vec<Sample> = self.iter().collect();
        let mut other = Self { capacity: self.capacity, pace: micros(pace), ..Self::default() };
        for sample in held.into_iter().rev() {
            // They were admitted before, in this order.
            let _ = other.push(sample);
        }
        *self = other;
    }

    /// Makes room for a difference of `needed` bytes: lets go of those of samples that have left the ring, and takes as
    /// much memory as the whole ring will need if the other samples are like those it has.
    ///
    /// That way a ring gets its memory once, and gives some back when its container has become quiet.
    fn make_room(&mut self, needed: usize) {
        // The sample to come brings a difference, and the oldest has none.
        let (capacity, len) = (index(self.capacity), index(self.len));
        let differences = (len - 1).min(capacity - 2);
        let begin = self.begin(differences);
        let live = self.bytes.len() - begin + needed;
        // At the least so much beyond it that the way to here is not gone at every sample.
        let slack = live / 8 + 8;
        let whole = if differences < FEW.min(capacity - 2) {
            live + ROOM_FOR_FEW
        } else {
            live * (capacity - 1) / (differences + 1)
        };
        let wanted = MARGIN + whole + slack;
        let held = self.bytes.capacity();
        if held >= MARGIN + live + slack / 2 && held <= wanted + wanted / 2 {
            self.bytes.drain(MARGIN..begin.max(MARGIN));
            return;
        }
        let mut bytes = Vec::with_capacity(wanted);
        bytes.resize(MARGIN, 0);
        bytes.extend_from_slice(self.bytes.get(begin..).unwrap_or_default());
        self.bytes = bytes;
    }

    /// Where the last `differences` begin.
    fn begin(&self, differences: usize) -> usize {
        let mut at = self.bytes.len();
        for _ in 0..differences {
            at -= length_before(&self.bytes, at).unwrap_or(0);
        }
        at
    }

    /// How many samples are held.
    #[must_use]
    pub fn len(&self) -> usize {
        index(self.len)
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The samples, newest first.
    #[must_use]
    pub fn iter(&self) -> Back<'_> {
        Back { ring: self, end: self.bytes.len(), next: self.newest, left: self.len }
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<Sample> {
        self.iter().next()
    }

    /// The oldest sample; found by going all the way.
    #[must_use]
    pub fn oldest(&self) -> Option<Sample> {
        self.iter().last()
    }

    /// The `nth` sample, 0 being the oldest; found by going back to it. Whoever wants all of them takes
    /// [`iter`](Self::iter).
    #[must_use]
    pub fn get(&self, nth: usize) -> Option<Sample> {
        self.iter().nth(self.len().checked_sub(nth + 1)?)
    }

    /// The newest sample that is not later than `time`.
    #[must_use]
    pub fn at_or_before(&self, time: BootTime) -> Option<Sample> {
        self.iter().find(|sample| sample.time <= time)
    }

    /// The oldest sample that is not earlier than `time`.
    #[must_use]
    pub fn at_or_after(&self, time: BootTime) -> Option<Sample> {
        self.iter().take_while(|sample| sample.time >= time).last()
    }

    /// The sample nearest to `time`; of two equally near ones the earlier.
    #[must_use]
    pub fn nearest(&self, time: BootTime) -> Option<Sample> {
        let mut later = None;
        for sample in self.iter() {
            if sample.time > time {
                later = Some(sample);
                continue;
            }
            let back = time.0 - sample.time.0;
            return later.filter(|later: &Sample| later.time.0 - time.0 < back).or(Some(sample));
        }
        later
    }
}

impl<'a> IntoIterator for &'a Ring {
    type Item = Sample;
    type IntoIter = Back<'a>;

    fn into_iter(self) -> Back<'a> {
        self.iter()
    }
}

/// Goes back from a ring's newest sample.
#[derive(Debug, Clone)]
pub struct Back<'a> {
    ring: &'a Ring,
    /// Where the difference between `next` and the one before ends.
    end: usize,
    next: Point,
    left: u32,
}

impl Iterator for Back<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        self.left = self.left.checked_sub(1)?;
        let sample = self.next;
        if let Some(delta) = Delta::read(&self.ring.bytes, self.end).filter(|_| self.left > 0) {
            self.end -= delta.len();
            self.next = delta.before(sample, self.ring.pace);
        }
        Some(sample.into())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (index(self.left), Some(index(self.left)))
    }
}

impl ExactSizeIterator for Back<'_> {}

fn count(samples: usize) -> u32 {
    u32::try_from(samples).unwrap_or(u32::MAX)
}

fn index(samples: u32) -> usize {
    usize::try_from(samples).unwrap_or(usize::MAX)
}

fn micros(pace: Duration) -> u32 {
    u32::try_from(pace.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
