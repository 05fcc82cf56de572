//! The messages of a watch to whole ticks. Pure.

use std::{collections::HashSet, time::SystemTime};

use super::Error;
use crate::wire;

/// Most items of all parts of one tick. A server keeps fewer containers than this by default; more is no server of ours.
const MOST: usize = 4_000_000;

/// What a [`Watch`](super::Watch) tells.
#[derive(Debug)]
pub enum Event {
    /// All that is selected. What was told before and is not in it is gone.
    Picture(Tick),
    /// What changed since the event before. What is not named stays as it was told.
    Changed(Tick),
    /// Nothing changed.
    Heartbeat {
        /// When, by the server's clock.
        time: SystemTime,
    },
    /// Nothing is heard at the moment; the next event comes once something is. What was told grows old meanwhile.
    Interrupted(Error),
}

/// One tick, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// What has numbers that were not told yet.
    pub usages: Vec<wire::Usage>,
    /// What has none, or none any more, with the reason.
    pub absent: Vec<wire::Absent>,
    /// When it was made, by the server's clock.
    pub time: SystemTime,
    /// Ticks left out before it because this reader was slow; their news are in this one.
    pub conflated: u64,
}

/// The parts of a tick, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Parts {
    held: Vec<wire::WatchResponse>,
    items: usize,
}

impl Parts {
    /// Takes a message: the event it completes and where to go on after that, if it is the last of its tick.
    pub(super) fn take(&mut self, message: wire::WatchResponse) -> Result<Option<(Event, String)>, Error> {
        let mut message = message;
        if message.full && self.held.last().is_some_and(|part| !part.full) {
            // A picture says all that the tick before it, which was not complete yet, would have said.
            let conflated = self.held.iter().map(|part| part.conflated);
            message.conflated = conflated.fold(message.conflated, u64::saturating_add);
            self.clear();
        }
        self.items = self.items.saturating_add(message.usages.len()).saturating_add(message.absent.len());
        if self.items > MOST {
            return Err(Error::broken(format!("a tick of more than {MOST} items")));
        }
        let is_last = !message.more;
        self.held.push(message);
        if !is_last {
            return Ok(None);
        }
        self.items = 0;
        event(joined(std::mem::take(&mut self.held))).map(Some)
    }

    /// Forgets a tick whose rest will not come.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What tells one item from another, also from one that has taken its name.
#[derive(PartialEq, Eq, Hash)]
struct Identity([String; 5]);

impl Identity {
    fn of(subject: Option<&wire::Subject>) -> Self {
        let Some(of) = subject else { return Self(Default::default()) };
        if of.pod.is_empty() {
            return Self([of.node.clone(), String::new(), String::new(), String::new(), String::new()]);
        }
        let of = of.clone();
        Self([of.namespace, of.pod, of.pod_uid, of.container, of.container_id])
    }
}

/// One message of all parts. A later part may be newer than an earlier one, so what both name is as the later one has it.
fn joined(parts: Vec<wire::WatchResponse>) -> wire::WatchResponse {
    let (mut whole, mut told) = (wire::WatchResponse::default(), HashSet::new());
    let is_one = parts.len() == 1;
    for (nth, mut part) in parts.into_iter().rev().enumerate() {
        if is_one {
            return part;
        }
        if nth == 0 {
            (whole.time, whole.position) = (part.time, std::mem::take(&mut part.position));
        }
        let mut is_new = |subject: Option<&wire::Subject>| told.insert(Identity::of(subject));
        part.absent.retain(|absent| is_new(absent.subject.as_ref()));
        part.usages.retain(|usage| is_new(usage.subject.as_ref()));
        whole.usages.append(&mut part.usages);
        whole.absent.append(&mut part.absent);
        whole.full |= part.full;
        whole.conflated = whole.conflated.saturating_add(part.conflated);
    }
    whole
}

fn event(whole: wire::WatchResponse) -> Result<(Event, String), Error> {
    let wire::WatchResponse { full, usages, absent, time, position, conflated, .. } = whole;
    let time = time.and_then(|time| SystemTime::try_from(time).ok());
    let time = time.ok_or_else(|| Error::broken("a tick without a time"))?;
    let tick = Tick { usages, absent, time, conflated };
    let event = match (full, tick.usages.is_empty() && tick.absent.is_empty()) {
        (true, _) => Event::Picture(tick),
        (false, false) => Event::Changed(tick),
        (false, true) => Event::Heartbeat { time },
    };
    Ok((event, position))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost_types::Timestamp;

    use super::*;

    fn message(second: i64, nodes: &[&str]) -> wire::WatchResponse {
        let usage = |node: &&str| wire::Usage {
            subject: Some(wire::Subject { node: (*node).to_owned(), ..wire::Subject::default() }),
            ..wire::Usage::default()
        };
        wire::WatchResponse {
            usages: nodes.iter().map(usage).collect(),
            time: Some(Timestamp { seconds: second, nanos: 0 }),
            position: second.to_string(),
            ..wire::WatchResponse::default()
        }
    }

    #[test]
    fn parts_of_a_tick_are_told_as_one_event() {
        let mut parts = Parts::default();
        let first = wire::WatchResponse { full: true, more: true, conflated: 2, ..message(1, &["a"]) };
        assert!(parts.take(first).unwrap().is_none());
        let (event, position) = parts.take(message(2, &["b", "c"])).unwrap().unwrap();
        let Event::Picture(tick) = event else { panic!("{event:?}") };
        let told = (tick.usages.len(), tick.conflated, position.as_str());
        assert_eq!(told, (3, 2, "2"));
        assert_eq!(tick.time, SystemTime::UNIX_EPOCH + Duration::from_secs(2));
        assert!(matches!(parts.take(message(3, &["b"])).unwrap(), Some((Event::Changed(_), _))));
        assert!(matches!(parts.take(message(4, &[])).unwrap(), Some((Event::Heartbeat { .. }, _))));
    }

    #[test]
    fn a_tick_whose_rest_never_came_leaves_nothing_behind() {
        let mut parts = Parts::default();
        let first = wire::WatchResponse { full: true, more: true, ..message(1, &["a"]) };
        assert!(parts.take(first).unwrap().is_none());
        parts.clear();
        assert!(matches!(parts.take(message(2, &[])).unwrap(), Some((Event::Heartbeat { .. }, _))));
    }

    #[test]
    fn what_two_parts_name_is_as_the_later_one_has_it() {
        let mut parts = Parts::default();
        let first = wire::WatchResponse { more: true, ..message(1, &["a", "b"]) };
        assert!(parts.take(first).unwrap().is_none());
        let subject = message(1, &["a"]).usages.remove(0).subject;
        let gone = wire::Absent { subject, reason: wire::AbsenceReason::Gone.into() };
        let last = wire::WatchResponse { absent: vec![gone.clone()], ..message(1, &["c"]) };
        let Some((Event::Changed(tick), _)) = parts.take(last).unwrap() else { panic!("no change") };
        let mut names: Vec<_> = tick.usages.iter().map(wire::Usage::name).collect();
        names.sort();
        assert_eq!((names, tick.absent), (vec!["b".to_owned(), "c".to_owned()], vec![gone]));
    }

    #[test]
    fn a_picture_that_begins_within_a_tick_takes_its_place() {
        let mut parts = Parts::default();
        let cut = wire::WatchResponse { more: true, conflated: 1, ..message(1, &["a"]) };
        assert!(parts.take(cut).unwrap().is_none());
        let begin = wire::WatchResponse { full: true, more: true, conflated: 2, ..message(2, &["b"]) };
        assert!(parts.take(begin).unwrap().is_none());
        let end = wire::WatchResponse { full: true, ..message(2, &["c"]) };
        let Some((Event::Picture(tick), _)) = parts.take(end).unwrap() else { panic!("no picture") };
        assert_eq!((tick.usages.len(), tick.conflated), (2, 3));
    }

    #[test]
    fn a_tick_without_a_time_is_refused() {
        let without = wire::WatchResponse { time: None, ..message(1, &["a"]) };
        assert!(Parts::default().take(without).is_err());
    }
}
