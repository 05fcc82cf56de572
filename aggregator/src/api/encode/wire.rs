//! The protobuf wire format, as far as it is written here: variable-length integers and fields with a length.
//!
//! Lengths are computed before anything is written, because a nested message stands after its length. No message
//! is built first. (<https://protobuf.dev/programming-guides/encoding/>)

/// The tag of a field that holds a length and as many bytes. Numbers stay below 16, so that a tag is one byte.
pub(crate) const fn bytes_tag(number: u8) -> u8 {
    number << 3 | 2
}

/// Appends an integer in groups of seven bits, lowest first.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// How many bytes [`write_varint`] appends.
pub(crate) const fn varint_len(value: u64) -> usize {
    // One byte for each seven bits begun, at least one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends tag and length of a field whose `length` bytes follow.
pub(crate) fn write_header(out: &mut Vec<u8>, number: u8, length: usize) {
    out.push(bytes_tag(number));
    write_varint(out, length as u64);
}

/// The length of a field with `length` bytes, tag included.
pub(crate) const fn field_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

/// Appends a field with this integer. Negative ones are given as their 64-bit two's complement.
pub(crate) fn write_integer(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3);
    write_varint(out, value);
}

/// The length of a field with this integer, tag included.
pub(crate) const fn integer_len(value: u64) -> usize {
    1 + varint_len(value)
}

/// Appends a field with these bytes.
pub(crate) fn write_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    write_header(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_have_the_bytes_of_the_specification() {
        let bytes = |value| {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            out
        };
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [0x7f]);
        assert_eq!(bytes(150), [0x96, 0x01]);
        assert_eq!(bytes(u64::MAX), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    proptest! {
        #[test]
        fn computed_lengths_are_those_written(value in any::<u64>(), shift in 0..64_u32, length in 0..70_000_usize) {
            let value = value >> shift;
            let mut out = Vec::new();
            write_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(prost::encoding::decode_varint(&mut out.as_slice()), Ok(value));
            out.clear();
            write_bytes(&mut out, 3, &vec![7; length]);
            prop_assert_eq!(out.len(), field_len(length));
        }
    }
}
