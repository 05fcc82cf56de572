//! The last agents that were turned away, for whoever looks for a node that is missing.
//!
//! Bounded in entries and in text, whatever is sent: what repeats is counted, and the oldest makes room. Counting all
//! of them is the metrics' part.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};

/// Most entries kept. Agents that are refused for one reason differ in their address, so this is how many of a
/// cluster's nodes can be named.
const KEPT: usize = 256;

/// Most bytes of a text kept; ours are shorter.
const TEXT: usize = 200;

/// One agent turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turned<'a> {
    /// Where it connected from.
    pub peer: Option<IpAddr>,
    /// The node it said it speaks for, if it came to that.
    pub node: Option<&'a str>,
    /// The label of the metric that counts it.
    pub reason: &'static str,
    /// What the agent was told.
    pub what: &'a str,
}

/// Agents turned away in one way, as told to others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refusal {
    /// Where it connected from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The node it said it speaks for, if it came to that; nobody has checked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// As in `kubevitals_aggregator_ingest_refused_agents_total`, or else in
    /// `kubevitals_aggregator_ingest_streams_ended_total`.
    pub reason: String,
    /// What the agent was told.
    pub message: String,
    /// How often, since the entry was made.
    pub count: u64,
    /// How long ago the last time was.
    pub age_seconds: f64,
}

#[derive(Debug)]
struct Entry {
    peer: Option<IpAddr>,
    node: Option<String>,
    reason: &'static str,
    what: String,
    count: u64,
    last: Instant,
}

impl Entry {
    fn is_of(&self, turned: &Turned<'_>, what: &str) -> bool {
        self.peer == turned.peer
            && self.node.as_deref() == turned.node
            && self.reason == turned.reason
            && self.what == what
    }
}

/// The last refusals, the newest last.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<VecDeque<Entry>>);

impl Refusals {
    /// Remembers one.
    pub fn note(&self, turned: Turned<'_>) {
        self.note_at(turned, Instant::now());
    }

    fn note_at(&self, turned: Turned<'_>, now: Instant) {
        let what = shortened(turned.what);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries.iter().rposition(|entry| entry.is_of(&turned, what));
        let count = known.and_then(|at| entries.remove(at)).map_or(0, |entry| entry.count);
        if entries.len() >= KEPT {
            entries.pop_front();
        }
        let node = turned.node.map(ToOwned::to_owned);
        let Turned { peer, reason, .. } = turned;
        let (what, count) = (what.to_owned(), count.saturating_add(1));
        entries.push_back(Entry { peer, node, reason, what, count, last: now });
    }

    /// Those for which `wanted` says so, the newest first.
    #[must_use]
    pub fn list(&self, now: Instant, wanted: impl Fn(&Refusal) -> bool) -> Vec<Refusal> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = entries.iter().rev().map(|entry| Refusal {
            peer: entry.peer,
            node: entry.node.clone(),
            reason: entry.reason.to_owned(),
            message: entry.what.clone(),
            count: entry.count,
            age_seconds: now.saturating_duration_since(entry.last).as_secs_f64(),
        });
        told.filter(wanted).collect()
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn turned<'a>(node: &'a str, what: &'a str) -> Turned<'a> {
        Turned { peer: Some(IpAddr::from([10, 0, 0, 7])), node: Some(node), reason: "refused", what }
    }

    #[test]
    fn what_repeats_is_counted_and_becomes_the_newest() {
        let (refusals, begin) = (Refusals::default(), Instant::now());
        for (after, node) in [(0, "a"), (1, "b"), (2, "a")] {
            refusals.note_at(turned(node, "no"), begin + Duration::from_secs(after));
        }
        let listed = refusals.list(begin + Duration::from_secs(3), |_| true);
        let told: Vec<_> = listed.iter().map(|it| (it.node.as_deref(), it.count, it.age_seconds)).collect();
        assert_eq!(told, [(Some("a"), 2, 1.0), (Some("b"), 1, 2.0)]);
        assert_eq!(refusals.list(begin, |it| it.node.as_deref() == Some("b")).len(), 1);
    }

    #[test]
    fn entries_and_texts_are_bounded() {
        let refusals = Refusals::default();
        let long = "ä".repeat(1000);
        for node in 0..2 * KEPT {
            refusals.note(turned(&node.to_string(), &long));
        }
        let listed = refusals.list(Instant::now(), |_| true);
        assert_eq!(listed.len(), KEPT);
        assert_eq!(listed.first().unwrap().node.as_deref(), Some("511"));
        assert!(listed.iter().all(|it| it.message.len() == TEXT), "200 bytes are 100 whole characters");
    }
}
