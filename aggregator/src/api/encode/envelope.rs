//! The envelope around every Kubernetes protobuf body: four magic bytes, then `runtime.Unknown`, which names the
//! kind and holds the message itself.
//!
//! The message comes without `kind` and `apiVersion`. A body can be written in one go ([`envelope`]) or in three
//! parts: [`open`], the message in any number of pieces, [`TAIL`].
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>)

use super::wire::{field_len, write_bytes, write_header};

/// What every body begins with.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// What follows the message: content encoding (3) and content type (4), both empty, as Go writes them.
pub const TAIL: [u8; 4] = [0x1a, 0, 0x22, 0];

/// The media type of such a body.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A whole body around an encoded message.
#[must_use]
pub fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = open(api_version, kind, raw.len());
    out.extend_from_slice(raw);
    out.extend_from_slice(&TAIL);
    out
}

/// The beginning of a body whose message has `raw_len` bytes, with room for the rest.
#[must_use]
pub fn open(api_version: &str, kind: &str, raw_len: usize) -> Vec<u8> {
    let type_meta = field_len(api_version.len()) + field_len(kind.len());
    let total = MAGIC.len() + field_len(type_meta) + field_len(raw_len) + TAIL.len();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&MAGIC);
    write_header(&mut out, 1, type_meta);
    write_bytes(&mut out, 1, api_version.as_bytes());
    write_bytes(&mut out, 2, kind.as_bytes());
    write_header(&mut out, 2, raw_len);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c040_the_envelope_has_these_bytes() {
        let expected = [
            b"k8s\0".as_slice(),
            // 1: type meta of 12 bytes, with 1: "v1" and 2: "Status" and their headers of two bytes.
            b"\x0a\x0c\x0a\x02v1\x12\x06Status",
            // 2: the message.
            b"\x12\x03abc",
            // 3 and 4: empty.
            b"\x1a\x00\x22\x00",
        ];
        assert_eq!(envelope("v1", "Status", b"abc"), expected.concat());
    }

    #[test]
    fn a_long_message_has_a_long_length_and_nothing_is_reallocated() {
        let raw = vec![1; 300];
        let body = envelope("metrics.k8s.io/v1", "NodeMetricsList", &raw);
        assert_eq!(body.len(), body.capacity());
        assert!(body.windows(4).any(|bytes| bytes == [0x12, 0xac, 0x02, 1]));
    }
}
