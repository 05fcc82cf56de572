//! What became of every attack, and which outcomes are faults of the server.

use std::{collections::BTreeMap, sync::Mutex};

/// What an attack ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// A response.
    Answered(u16),
    /// The server closed the connection, refused the stream, or never let it come so far.
    CutOff,
    /// Nothing within the time that the attacker had.
    Silent,
}

/// Who attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nobody that may do what is asked: success is a hole.
    Unwelcome,
    /// Somebody who may read, and asks in a strange way.
    Reader,
}

/// Outcomes by kind of attack, and the faults among them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Mutex<BTreeMap<&'static str, BTreeMap<Outcome, u64>>>,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    /// Notes one request and judges it.
    pub(crate) fn note(&self, attack: &'static str, caller: Caller, outcome: Outcome, what: &str) {
        *self.counts.lock().unwrap().entry(attack).or_default().entry(outcome).or_default() += 1;
        if let Some(fault) = fault(caller, outcome) {
            let what: String = what.chars().take(200).collect();
            self.faults.lock().unwrap().push(format!("{attack}: {fault}: {outcome:?}: {what}"));
        }
    }

    /// Requests so far.
    pub(crate) fn total(&self) -> u64 {
        self.counts.lock().unwrap().values().flat_map(BTreeMap::values).sum()
    }

    /// Prints a line for each kind, and returns all faults.
    pub(crate) fn report(&self) -> Vec<String> {
        for (attack, outcomes) in self.counts.lock().unwrap().iter() {
            let outcomes: Vec<String> = outcomes
                .iter()
                .map(|(outcome, count)| match outcome {
                    Outcome::Answered(status) => format!("{status} x {count}"),
                    other => format!("{other:?} x {count}"),
                })
                .collect();
            eprintln!("{attack}: {}", outcomes.join(", "));
        }
        self.faults.lock().unwrap().clone()
    }
}

fn fault(caller: Caller, outcome: Outcome) -> Option<&'static str> {
    match (caller, outcome) {
        (Caller::Unwelcome, Outcome::Answered(200..=299)) => Some("let in"),
        (_, Outcome::Answered(300..=399)) => Some("redirected"),
        // Deadlines are meant to end in 504.
        (_, Outcome::Answered(504)) => None,
        (_, Outcome::Answered(500..)) => Some("the server failed"),
        _ => None,
    }
}

#[test]
fn only_success_of_the_unwelcome_and_failures_of_the_server_are_faults() {
    for status in [400, 401, 403, 404, 405, 406, 414, 429, 431, 504] {
        assert_eq!(fault(Caller::Unwelcome, Outcome::Answered(status)), None, "{status}");
    }
    for status in [200, 204, 301, 304, 500, 502, 503] {
        assert!(fault(Caller::Unwelcome, Outcome::Answered(status)).is_some(), "{status}");
    }
    assert_eq!(fault(Caller::Reader, Outcome::Answered(200)), None);
    assert_eq!(fault(Caller::Reader, Outcome::CutOff), None);
}
