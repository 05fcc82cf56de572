//! The messages of a watch to whole ticks. Pure.

use std::time::SystemTime;

use super::Error;
use crate::wire;

/// Most items of one tick. A server keeps fewer containers than this by default; more is no server of ours.
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

/// Joins the parts of a tick.
#[derive(Debug, Default)]
pub(super) struct Parts(Option<wire::WatchResponse>);

impl Parts {
    /// Takes a message: the event it completes and where to go on after that, if it is the last of its tick.
    pub(super) fn take(&mut self, message: wire::WatchResponse) -> Result<Option<(Event, String)>, Error> {
        let whole = match self.0.take() {
            None => message,
            Some(parts) => joined(parts, message),
        };
        if whole.usages.len().saturating_add(whole.absent.len()) > MOST {
            return Err(Error::broken(format!("a tick of more than {MOST} items")));
        }
        if whole.more {
            self.0 = Some(whole);
            return Ok(None);
        }
        event(whole).map(Some)
    }

    /// Forgets a tick whose rest will not come.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

/// `later` with what came before it.
fn joined(mut parts: wire::WatchResponse, mut later: wire::WatchResponse) -> wire::WatchResponse {
    parts.usages.append(&mut later.usages);
    parts.absent.append(&mut later.absent);
    wire::WatchResponse {
        usages: parts.usages,
        absent: parts.absent,
        full: parts.full || later.full,
        conflated: parts.conflated.saturating_add(later.conflated),
        time: later.time.or(parts.time),
        ..later
    }
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
    fn a_tick_without_a_time_is_refused() {
        let without = wire::WatchResponse { time: None, ..message(1, &["a"]) };
        assert!(Parts::default().take(without).is_err());
    }
}
