//! A ring by itself, of no node: for tests of what is made of samples.

use std::time::Duration;

use kubevitals::sample::Sample;

use super::{Refused, Samples, Slab, Sweeps, Track};

/// The agents' default tick.
pub(super) const PACE: Duration = Duration::from_secs(1);

/// A ring of at most a fixed number of samples, ascending in time.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(super) track: Track,
    pub(super) slab: Slab,
    pub(super) sweeps: Sweeps,
}

impl Ring {
    /// Room for `capacity` samples, at least 2 and at most 65,535.
    pub(crate) fn new(capacity: usize) -> Self {
        let mut sweeps = Sweeps::default();
        sweeps.keep(capacity, PACE);
        Self { track: Track::default(), slab: Slab::default(), sweeps }
    }

    /// Adds a sample if it follows the newest; the oldest makes room.
    pub(crate) fn push(&mut self, sample: Sample) -> Result<(), Refused> {
        let pushed = self.track.push(sample, &self.sweeps, &mut self.slab);
        self.slab.tidy(std::slice::from_mut(&mut self.track));
        pushed
    }
}

impl<'a> From<&'a Ring> for Samples<'a> {
    fn from(ring: &'a Ring) -> Self {
        Self::new(&ring.track, &ring.slab, &ring.sweeps)
    }
}
