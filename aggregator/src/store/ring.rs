//! One container's last samples, and the rule that admits a new one. Pure.
//!
//! Of a cluster's memory the rings are the largest part, so samples are kept packed (`packing.rs`): they take a sixth
//! of what whole ones would. The packing is made anew now and then, in one go for all samples of a ring, when it has come
//! round or a sample does not fit. `track.rs` is a ring of a node, `slab.rs` has the records of all of them, `sweeps.rs` what
//! they have in common; what is asked of a ring is in `samples.rs`.

mod packing;
mod samples;
mod slab;
mod sweeps;
mod track;

use std::time::Duration;

use kubevitals::sample::Sample;

pub use self::samples::Samples;
pub(super) use self::{slab::Slab, sweeps::Sweeps, track::Track};

/// The pace at which samples take the least memory, unless another is said: the agents' default tick.
const PACE: Duration = Duration::from_secs(1);

/// A ring by itself, of no node: of at most a fixed number of samples, ascending in time.
#[derive(Debug)]
pub struct Ring {
    track: Track,
    slab: Slab,
    sweeps: Sweeps,
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
        let mut sweeps = Sweeps::default();
        sweeps.keep(capacity, PACE);
        Self { track: Track::default(), slab: Slab::default(), sweeps }
    }

    /// Adds a sample if it follows the newest; the oldest makes room.
    pub fn push(&mut self, sample: Sample) -> Result<(), Refused> {
        let pushed = self.track.push(sample, &self.sweeps, &mut self.slab);
        self.slab.tidy(std::slice::from_mut(&mut self.track));
        pushed
    }
}

#[cfg(test)]
mod tests;
