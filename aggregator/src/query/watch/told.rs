//! What was said of one item, in the form in which it is sent, and whether a new reading says something else. Pure.
//!
//! A reading is encoded once, as a field of [`wire::WatchResponse`]; a message is its items' bytes one after the other.

use std::{ops::Range, sync::Arc};

use kubevitals::{sample::ContainerId, wire};
use prost::{Message as _, encoding};

use crate::{
    directory::Uid,
    query::{
        item::{Item, Subject},
        messages,
    },
};

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
    pub uid: Option<Uid>,
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

/// What there is to say of an item now. Most of it was told before, so it gets the form in which it is sent only when that
/// is not so.
#[derive(Debug, Clone)]
pub struct Saying {
    subject: Subject,
    kind: Kind,
    /// Fields of [`wire::Usage`] or [`wire::Absent`], encoded: all but the subject and what moves.
    numbers: Vec<u8>,
    /// The fields that go on whatever happens.
    moving: wire::Usage,
}

impl Saying {
    /// What an item is.
    #[must_use]
    pub fn of(item: Item) -> Self {
        let Item { subject, numbers } = item;
        match numbers {
            Ok(numbers) => {
                let mut usage = messages::usage(None, &numbers);
                let (time, window) = (usage.time.take(), usage.window.take());
                let moving = wire::Usage { time, window, ..wire::Usage::default() };
                Self { subject, kind: Kind::Usage, numbers: usage.encode_to_vec(), moving }
            }
            Err(reason) => {
                let numbers = wire::Absent { subject: None, reason: reason.into() }.encode_to_vec();
                Self { subject, kind: Kind::Absent, numbers, moving: wire::Usage::default() }
            }
        }
    }

    /// Whether it was told, at whatever time.
    #[must_use]
    pub fn is_told(&self, told: &Told) -> bool {
        self.kind == told.kind && node(&self.subject) == &told.node && told.numbers() == Some(&self.numbers)
    }

    /// To be sent.
    #[must_use]
    pub fn tell(self) -> Told {
        let Self { subject: of, kind, numbers, moving } = self;
        let subject = Some(messages::subject(&of));
        Told::new(kind, Arc::clone(node(&of)), subject, &numbers, &moving.encode_to_vec())
    }
}

/// Where it is. The only part of a subject that may change, since pods are bound while they are watched.
fn node(subject: &Subject) -> &Arc<str> {
    match subject {
        Subject::Node(node) => &node.name,
        Subject::Pod(pod) | Subject::Container(pod, _) => &pod.node,
    }
}

/// What was said of an item.
#[derive(Debug, Clone)]
pub struct Told {
    kind: Kind,
    node: Arc<str>,
    /// The field of [`wire::WatchResponse`], with its number and length.
    field: Box<[u8]>,
    /// Of `field`: what makes a difference.
    numbers: Range<usize>,
}

impl Told {
    /// That an item is selected no more, for this reason.
    #[must_use]
    pub fn leaving(&self, reason: wire::AbsenceReason) -> Self {
        let numbers = wire::Absent { subject: None, reason: reason.into() }.encode_to_vec();
        Self::new(Kind::Left, Arc::clone(&self.node), self.subject(), &numbers, &[])
    }

    /// The order of a message's fields is free. Those that move come last, so that the others can be compared as they are.
    fn new(
        kind: Kind,
        node: Arc<str>,
        subject: Option<wire::Subject>,
        numbers: &[u8],
        moving: &[u8],
    ) -> Self {
        let (tag, subject) = match kind {
            Kind::Usage => (USAGES, wire::Usage { subject, ..wire::Usage::default() }.encode_to_vec()),
            Kind::Absent | Kind::Left => (ABSENT, wire::Absent { subject, reason: 0 }.encode_to_vec()),
        };
        let length = subject.len() + numbers.len() + moving.len();
        let mut field = Vec::with_capacity(length + 2 * size_of::<u32>());
        encoding::encode_key(tag, encoding::WireType::LengthDelimited, &mut field);
        encoding::encode_varint(length as u64, &mut field);
        field.extend_from_slice(&subject);
        let begin = field.len();
        field.extend_from_slice(numbers);
        let numbers = begin..field.len();
        field.extend_from_slice(moving);
        Self { kind, node, field: field.into(), numbers }
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
    fn subject(&self) -> Option<wire::Subject> {
        let message = wire::WatchResponse::decode(self.field()).ok()?;
        let of_usage = message.usages.into_iter().find_map(|usage| usage.subject);
        of_usage.or_else(|| message.absent.into_iter().find_map(|absent| absent.subject))
    }

    fn numbers(&self) -> Option<&[u8]> {
        self.field.get(self.numbers.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kubevitals::{sample::WallTime, wire::AbsenceReason};

    use super::*;
    use crate::{
        directory::{Labels, NodeRecord},
        query::item::{Message, Numbers},
    };

    fn item(numbers: Result<(u64, u64), AbsenceReason>) -> Item {
        let (name, labels) = (Arc::from("n"), Labels::default());
        let subject =
            Subject::Node(Arc::new(NodeRecord { name, labels, created: WallTime(0), kubelet: None }));
        let numbers = numbers.map(|(time, cpu_nanocores)| Numbers {
            time: WallTime(time * 1_000_000),
            window: Duration::from_secs(time),
            cpu_nanocores,
            working_set_bytes: 7,
            distribution: None,
            details: None,
            birth: None,
            held: false,
            source: wire::Source::Agent,
        });
        Item { subject, numbers }
    }

    #[test]
    fn fields_one_after_the_other_are_a_message() {
        let items = [Ok((1, 2)), Err(AbsenceReason::Stale), Ok((3, 4))].map(item);
        let fields = items.iter().map(|item| Saying::of(item.clone()).tell());
        let bytes: Vec<u8> = fields.flat_map(|told| told.field().to_vec()).collect();
        let message = wire::WatchResponse::decode(bytes.as_slice()).unwrap();
        let told = message.usages.into_iter().map(|usage| Message::Usage(Box::new(usage)));
        let [first, absent, second] = items.map(|item| item.message());
        assert!(told.eq([first, second]));
        assert_eq!(message.absent.into_iter().map(Message::Absent).next(), Some(absent));
    }

    #[test]
    fn the_same_numbers_at_a_later_time_are_nothing_new() {
        let told = Saying::of(item(Ok((1, 2)))).tell();
        assert!(Saying::of(item(Ok((9, 2)))).is_told(&told));
        assert!(!Saying::of(item(Ok((1, 3)))).is_told(&told));
        let absent = Saying::of(item(Err(AbsenceReason::Stale)));
        assert!(!absent.is_told(&told));
        assert!(!absent.is_told(&absent.clone().tell().leaving(AbsenceReason::Stale)));
    }
}
