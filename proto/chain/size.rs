//! Refuses what is small on the wire and large in memory, before it is decoded.
//!
//! An empty entry of a list takes 2 bytes in a message and 100 or more when decoded, so the limit on a message's bytes
//! does not bound what it takes. Lists are counted here; what they hold is checked after decoding.

use prost::{
    DecodeError,
    bytes::Buf as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::ChainError;
use crate::limits::{MAX_SERIES, SNAPSHOT_PART};

/// Most entries of all lists of a batch together: every series ended, as many announced, and a few columns.
const BATCH_ENTRIES: usize = 2 * MAX_SERIES + 256;

/// Most bytes of one entry or column of a batch: two columns of every series' longest varint.
const ENTRY_BYTES: u64 = 2 * 10 * (MAX_SERIES as u64);

/// The highest field numbers this version knows.
const BATCH_FIELDS: u32 = 11;
const SNAPSHOT_FIELDS: u32 = 5;

/// Checks an encoded batch; how many of its fields are of a newer peer.
pub(super) fn check_batch(encoded: &[u8]) -> Result<u64, ChainError> {
    check(encoded, BATCH_ENTRIES, BATCH_FIELDS)
}

/// Checks an encoded part of a snapshot; how many of its fields are of a newer peer.
pub(super) fn check_snapshot(encoded: &[u8]) -> Result<u64, ChainError> {
    check(encoded, SNAPSHOT_PART, SNAPSHOT_FIELDS)
}

fn check(mut encoded: &[u8], most: usize, known: u32) -> Result<u64, ChainError> {
    let undecodable = |error: DecodeError| ChainError::Undecodable(error.to_string());
    let (mut entries, mut unknown) = (0, 0);
    while encoded.has_remaining() {
        let (tag, kind) = decode_key(&mut encoded).map_err(undecodable)?;
        unknown += u64::from(tag > known);
        if kind != WireType::LengthDelimited {
            skip_field(kind, tag, &mut encoded, DecodeContext::default()).map_err(undecodable)?;
            continue;
        }
        entries += 1;
        if entries > most {
            return Err(ChainError::TooManySeries);
        }
        let length = decode_varint(&mut encoded).map_err(undecodable)?;
        if length > ENTRY_BYTES {
            return Err(ChainError::OutOfRange("length of a field"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > encoded.remaining() {
            return Err(ChainError::Undecodable("a field is cut off".to_owned()));
        }
        encoded.advance(length);
    }
    Ok(unknown)
}
