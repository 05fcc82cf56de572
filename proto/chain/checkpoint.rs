//! The state of a chain after one of its batches, as the encoder knows it: what a snapshot is made of later.

use std::sync::Arc;

use super::{Announcement, ChainError, Decoder, detail_to_wire};
use crate::{
    sample::{BootTime, Details, Sample, SeriesId, WallTime},
    wire,
};

/// All that a reader of the chain knows after one of its batches.
#[derive(Debug, Default)]
pub struct Checkpoint {
    pub(super) sequence: u64,
    pub(super) time: BootTime,
    pub(super) wall: WallTime,
    /// Live series, ascending; a batch's columns follow this order.
    pub(super) live: Vec<Live>,
}

/// One live series. Its number stands beside its announcement, so that a series without news costs no second look.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) id: SeriesId,
    pub(super) announcement: Arc<Announcement>,
    /// What was sent last, or the announced first reading.
    pub(super) last: Option<Sample>,
    pub(super) details: Details,
}

/// By hand for the memory that is used again: a derived one allocates anew.
impl Clone for Checkpoint {
    fn clone(&self) -> Self {
        let Self { sequence, time, wall, ref live } = *self;
        Self { sequence, time, wall, live: live.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        (self.sequence, self.time, self.wall) = (source.sequence, source.time, source.wall);
        self.live.clone_from(&source.live);
    }
}

impl Checkpoint {
    /// The number of the last batch before it; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When that batch's sweep began.
    #[must_use]
    pub fn time(&self) -> BootTime {
        self.time
    }

    /// A reader that has read so far. An error says that the chain is broken.
    pub fn decoder(&self) -> Result<Decoder, ChainError> {
        let mut decoder = Decoder::new();
        decoder.snapshot(&wire::Snapshot {
            sequence: self.sequence,
            time_us: self.time.0,
            wall_us: self.wall.0,
            series: self.live.iter().map(Live::state).collect(),
            more: false,
        })?;
        Ok(decoder)
    }
}

impl Live {
    fn state(&self) -> wire::SeriesState {
        let details = self.details.iter();
        let details =
            details.map(|(detail, value)| wire::DetailValue { field: detail_to_wire(detail).into(), value });
        wire::SeriesState {
            announcement: Some(self.announcement.as_ref().into()),
            last: self.last.map(|last| wire::LastSample {
                time_us: last.time.0,
                cpu_ns: last.cpu.0,
                working_set_4k: last.working_set.units().into(),
            }),
            details: details.collect(),
        }
    }
}
