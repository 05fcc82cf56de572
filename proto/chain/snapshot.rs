//! A chain's state as a message, and back.

use prost::Message as _;

use super::{Announcement, ChainError, Decoder, detail_from_wire, detail_to_wire, size::check_snapshot};
use crate::{
    announce::sample,
    limits::MAX_SERIES,
    sample::{BootTime, Details, Sample, WallTime},
    wire,
};

/// Series of a part as we make it: some 4 KiB, so that who reads it takes little memory for it;
/// [`limits::SNAPSHOT_PART`](crate::limits) is what may come.
const PART: usize = 24;

impl Decoder {
    /// Adds one encoded part of a snapshot to a new decoder; true when another part must follow.
    pub fn encoded_snapshot(&mut self, encoded: &[u8]) -> Result<bool, ChainError> {
        self.unknown.fields += check_snapshot(encoded)?;
        let part =
            wire::Snapshot::decode(encoded).map_err(|error| ChainError::Undecodable(error.to_string()))?;
        self.snapshot(&part)
    }

    /// Adds one part of a snapshot to a new decoder; true when another part must follow.
    pub fn snapshot(&mut self, part: &wire::Snapshot) -> Result<bool, ChainError> {
        if self.is_partial {
            let same = (part.time_us, part.wall_us) == (self.time.0, self.wall.0);
            if part.sequence != self.sequence || !same {
                return Err(ChainError::Sequence { got: part.sequence, expected: self.sequence });
            }
        }
        self.is_partial = part.more;
        self.sequence = part.sequence;
        self.time = BootTime(part.time_us);
        self.wall = WallTime(part.wall_us);
        if self.live.len() + part.series.len() > MAX_SERIES {
            return Err(ChainError::TooManySeries);
        }
        self.live.reserve(part.series.len());
        for state in &part.series {
            let missing = || ChainError::Missing("snapshot.series.announcement");
            let announcement = state.announcement.as_ref().ok_or_else(missing)?;
            let announcement = announcement.try_into()?;
            let last = state.last.as_ref();
            let last = last.map(|last| sample(last.time_us, last.cpu_ns, last.working_set_4k)).transpose()?;
            let mut details = Details::default();
            for value in &state.details {
                match detail_from_wire(value.field) {
                    Some(detail) => details.set(detail, Some(value.value)),
                    None => self.unknown.details += 1,
                }
            }
            self.add(&announcement, last, &details)?;
        }
        Ok(part.more)
    }

    /// This state as the parts of a snapshot; at least one.
    pub fn to_snapshot(&self) -> impl Iterator<Item = wire::Snapshot> + '_ {
        let parts = self.live.len().div_ceil(PART).max(1);
        let mut live = self.live.iter();
        (1..=parts).map(move |part| wire::Snapshot {
            sequence: self.sequence,
            time_us: self.time.0,
            wall_us: self.wall.0,
            series: live.by_ref().take(PART).map(state).collect(),
            more: part < parts,
        })
    }
}

fn state((announcement, last, details): (Announcement, Option<Sample>, Details)) -> wire::SeriesState {
    wire::SeriesState {
        announcement: Some((&announcement).into()),
        last: last.map(|sample| wire::LastSample {
            time_us: sample.time.0,
            cpu_ns: sample.cpu.0,
            working_set_4k: sample.working_set.units().into(),
        }),
        details: details
            .iter()
            .map(|(detail, value)| wire::DetailValue { field: detail_to_wire(detail).into(), value })
            .collect(),
    }
}
