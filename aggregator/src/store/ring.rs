//! One container's last samples, and the rule that admits a new one. Pure.
//!
//! Of a cluster's memory the rings are the largest part, so samples are kept packed (`packing.rs`): they take a fifth
//! of what whole ones would. The packing is made anew now and then, in one go for all samples of a ring, when it has come
//! round or a sample does not fit. `track.rs` is a ring of a node, `slab.rs` has the records of all of them, `sweeps.rs` what
//! they have in common; what is asked of a ring is in `samples.rs`.

#[cfg(test)]
mod alone;
mod packing;
mod samples;
mod slab;
mod sweeps;
mod track;

#[cfg(test)]
pub(crate) use self::alone::Ring;
pub use self::samples::Samples;
pub(super) use self::{slab::Slab, sweeps::Sweeps, track::Track};

/// Why a sample is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is not later than the newest: what was served must never go back in time.
    NotLater,
    /// Its CPU counter is lower than the newest: it belongs to another counter.
    WentBack,
}

#[cfg(test)]
mod tests;
