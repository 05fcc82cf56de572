//! A pod's UID in the API.

use std::{fmt, sync::Arc};

use kubevitals::sample::UidNumber;

/// A UID. Kubernetes makes them in one form, in which they are held as the numbers that they tell: every pod of the cluster
/// has one, and as a text each would be a block of memory by itself, three times as large.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Form);

/// One text has one form only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Number(UidNumber),
    Text(Arc<str>),
}

const _: () = assert!(size_of::<Uid>() == 24, "one is kept for every pod of the cluster");

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(UidNumber::of(text).map_or_else(|| Form::Text(text.into()), Form::Number))
    }
}

impl From<&String> for Uid {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl PartialEq<str> for Uid {
    fn eq(&self, text: &str) -> bool {
        match &self.0 {
            Form::Number(number) => UidNumber::of(text) == Some(*number),
            Form::Text(held) => held.as_ref() == text,
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Number(number) => number.fmt(f),
            Form::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid(\"{self}\")")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_text_it_was_made_of(
            text in "[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|\\PC{0,40}", other in "[0-9a-f]{32}|\\PC{0,3}",
        ) {
            let uid = Uid::from(text.as_str());
            prop_assert_eq!(uid.to_string(), text.as_str());
            prop_assert!(uid == *text.as_str());
            prop_assert_eq!(uid == *other.as_str(), text == other);
            let other_uid = Uid::from(other.as_str());
            prop_assert_eq!(uid == other_uid, text == other);
        }
    }
}
