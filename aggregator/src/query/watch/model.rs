//! A reader as in a client library, for tests: it holds what it was told, by the rules of `query.proto`.

use std::collections::BTreeMap;

use kubevitals::wire::{self, AbsenceReason};

/// What a reader holds of one item: its numbers, without times, or why there are none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Held {
    /// Numbers.
    Usage(Box<wire::Usage>),
    /// None.
    Absent(AbsenceReason),
}

/// Which item: pod UID, container id, node name.
pub(crate) type Id = (String, String, String);

/// A reader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reader {
    /// What it was told.
    pub(crate) held: BTreeMap<Id, Held>,
    /// Where it would go on.
    pub(crate) position: String,
    /// In the middle of a full picture.
    pub(crate) filling: bool,
    /// Ticks it was told were left out.
    pub(crate) conflated: u64,
}

/// Which item it is.
pub(crate) fn id(subject: Option<&wire::Subject>) -> Id {
    let subject = subject.cloned().unwrap_or_default();
    let node = if subject.pod_uid.is_empty() { subject.node } else { String::new() };
    (subject.pod_uid, subject.container_id, node)
}

/// The numbers without times.
pub(crate) fn timeless(usage: &wire::Usage) -> Held {
    Held::Usage(Box::new(wire::Usage { time: None, window: None, ..usage.clone() }))
}

impl Reader {
    /// Takes one message in.
    pub(crate) fn take(&mut self, message: &wire::WatchResponse) {
        if message.full && !self.filling {
            self.held.clear();
            self.position.clear();
        }
        assert!(message.full || !self.filling, "a full picture ends before anything else comes");
        for usage in &message.usages {
            self.held.insert(id(usage.subject.as_ref()), timeless(usage));
        }
        for absent in &message.absent {
            let id = id(absent.subject.as_ref());
            match absent.reason() {
                AbsenceReason::Gone | AbsenceReason::Replaced | AbsenceReason::NotSelected => {
                    assert!(!message.full, "a full picture names nothing that is gone");
                    self.held.remove(&id);
                }
                reason => drop(self.held.insert(id, Held::Absent(reason))),
            }
        }
        self.filling = message.full && message.more;
        self.conflated += message.conflated;
        assert_eq!(message.more, message.position.is_empty());
        if !message.more {
            self.position.clone_from(&message.position);
        }
    }
}
