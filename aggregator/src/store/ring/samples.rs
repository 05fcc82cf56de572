//! What is asked of a ring.

use std::time::Duration;

use kubevitals::sample::{BootTime, Sample};

use super::{Slab, Sweeps, Track};

/// The samples of a ring, to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    track: &'a Track,
    /// Where its records are.
    slab: &'a Slab,
    /// Of the node whose ring it is.
    sweeps: &'a Sweeps,
}

impl<'a> Samples<'a> {
    /// Of a ring of the node whose slab and sweeps these are.
    #[must_use]
    pub(in crate::store) fn new(track: &'a Track, slab: &'a Slab, sweeps: &'a Sweeps) -> Self {
        Self { track, slab, sweeps }
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.track.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// All, oldest first.
    #[must_use]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Sample> + use<'a> {
        (0..self.len()).filter_map(move |nth| self.get(nth))
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(self) -> Option<Sample> {
        (!self.is_empty()).then(|| self.track.newest().into())
    }

    /// The oldest sample.
    #[must_use]
    pub fn oldest(self) -> Option<Sample> {
        self.get(0)
    }

    /// The `nth` sample, 0 being the oldest.
    #[must_use]
    pub fn get(self, nth: usize) -> Option<Sample> {
        self.track.point(nth, self.slab, self.sweeps).map(Sample::from)
    }

    /// Looks at the sample that was taken so long before the newest. The number says nothing.
    pub(in crate::store) fn look_back(self, window: Duration) -> u64 {
        let length = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let nth = self.guess(self.track.newest().time.saturating_sub(length));
        self.track.time(nth, self.slab, self.sweeps).unwrap_or_default()
    }

    /// Which sample is the nearest to `time`, if all came when they were due.
    fn guess(self, time: u64) -> usize {
        let held = u64::try_from(self.len()).unwrap_or(u64::MAX);
        let guess = self.track.packing().line(time, self.sweeps).saturating_sub(self.track.gone());
        usize::try_from(guess.min(held.saturating_sub(1))).unwrap_or(usize::MAX)
    }

    /// Which sample is the nearest to `time`, of two equally near ones the earlier; 0 when there is none.
    ///
    /// A list of everything asks this of every ring, and each place looked at may be a wait for memory. Samples come
    /// at a steady pace, so the first guess is right but for a step or two, and its neighbours lie beside it.
    fn place(self, time: BootTime) -> usize {
        let distance = |nth| self.track.time(nth, self.slab, self.sweeps).map(|held| held.abs_diff(time.0));
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
    pub fn at_or_before(self, time: BootTime) -> Option<Sample> {
        if self.track.newest().time <= time.0 {
            return self.newest();
        }
        let near = self.place(time);
        self.get(near).filter(|sample| sample.time <= time).or_else(|| self.get(near.checked_sub(1)?))
    }

    /// The oldest sample that is not earlier than `time`.
    #[must_use]
    pub fn at_or_after(self, time: BootTime) -> Option<Sample> {
        let near = self.place(time);
        self.get(near).filter(|sample| sample.time >= time).or_else(|| self.get(near + 1))
    }

    /// The sample nearest to `time`; of two equally near ones the earlier.
    #[must_use]
    pub fn nearest(self, time: BootTime) -> Option<Sample> {
        self.get(self.place(time))
    }
}
