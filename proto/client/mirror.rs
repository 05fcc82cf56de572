//! What a watch has told, put together. Pure but for the clock that is handed in.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use super::{Event, Tick};
use crate::wire::{self, AbsenceReason};

/// What tells one item of a selection from the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Of nodes; empty for pods and containers, whose node may change.
    pub node: String,
    /// Of pods and containers.
    pub namespace: String,
    /// Of pods and containers.
    pub pod: String,
    /// Of containers.
    pub container: String,
}

impl Key {
    /// Of a subject.
    #[must_use]
    pub fn of(subject: &wire::Subject) -> Self {
        let is_node = subject.pod.is_empty();
        Self {
            node: if is_node { subject.node.clone() } else { String::new() },
            namespace: subject.namespace.clone(),
            pod: subject.pod.clone(),
            container: subject.container.clone(),
        }
    }
}

/// What is known of one of the selection.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Its numbers.
    Usage(Box<wire::Usage>),
    /// It is there and has none.
    Absent(wire::Subject, AbsenceReason),
}

impl Item {
    fn subject(&self) -> Option<&wire::Subject> {
        match self {
            Self::Usage(usage) => usage.subject.as_ref(),
            Self::Absent(subject, _) => Some(subject),
        }
    }
}

/// The present state of a watched selection.
///
/// ```no_run
/// # async fn example(client: kubevitals::client::Client, request: kubevitals::wire::WatchRequest)
/// #     -> Result<(), kubevitals::client::Error> {
/// use std::time::{Duration, Instant};
///
/// let mut watch = client.watch(request);
/// let mut mirror = kubevitals::client::Mirror::default();
/// loop {
///     mirror.apply(watch.next().await?, Instant::now());
///     if mirror.is_whole() && mirror.silent_for(Instant::now()) < Some(Duration::from_secs(3)) {
///         let cores: f64 = mirror.usages().map(|usage| usage.cpu_cores()).sum();
///         println!("{cores:.3} CPUs");
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    items: BTreeMap<Key, Item>,
    time: Option<SystemTime>,
    heard: Option<Instant>,
}

impl Mirror {
    /// Takes over what a watch tells, heard at this moment. An interruption changes nothing but the age of all.
    pub fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::Picture(tick) => {
                self.items.clear();
                self.take(tick, now);
            }
            Event::Changed(tick) => self.take(tick, now),
            Event::Heartbeat { time } => self.hear(time, now),
            Event::Interrupted(_) => {}
        }
    }

    /// All that is selected, in the order of the API: nodes by name, pods by namespace and name.
    pub fn items(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items.iter()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    /// Those with numbers.
    pub fn usages(&self) -> impl Iterator<Item = &wire::Usage> {
        self.items.values().filter_map(|item| match item {
            Item::Usage(usage) => Some(&**usage),
            Item::Absent(..) => None,
        })
    }

    /// Those without, and why.
    pub fn absent(&self) -> impl Iterator<Item = (&wire::Subject, AbsenceReason)> {
        self.items.values().filter_map(|item| match item {
            Item::Usage(_) => None,
            Item::Absent(subject, reason) => Some((subject, *reason)),
        })
    }

    /// Whether a picture was told and all of the selection has numbers. Who sums over less counts too little.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.time.is_some() && self.absent().next().is_none()
    }

    /// The tick up to which all this is true, by the server's clock; absent before the first.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        self.time
    }

    /// How long ago that was heard, by our own clock, so that clocks that differ do no harm; absent before the first.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.saturating_duration_since(heard))
    }

    fn hear(&mut self, time: SystemTime, now: Instant) {
        (self.time, self.heard) = (Some(time), Some(now));
    }

    /// What is gone first: its name may have been taken by something that the same tick tells of.
    fn take(&mut self, tick: Tick, now: Instant) {
        let Tick { usages, absent, time, .. } = tick;
        let (gone, lacking): (Vec<_>, Vec<_>) =
            absent.into_iter().partition(|absent| is_gone(absent.reason()));
        for subject in gone.into_iter().filter_map(|gone| gone.subject) {
            let key = Key::of(&subject);
            if self.items.get(&key).and_then(Item::subject).is_some_and(|held| is_same(held, &subject)) {
                self.items.remove(&key);
            }
        }
        for absent in lacking {
            let reason = absent.reason();
            if let Some(subject) = absent.subject {
                self.items.insert(Key::of(&subject), Item::Absent(subject, reason));
            }
        }
        for usage in usages {
            if let Some(subject) = &usage.subject {
                self.items.insert(Key::of(subject), Item::Usage(Box::new(usage)));
            }
        }
        self.hear(time, now);
    }
}

/// Whether it is no longer part of the selection.
fn is_gone(reason: AbsenceReason) -> bool {
    matches!(reason, AbsenceReason::Gone | AbsenceReason::Replaced | AbsenceReason::NotSelected)
}

/// Whether two subjects of one name are one thing, as far as both say which it is.
fn is_same(one: &wire::Subject, other: &wire::Subject) -> bool {
    let agree = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    agree(&one.pod_uid, &other.pod_uid) && agree(&one.container_id, &other.container_id)
}

#[cfg(test)]
mod tests;
