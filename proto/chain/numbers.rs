//! Packed numbers as they lie in a message.

use super::ChainError;

/// Numbers of 7 bits a byte, one after the other, the lowest bits first. They end where one is broken;
/// [`done`](Self::done) tells.
#[derive(Debug, Default, Clone)]
pub(super) struct Numbers<'a>(&'a [u8]);

/// The highest bit of each of eight bytes: another byte follows.
const MORE: u64 = 0x8080_8080_8080_8080;

/// Most bytes of a number, of the last of which one bit counts.
const LONGEST: usize = 10;

impl<'a> Numbers<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Self {
        Self(packed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are, if none is broken.
    pub(super) fn len(&self) -> usize {
        self.0.iter().filter(|&&byte| byte < 0x80).count()
    }

    /// After the last: that it was the last, and is not broken.
    pub(super) fn done(&self) -> Result<(), ChainError> {
        if self.0.is_empty() { Ok(()) } else { Err(ChainError::Undecodable("a broken number".to_owned())) }
    }

    /// All of them, none of which is broken.
    pub(super) fn checked(self) -> Result<Self, ChainError> {
        let mut all = self.clone();
        all.by_ref().for_each(drop);
        all.done()?;
        Ok(self)
    }

    /// A number of two to eight bytes: its length is found, and its bits put together, without a branch for each.
    fn word(&mut self) -> Option<u64> {
        let word = u64::from_le_bytes(*self.0.first_chunk()?);
        let last = !word & MORE;
        if last == 0 {
            return None;
        }
        // Those up to the last byte's highest bit, without the highest ones.
        let sevens = word & (last ^ (last - 1)) & !MORE;
        let bits = sevens & 0x007f_007f_007f_007f | (sevens & 0x7f00_7f00_7f00_7f00) >> 1;
        let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
        let bits = bits & 0x0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4;
        let length = usize::try_from(last.trailing_zeros() / 8 + 1).ok()?;
        self.0 = self.0.get(length..)?;
        Some(bits)
    }

    /// A number of any length.
    fn long(&mut self) -> Option<u64> {
        let mut number = 0;
        for (place, &byte) in self.0.iter().enumerate().take(LONGEST) {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                if place + 1 == LONGEST && byte > 1 {
                    return None;
                }
                self.0 = self.0.get(place + 1..)?;
                return Some(number);
            }
        }
        None
    }
}

impl Iterator for Numbers<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let (&first, rest) = self.0.split_first()?;
        if first < 0x80 {
            self.0 = rest;
            return Some(first.into());
        }
        self.word().or_else(|| self.long())
    }
}

/// As a `uint32`: what is beyond its bits does not count.
pub(super) fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

/// As a `sint64`: the sign is the lowest bit.
pub(super) fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{decode_varint, encode_varint};

    use super::*;

    fn by_prost(mut packed: &[u8]) -> Option<Vec<u64>> {
        let mut numbers = Vec::new();
        while !packed.is_empty() {
            numbers.push(decode_varint(&mut packed).ok()?);
        }
        Some(numbers)
    }

    proptest! {
        #[test]
        fn numbers_are_those_that_the_library_reads(
            numbers in proptest::collection::vec((any::<u64>(), 0..64_u32), 0..20),
            broken in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut packed = Vec::new();
            for (number, less) in numbers {
                encode_varint(number >> less, &mut packed);
            }
            if let Some((at, with)) = broken && !packed.is_empty() {
                let at = at.index(packed.len());
                packed[at] = with;
            }
            let mine = Numbers::new(&packed).checked().ok().map(|numbers| (numbers.len(), numbers.collect::<Vec<_>>()));
            prop_assert_eq!(mine, by_prost(&packed).map(|numbers| (numbers.len(), numbers)));
        }

        #[test]
        fn bytes_that_mostly_go_on_are_read_or_refused_as_the_library_does(
            packed in proptest::collection::vec(prop_oneof![6 => 0x80..=0xff_u8, 1 => 0..4_u8], 0..40),
        ) {
            let mine = Numbers::new(&packed).checked().ok().map(Iterator::collect);
            prop_assert_eq!(mine, by_prost(&packed));
        }
    }
}
