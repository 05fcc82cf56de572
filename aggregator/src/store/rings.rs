//! The rings of a node, by slot.

use std::time::Duration;

use kubevitals::sample::{BootTime, Sample};

use super::{
    counters::Slot,
    ring::{Refused, Samples, Slab, Sweeps, Track},
};

/// Bytes of records a ring that are looked over, on average: about twice those of a minute of seconds.
const LOOKED_OVER: usize = 512;

/// The rings of a node; each slot has one, that of a free one is empty.
#[derive(Debug, Default)]
pub(super) struct Rings {
    tracks: Vec<Track>,
    slab: Slab,
    sweeps: Sweeps,
}

impl Rings {
    /// Makes room for exactly so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.tracks.reserve_exact(more);
    }

    /// Adds an empty one.
    pub(super) fn add(&mut self) {
        self.tracks.push(Track::default());
    }

    /// Lets go of the empty ones at other slots; those behind them move up.
    pub(super) fn keep_only(&mut self, is_kept: impl Fn(usize) -> bool) {
        let mut slots = 0..;
        self.tracks.retain(|_| slots.next().is_some_and(&is_kept));
        self.tracks.shrink_to_fit();
    }

    /// Empties one.
    pub(super) fn clear(&mut self, slot: Slot) {
        let Self { tracks, slab, .. } = self;
        if let Some(track) = tracks.get_mut(slot.index()) {
            track.clear(slab);
        }
    }

    /// Rings have room for so many samples from now on, at that pace.
    pub(super) fn keep(&mut self, samples: usize, pace: Duration) {
        self.sweeps.keep(samples, pace);
    }

    /// The samples of one.
    pub(super) fn samples(&self, slot: Slot) -> Option<Samples<'_>> {
        Some(Samples::new(self.tracks.get(slot.index())?, &self.slab, &self.sweeps))
    }

    /// Looks at all that storing a tick will need, as nothing of it is in the processor's caches by then. A look is so short
    /// that many begin before the first has come from memory, where each ring would wait for its own: storing a tick takes a
    /// third less with it. The number says nothing.
    pub(super) fn look_over(&self) -> u32 {
        let tracks = self.tracks.iter().fold(0, |sum, track| sum ^ track.look());
        // Records of many samples are on more lines than it takes to wait for the one of each ring that is needed.
        if self.slab.len() > self.tracks.len().saturating_mul(LOOKED_OVER) {
            return tracks;
        }
        tracks ^ self.slab.look_over()
    }

    /// Adds a sample to one.
    pub(super) fn push(&mut self, slot: Slot, sample: Sample) -> Result<(), Refused> {
        let Self { tracks, slab, sweeps } = self;
        tracks.get_mut(slot.index()).map_or(Ok(()), |track| track.push(sample, sweeps, slab))
    }

    /// A sweep of the node begins.
    pub(super) fn begin(&mut self, time: BootTime) {
        self.sweeps.begin(time);
    }

    /// One has no more samples for now.
    pub(super) fn settle(&mut self, slot: Slot) {
        let Self { tracks, slab, sweeps } = self;
        if let Some(track) = tracks.get_mut(slot.index()) {
            track.settle(sweeps, slab);
        }
    }

    /// Settles those that had no sample in this sweep.
    pub(super) fn settle_lagging(&mut self) {
        let Self { tracks, slab, sweeps } = self;
        tracks.iter_mut().filter(|track| track.lags(sweeps)).for_each(|track| track.settle(sweeps, slab));
    }

    /// Gives memory back that no ring has any more.
    pub(super) fn tidy(&mut self) {
        self.slab.tidy(&mut self.tracks);
    }
}
