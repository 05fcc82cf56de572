//! The chain of batches: [`Encoder`] turns each tick's samples into one encoded batch, [`Decoder`] turns batches
//! back into samples and is the only place where a peer's numbers are checked.
//!
//! Both are pure: no clock, no socket. What the chain promises is in `ingest.proto`. A decoder that met an error
//! is of no further use; the stream ends and starts again with a snapshot.

mod checkpoint;
mod decode;
mod encode;
mod kept;
mod live;
mod numbers;
mod parts;
mod size;
mod slabs;
mod snapshot;
#[cfg(test)]
mod tests;

pub use crate::announce::{Announcement, EndReason, Farewell, Omission, OmissionReason};
pub use checkpoint::Checkpoint;
pub use decode::{Buffers, Decoder, Tick, Unknown};
pub use encode::Encoder;

use crate::{
    sample::{Detail, InvalidName, SeriesId},
    wire,
};

/// A message that breaks the contract; the text names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not a protobuf message at all.
    #[error("batch is not decodable: {0}")]
    Undecodable(String),
    /// A required field has no value.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A number outside what the field can mean.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A batch that does not follow the one before.
    #[error("sequence is {got}, expected {expected}")]
    Sequence {
        /// What came.
        got: u64,
        /// What would have followed.
        expected: u64,
    },
    /// A time that is not later than the one before.
    #[error("{field} is {got} us, not after {before} us")]
    NotLater {
        /// Which time.
        field: &'static str,
        /// What came.
        got: u64,
        /// The one before.
        before: u64,
    },
    /// Series numbers that do not ascend, or were used before.
    #[error("{field} has series {series:?} out of order")]
    Order {
        /// Where.
        field: &'static str,
        /// Which.
        series: SeriesId,
    },
    /// A series that was never announced or has ended.
    #[error("{field} names unknown series {series:?}")]
    UnknownSeries {
        /// Where.
        field: &'static str,
        /// Which.
        series: SeriesId,
    },
    /// A column of the wrong length.
    #[error("{field} has {got} entries, expected {expected}")]
    Length {
        /// Which column.
        field: &'static str,
        /// Its length.
        got: usize,
        /// The number of live series less those skipped.
        expected: usize,
    },
    /// Something that may stand there once.
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    /// More live series than the limit.
    #[error("more than {} live series", crate::limits::MAX_SERIES)]
    TooManySeries,
    /// A name that cannot be one.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

/// The wire's number of a detail.
fn detail_to_wire(detail: Detail) -> wire::DetailField {
    match detail {
        Detail::MemoryUsage => wire::DetailField::MemoryUsageBytes,
        Detail::Anon => wire::DetailField::AnonBytes,
        Detail::File => wire::DetailField::FileBytes,
        Detail::InactiveFile => wire::DetailField::InactiveFileBytes,
        Detail::Swap => wire::DetailField::SwapBytes,
        Detail::MemoryPeak => wire::DetailField::MemoryPeakBytes,
        Detail::OomKills => wire::DetailField::OomKills,
        Detail::CpuPeriods => wire::DetailField::CpuPeriods,
        Detail::CpuThrottledPeriods => wire::DetailField::CpuThrottledPeriods,
        Detail::CpuThrottled => wire::DetailField::CpuThrottledNs,
        Detail::CpuPressureSome => wire::DetailField::CpuPressureSomeUs,
        Detail::CpuPressureFull => wire::DetailField::CpuPressureFullUs,
        Detail::MemoryPressureSome => wire::DetailField::MemoryPressureSomeUs,
        Detail::MemoryPressureFull => wire::DetailField::MemoryPressureFullUs,
        Detail::IoPressureSome => wire::DetailField::IoPressureSomeUs,
        Detail::IoPressureFull => wire::DetailField::IoPressureFullUs,
    }
}

/// The detail, or `None` for a number of a newer peer.
fn detail_from_wire(number: i32) -> Option<Detail> {
    Detail::ALL.iter().copied().find(|&detail| i32::from(detail_to_wire(detail)) == number)
}
