//! Goes over the fields of a message, and refuses what is small on the wire and large in memory before it is decoded.
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

/// How much of a message is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most entries of all its lists together.
    entries: usize,
    /// Most bytes of one entry or column.
    bytes: u64,
}

/// Most bytes of one entry or column of a batch: two columns of every series' longest varint.
const ENTRY_BYTES: u64 = 2 * 10 * (MAX_SERIES as u64);

/// Of a batch: every series ended, as many announced, and a few columns.
pub(super) const BATCH: Limits = Limits { entries: 2 * MAX_SERIES + 256, bytes: ENTRY_BYTES };

const SNAPSHOT: Limits = Limits { entries: SNAPSHOT_PART, bytes: ENTRY_BYTES };

/// Of what is within limits already.
pub(super) const NONE: Limits = Limits { entries: usize::MAX, bytes: u64::MAX };

/// The highest field number of a snapshot that this version knows.
const SNAPSHOT_FIELDS: u32 = 5;

/// A field of an encoded message.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) tag: u32,
    pub(super) kind: WireType,
    /// Without tag and length.
    pub(super) content: &'a [u8],
    /// With them.
    pub(super) whole: &'a [u8],
}

/// Checks an encoded part of a snapshot; how many of its fields are of a newer peer.
pub(super) fn check_snapshot(encoded: &[u8]) -> Result<u64, ChainError> {
    let mut unknown = 0;
    walk(encoded, SNAPSHOT, |field| {
        unknown += u64::from(field.tag > SNAPSHOT_FIELDS);
        Ok(())
    })?;
    Ok(unknown)
}

/// Gives each field of an encoded message.
pub(super) fn walk<'a>(
    mut encoded: &'a [u8],
    limits: Limits,
    mut take: impl FnMut(Field<'a>) -> Result<(), ChainError>,
) -> Result<(), ChainError> {
    let mut entries = 0;
    while !encoded.is_empty() {
        let begin = encoded;
        let (tag, kind) = decode_key(&mut encoded).map_err(undecodable)?;
        let content = if kind == WireType::LengthDelimited {
            entries += 1;
            if entries > limits.entries {
                return Err(ChainError::TooManySeries);
            }
            entry(&mut encoded, limits)?
        } else {
            let content = encoded;
            skip_field(kind, tag, &mut encoded, DecodeContext::default()).map_err(undecodable)?;
            before(content, encoded)
        };
        take(Field { tag, kind, content, whole: before(begin, encoded) })?;
    }
    Ok(())
}

fn entry<'a>(encoded: &mut &'a [u8], limits: Limits) -> Result<&'a [u8], ChainError> {
    let length = decode_varint(encoded).map_err(undecodable)?;
    if length > limits.bytes {
        return Err(ChainError::OutOfRange("length of a field"));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some(content) = encoded.get(..length) else {
        return Err(ChainError::Undecodable("a field is cut off".to_owned()));
    };
    encoded.advance(length);
    Ok(content)
}

/// What of the bytes lies before their end `rest`.
fn before<'a>(bytes: &'a [u8], rest: &[u8]) -> &'a [u8] {
    bytes.get(..bytes.len().saturating_sub(rest.len())).unwrap_or_default()
}

/// That something is no message.
#[expect(clippy::needless_pass_by_value, reason = "errors are mapped with it")]
pub(super) fn undecodable(error: DecodeError) -> ChainError {
    ChainError::Undecodable(error.to_string())
}
