//! Details as they are kept for every series of every node: in as few bytes as they need.
//!
//! Most series have a few of them, and most of those are small or whole pages: four take some 12 bytes where an array
//! of all takes 136. They are unpacked to be looked at and packed again to be changed.

use std::fmt;

use super::{Detail, Details};
use crate::limits::MEMORY_UNIT;

/// Bytes kept without a block of memory of their own.
const SHORT: usize = 22;

/// Most bytes: which are there, then each as a number of 65 bits.
pub(crate) const LONGEST: usize = 2 + 10 * super::DETAILS;

/// The details of one subject, packed.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedDetails(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

const _: () = assert!(size_of::<PackedDetails>() == 24, "one is kept for every container");

impl Default for PackedDetails {
    fn default() -> Self {
        Self(Form::Short { len: 0, bytes: [0; SHORT] })
    }
}

impl From<&Details> for PackedDetails {
    fn from(details: &Details) -> Self {
        let mut packed = Self::default();
        packed.set(details);
        packed
    }
}

impl PackedDetails {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn unpack(&self) -> Details {
        Details::unpack(&mut self.bytes())
    }

    /// Keeps these instead.
    pub fn set(&mut self, details: &Details) {
        let mut bytes = [0; LONGEST];
        let packed = pack(details, &mut bytes);
        if self.bytes() == packed {
            return;
        }
        self.0 = match u8::try_from(packed.len()) {
            Ok(len) if packed.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes.iter_mut().zip(packed).for_each(|(to, from)| *to = *from);
                Form::Short { len, bytes }
            }
            _ => Form::Long(packed.into()),
        };
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Form::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for PackedDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unpack().fmt(f)
    }
}

impl Details {
    /// Adds them packed.
    pub(crate) fn pack_onto(&self, all: &mut Vec<u8>) {
        all.extend_from_slice(self.pack_into(&mut [0; LONGEST]));
    }

    /// Them packed, as they are in a row: also none takes bytes.
    pub(crate) fn pack_into<'a>(&self, bytes: &'a mut [u8; LONGEST]) -> &'a [u8] {
        match pack(self, bytes) {
            [] => &[0, 0],
            packed => packed,
        }
    }

    /// Takes the first that were packed; none of no bytes.
    pub(crate) fn unpack(bytes: &mut &[u8]) -> Self {
        let mut details = Self::default();
        let Some((present, rest)) = bytes.split_first_chunk() else { return details };
        *bytes = rest;
        let present = u16::from_le_bytes(*present);
        for &detail in Detail::ALL.iter().filter(|&&detail| present & Self::bit(detail) != 0) {
            details.set(detail, Some(read(bytes)));
        }
        details
    }
}

/// Which are there, then each in the order of its number; nothing at all when none is there.
fn pack<'a>(details: &Details, bytes: &'a mut [u8; LONGEST]) -> &'a [u8] {
    if details.present == 0 {
        return &[];
    }
    let mut len = 0;
    let mut put = |byte| {
        if let Some(to) = bytes.get_mut(len) {
            *to = byte;
            len += 1;
        }
    };
    details.present.to_le_bytes().into_iter().for_each(&mut put);
    for (_, value) in details.iter() {
        write(value, &mut put);
    }
    bytes.get(..len).unwrap_or_default()
}

/// Seven bits a byte, the lowest first, the last byte without its highest bit. The very lowest bit tells whether it is a
/// number of pages.
fn write(value: u64, mut put: impl FnMut(u8)) {
    let is_pages = value.is_multiple_of(MEMORY_UNIT);
    let mut rest = if is_pages { u128::from(value / MEMORY_UNIT) << 1 | 1 } else { u128::from(value) << 1 };
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            return put(low);
        }
        put(low | 0x80);
    }
}

fn read(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0_u128, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u128::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let unit = if number & 1 == 1 { MEMORY_UNIT } else { 1 };
    u64::try_from(number >> 1).unwrap_or(u64::MAX).wrapping_mul(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn four_sizes_in_memory_need_no_block_of_their_own() {
        let mut details = Details::default();
        for detail in [Detail::MemoryUsage, Detail::Anon, Detail::File, Detail::InactiveFile] {
            details.set(detail, Some(512 << 20));
        }
        assert!(matches!(PackedDetails::from(&details).0, Form::Short { len: 14, .. }));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            values in proptest::collection::vec(proptest::option::of((any::<u64>(), 0_u32..64, any::<bool>())), super::super::DETAILS),
            before in any::<u64>(),
        ) {
            let mut details = Details::default();
            for (&detail, value) in Detail::ALL.iter().zip(values) {
                details.set(detail, value.map(|(value, less, is_pages)| {
                    if is_pages { value >> less << 12 } else { value >> less }
                }));
            }
            let mut packed = PackedDetails::default();
            prop_assert!(packed.is_empty());
            let mut other = Details::default();
            other.set(Detail::Swap, Some(before));
            packed.set(&other);
            packed.set(&details);
            prop_assert_eq!(packed.unpack(), details);
            prop_assert_eq!(packed.is_empty(), details == Details::default());
            prop_assert_eq!(&packed, &PackedDetails::from(&details));
            let (mut row, none) = (Vec::new(), Details::default());
            for each in [other, none, details, other] {
                each.pack_onto(&mut row);
            }
            let mut rest = row.as_slice();
            let unpacked = [(); 4].map(|()| Details::unpack(&mut rest));
            prop_assert_eq!((unpacked, rest), ([other, none, details, other], &[][..]));
        }
    }
}
