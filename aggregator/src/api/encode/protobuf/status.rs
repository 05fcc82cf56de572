//! `Status` as a protobuf message. Errors are small and rare, so nested messages are simply built first.

use super::LIST_META;
use crate::api::{
    encode::wire::{write_bytes, write_integer},
    status::{Cause, Details, Status},
};

/// The message, for the envelope.
#[must_use]
pub fn message(status: &Status) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write_bytes(&mut out, 1, &LIST_META);
    write_bytes(&mut out, 2, status.outcome.as_bytes());
    write_bytes(&mut out, 3, status.message.as_bytes());
    write_bytes(&mut out, 4, status.reason.as_bytes());
    if let Some(details) = &status.details {
        write_bytes(&mut out, 5, &message_of_details(details));
    }
    write_integer(&mut out, 6, u64::from(status.code));
    out
}

fn message_of_details(details: &Details) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, 1, details.name.as_bytes());
    write_bytes(&mut out, 2, details.group.as_bytes());
    write_bytes(&mut out, 3, details.kind.as_bytes());
    for cause in &details.causes {
        write_bytes(&mut out, 4, &message_of_cause(cause));
    }
    // After how many seconds to try again, and the object's uid: both unknown.
    write_integer(&mut out, 5, 0);
    write_bytes(&mut out, 6, &[]);
    out
}

fn message_of_cause(cause: &Cause) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, 1, cause.reason.unwrap_or_default().as_bytes());
    write_bytes(&mut out, 2, cause.message.as_bytes());
    write_bytes(&mut out, 3, cause.field.unwrap_or_default().as_bytes());
    out
}
