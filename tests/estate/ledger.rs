//! What is known for certain about one counter: what its maker wrote and when, or what an independent reader read.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::api::forms::Usage;

/// How far the time that is published for a reading may be from the reading, microseconds: both clocks are read once
/// for each tick, by a thread that may have to wait for a core in between.
const SLACK: u64 = 300_000;

/// Wall time, microseconds since 1970.
pub(crate) fn wall() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_micros()).expect("before the year 500000")
}

/// One counter's history.
#[derive(Debug)]
pub(crate) struct Ledger {
    knowledge: Knowledge,
    /// Working set, bytes, when it is known.
    memory: Option<u64>,
    entries: Mutex<Vec<Entry>>,
}

/// What an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// The counter was set to the value, and stood still until the next entry.
    Written,
    /// The counter had this value, and went up as it liked in between.
    Read,
}

/// CPU time as of a moment between two wall times.
#[derive(Debug, Clone, Copy)]
struct Entry {
    before: u64,
    after: u64,
    nanos: u64,
}

impl Ledger {
    /// Of a counter that the test writes.
    pub(crate) fn written(memory: u64) -> Self {
        Self { knowledge: Knowledge::Written, memory: Some(memory), entries: Mutex::default() }
    }

    /// Of a counter that the test reads now and then.
    pub(crate) fn read() -> Self {
        Self { knowledge: Knowledge::Read, memory: None, entries: Mutex::default() }
    }

    /// Makes an entry of what was written or read just now, by an act that began at `before`.
    pub(crate) fn enter(&self, before: u64, nanos: u64) {
        self.entries.lock().unwrap().push(Entry { before, after: wall(), nanos });
    }

    /// CPU time at the newest entry.
    pub(crate) fn newest(&self) -> u64 {
        self.entries.lock().unwrap().last().map_or(0, |entry| entry.nanos)
    }

    /// Whether the usage may be served with a time of this second and this window; the error says what was expected.
    /// The window of one of several containers is within `leeway` of the pod's, which is all that is told.
    pub(crate) fn allows(
        &self,
        usage: Usage,
        timestamp: u64,
        window: Duration,
        leeway: Duration,
    ) -> Result<(), String> {
        if self.memory.is_some_and(|memory| memory != usage.memory) {
            return Err(format!("memory {} instead of {:?}", usage.memory, self.memory));
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).expect("a short time");
        let (window, leeway) = (micros(window), micros(leeway));
        // The time is cut off to whole seconds.
        let end = (timestamp * 1_000_000 - SLACK, (timestamp + 1) * 1_000_000 + SLACK);
        let begin = (end.0 - window, end.1 - window);
        let entries = self.entries.lock().unwrap();
        let windows = (window.saturating_sub(leeway).max(1), window + leeway);
        match self.knowledge {
            Knowledge::Written => written(&entries, usage.nanocores, (begin, end), windows),
            Knowledge::Read => read(&entries, usage.nanocores, (begin, end), windows),
        }
    }
}

/// First and last wall time of a moment that is not known better.
type Moment = (u64, u64);

fn rate(nanos: u64, micros: u64) -> u64 {
    u64::try_from(u128::from(nanos) * 1_000_000 / u128::from(micros)).unwrap_or(u64::MAX)
}

fn written(
    entries: &[Entry],
    nanocores: u64,
    (begin, end): (Moment, Moment),
    (shortest, longest): (u64, u64),
) -> Result<(), String> {
    let (first, last) = (in_effect(entries, begin), in_effect(entries, end));
    let allows = |a: u64, b: u64| {
        b.checked_sub(a)
            .is_some_and(|nanos| (rate(nanos, longest)..=rate(nanos, shortest)).contains(&nanocores))
    };
    let is_allowed = first.iter().any(|&a| last.iter().any(|&b| allows(a, b)));
    let rates = || -> Vec<u64> {
        let rates = first.iter().flat_map(|&a| last.iter().filter_map(move |&b| b.checked_sub(a)));
        rates.map(|nanos| rate(nanos, longest)).collect()
    };
    is_allowed.then_some(()).ok_or_else(|| format!("{nanocores} n instead of one of {:?}", rates()))
}

/// The values that were perhaps in effect at some time of the moment.
fn in_effect(entries: &[Entry], (from, to): Moment) -> Vec<u64> {
    let first = entries.partition_point(|entry| entry.after <= from).saturating_sub(1);
    let last = entries.partition_point(|entry| entry.before <= to);
    entries[first..last.max(first)].iter().map(|entry| entry.nanos).collect()
}

fn read(
    entries: &[Entry],
    nanocores: u64,
    (begin, end): (Moment, Moment),
    (shortest, longest): (u64, u64),
) -> Result<(), String> {
    let at_least = |time: u64| {
        let behind = entries.partition_point(|entry| entry.after <= time);
        behind.checked_sub(1).map(|index| entries[index].nanos)
    };
    let at_most = |time: u64| {
        entries.get(entries.partition_point(|entry| entry.before < time)).map(|entry| entry.nanos)
    };
    // Without an entry before or behind, nothing is known.
    let least = at_least(end.0).zip(at_most(begin.1)).map_or(0, |(end, begin)| end.saturating_sub(begin));
    let most = at_most(end.1).zip(at_least(begin.0)).map(|(end, begin)| end - begin);
    let (least, most) = (rate(least, longest), most.map_or(u64::MAX, |most| rate(most, shortest)));
    (least..=most)
        .contains(&nanocores)
        .then_some(())
        .ok_or_else(|| format!("{nanocores} n instead of {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn ledger(knowledge: Knowledge, entries: &[(u64, u64)]) -> Ledger {
        let entries = entries.iter().map(|&(second, nanos)| Entry {
            before: second * 1_000_000 + 500_000,
            after: second * 1_000_000 + 500_010,
            nanos,
        });
        Ledger { knowledge, memory: Some(7), entries: Mutex::new(entries.collect()) }
    }

    fn verdict(ledger: &Ledger, nanocores: u64, timestamp: u64) -> bool {
        let usage = Usage { nanocores, memory: 7 };
        ledger.allows(usage, timestamp, WINDOW, Duration::ZERO).is_ok()
    }

    #[test]
    fn a_written_counter_allows_the_exact_rates_and_no_other() {
        let ledger = ledger(Knowledge::Written, &[(0, 100), (20, 1_000_000_100)]);
        assert!(verdict(&ledger, 0, 15), "nothing was used before");
        assert!(verdict(&ledger, 100_000_000, 25));
        assert!(!verdict(&ledger, 100_000_001, 25), "a nanocore too much");
        assert!(!verdict(&ledger, 0, 25), "the use lies in the window");
        assert!(verdict(&ledger, 0, 20) && verdict(&ledger, 100_000_000, 20), "read in that second");
        assert!(!verdict(&ledger, 100_000_000, 40), "the use lies before the window");
    }

    #[test]
    fn a_read_counter_allows_what_lies_between_its_readings() {
        let seconds: Vec<(u64, u64)> = (0..40).map(|second| (second, second * 500_000_000)).collect();
        let ledger = ledger(Knowledge::Read, &seconds);
        assert!(verdict(&ledger, 500_000_000, 25));
        assert!(!verdict(&ledger, 700_000_000, 25));
        assert!(!verdict(&ledger, 300_000_000, 25));
    }

    #[test]
    fn other_memory_is_not_allowed() {
        let ledger = ledger(Knowledge::Written, &[(0, 0)]);
        let usage = Usage { nanocores: 0, memory: 8 };
        assert!(ledger.allows(usage, 30, WINDOW, Duration::ZERO).is_err());
    }
}
