//! What was said of one item, in the form in which it is sent, and whether a new reading says something else. Pure.
//!
//! A reading is encoded once, as a field of [`wire::WatchResponse`]; a message is its items' bytes one after the other.

use std::{ops::Range, sync::Arc};

use kubevitals::{sample::ContainerId, wire};
use prost::{Message as _, encoding};

/// Fields of [`wire::WatchResponse`].
const USAGES: u32 = 3;
const ABSENT: u32 = 4;

/// Which item, in the order in which a full picture is told: what `List` has, and UIDs, so that what takes a name is
/// another item. What does not apply is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Of a pod.
    pub namespace: Arc<str>,
    /// Of a pod or node.
    pub name: Arc<str>,
    /// Of a pod.
    pub uid: Arc<str>,
    /// A container's name in its pod.
    pub container: Arc<str>,
    /// A container's id.
    pub id: Option<ContainerId>,
}

/// What can be said of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its numbers.
    Usage,
    /// It is selected and has none.
    Absent,
    /// It is selected no more, or gone.
    Left,
}

/// What was said of an item.
#[derive(Debug, Clone)]
pub struct Told {
    kind: Kind,
    field: Box<[u8]>,
    /// Of `field`: what makes a difference.
    numbers: Range<usize>,
}

impl Told {
    /// Its numbers.
    #[must_use]
    pub fn usage(mut usage: wire::Usage) -> Self {
        // In a message the order of fields is free. Those that go on whatever happens come last, so that the others can be
        // compared as they are.
        let moving =
            wire::Usage { time: usage.time.take(), window: usage.window.take(), ..wire::Usage::default() };
        Self::new(Kind::Usage, USAGES, &usage.encode_to_vec(), &moving.encode_to_vec())
    }

    /// Selected, without numbers.
    #[must_use]
    pub fn absent(absent: &wire::Absent) -> Self {
        Self::new(Kind::Absent, ABSENT, &absent.encode_to_vec(), &[])
    }

    /// Not there any more.
    #[must_use]
    pub fn left(absent: &wire::Absent) -> Self {
        Self { kind: Kind::Left, ..Self::absent(absent) }
    }

    fn new(kind: Kind, tag: u32, numbers: &[u8], moving: &[u8]) -> Self {
        let length = numbers.len() + moving.len();
        let mut field = Vec::with_capacity(length + 2 * size_of::<u32>());
        encoding::encode_key(tag, encoding::WireType::LengthDelimited, &mut field);
        encoding::encode_varint(length as u64, &mut field);
        let begin = field.len();
        field.extend_from_slice(numbers);
        let numbers = begin..field.len();
        field.extend_from_slice(moving);
        Self { kind, field: field.into(), numbers }
    }

    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The bytes of the field, with its number and length.
    #[must_use]
    pub fn field(&self) -> &[u8] {
        &self.field
    }

    /// Of whom it was said.
    #[must_use]
    pub fn subject(&self) -> Option<wire::Subject> {
        let message = wire::WatchResponse::decode(self.field()).ok()?;
        let of_usage = message.usages.into_iter().find_map(|usage| usage.subject);
        of_usage.or_else(|| message.absent.into_iter().find_map(|absent| absent.subject))
    }

    /// Whether `other` says the same, at whatever time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.numbers() == other.numbers()
    }

    fn numbers(&self) -> Option<&[u8]> {
        self.field.get(self.numbers.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(seconds: i64, cpu_nanocores: u64) -> wire::Usage {
        let subject = wire::Subject { pod: "web".to_owned(), ..wire::Subject::default() };
        wire::Usage {
            subject: Some(subject),
            time: Some(prost_types::Timestamp { seconds, nanos: 5 }),
            window: Some(prost_types::Duration { seconds: 15, nanos: i32::try_from(seconds).unwrap() }),
            cpu_nanocores,
            ..wire::Usage::default()
        }
    }

    #[test]
    fn fields_one_after_the_other_are_a_message() {
        let absent = wire::Absent { subject: None, reason: wire::AbsenceReason::Stale.into() };
        let told = [Told::usage(usage(1, 2)), Told::absent(&absent), Told::usage(usage(3, 4))];
        let bytes: Vec<u8> = told.iter().flat_map(Told::field).copied().collect();
        let message = wire::WatchResponse::decode(bytes.as_slice()).unwrap();
        assert_eq!(message.usages, [usage(1, 2), usage(3, 4)]);
        assert_eq!(message.absent, [absent]);
    }

    #[test]
    fn the_same_numbers_at_a_later_time_are_nothing_new() {
        assert!(Told::usage(usage(1, 2)).is_same(&Told::usage(usage(9, 2))));
        assert!(!Told::usage(usage(1, 2)).is_same(&Told::usage(usage(1, 3))));
        let absent = wire::Absent::default();
        assert!(!Told::absent(&absent).is_same(&Told::left(&absent)));
    }
}
