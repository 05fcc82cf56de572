//! UIDs of pods, and the numbers that nearly all of them tell.

use std::{fmt, sync::Arc};

use super::{InvalidName, checked, digits, hexadecimal};
use crate::limits::MAX_POD_UID;

/// A pod's UID as its cgroup spells it, with dashes: an API UID, or the 32 hexadecimal digits of a static pod
/// (the API shows that pod's mirror under another UID).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// Lower-case hexadecimal digits, and dashes between them.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let what = "pod uid";
        let uid = checked(what, text, MAX_POD_UID, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))?;
        if text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidName { what, text: text.to_owned(), why: "it begins or ends with a dash" });
        }
        Ok(Self(uid))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the UID tells as a number; `None` for one of another form.
    pub(crate) fn number(&self) -> Option<UidNumber> {
        UidNumber::of(&self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<UidNumber> for PodUid {
    fn from(number: UidNumber) -> Self {
        Self(number.text(&mut [0; UidNumber::LONGEST]).into())
    }
}

/// The number that a pod's UID tells in one of its two usual forms: each text of such a form has another number, and the
/// number tells the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidNumber {
    bytes: [u8; 16],
    /// An API UID; a static pod's hash has none.
    has_dashes: bool,
}

/// Digits of a UID that have a dash before them, counted from 0.
const DASHES_BEFORE: [usize; 4] = [8, 12, 16, 20];

impl UidNumber {
    /// Bytes of the longer form.
    const LONGEST: usize = 36;

    /// The number of a UID; `None` for a text of another form, as with capital letters.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        if let Some(bytes) = digits(text) {
            return Some(Self { bytes, has_dashes: false });
        }
        let mut rest = text.bytes();
        let mut all = [0; 32];
        for (nth, digit) in all.iter_mut().enumerate() {
            if DASHES_BEFORE.contains(&nth) && rest.next() != Some(b'-') {
                return None;
            }
            *digit = rest.next()?;
        }
        let bytes = digits(str::from_utf8(&all).ok()?).filter(|_| rest.next().is_none())?;
        Some(Self { bytes, has_dashes: true })
    }

    /// The number of these bytes, the highest first.
    pub(crate) fn new(bytes: [u8; 16], has_dashes: bool) -> Self {
        Self { bytes, has_dashes }
    }

    /// Its bytes, the highest first.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the UID has dashes between its parts.
    pub(crate) fn has_dashes(self) -> bool {
        self.has_dashes
    }

    /// The UID itself, written into `buffer`.
    fn text(self, buffer: &mut [u8; Self::LONGEST]) -> &str {
        let mut all = [0; 32];
        let mut length = 0;
        let mut put = |byte| {
            if let Some(place) = buffer.get_mut(length) {
                *place = byte;
                length += 1;
            }
        };
        for (nth, digit) in hexadecimal(&self.bytes, &mut all).bytes().enumerate() {
            if self.has_dashes && DASHES_BEFORE.contains(&nth) {
                put(b'-');
            }
            put(digit);
        }
        str::from_utf8(buffer.get(..length).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Display for UidNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; Self::LONGEST]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What has a number is told by it letter for letter; so no two texts have the same.
        #[test]
        fn a_number_tells_the_text_it_was_made_of(
            text in "[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{9}(-[0-9a-f]{4}){3}-[0-9a-f]{11}|\\PC{0,40}",
        ) {
            if let Some(number) = UidNumber::of(&text) {
                prop_assert_eq!(number.to_string(), text.as_str());
                let uid = PodUid::from(number);
                prop_assert_eq!((uid.as_str(), uid.number()), (text.as_str(), Some(number)));
            }
        }

        #[test]
        fn both_usual_forms_have_numbers(bytes: [u8; 16], has_dashes: bool) {
            let number = UidNumber::new(bytes, has_dashes);
            let text = number.to_string();
            prop_assert_eq!(text.len(), if has_dashes { 36 } else { 32 });
            prop_assert_eq!(UidNumber::of(&text), Some(number));
        }
    }
}
