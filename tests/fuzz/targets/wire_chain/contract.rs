//! What the contract says about a batch that was accepted, and about snapshots.

use std::collections::BTreeMap;

use kubevitals::{
    chain::{Announcement, Decoder, Tick},
    limits::MAX_SERIES,
    sample::{BootTime, Details, Sample},
};
use prost::Message as _;

/// What can be seen of a decoder.
#[derive(PartialEq, Debug)]
pub struct State {
    pub sequence: u64,
    pub time: BootTime,
    pub wall: u64,
    pub live: BTreeMap<u32, Live>,
    /// Highest number among the live, in the order they were given.
    pub highest: u32,
}

#[derive(PartialEq, Debug, Clone)]
pub struct Live {
    announcement: Announcement,
    pub last: Option<Sample>,
    details: Details,
}

impl State {
    pub fn of(chain: &Decoder) -> Self {
        let (time, wall) = chain.time();
        let listed: Vec<u32> = chain.live().map(|(announcement, ..)| announcement.series.0).collect();
        assert!(listed.is_sorted_by(|a, b| a < b), "live series ascend");
        let live = chain.live().map(|(announcement, last, details)| {
            let series = announcement.series.0;
            (series, Live { announcement, last, details })
        });
        Self {
            sequence: chain.sequence(),
            time,
            wall: wall.0,
            live: live.collect(),
            highest: listed.last().copied().unwrap_or(0),
        }
    }

    pub fn is_consistent(&self) {
        assert!(self.live.len() <= MAX_SERIES && !self.live.contains_key(&0));
    }
}

/// What the contract says about a batch that was accepted.
pub fn follows(before: &State, tick: &Tick, after: &State) {
    after.is_consistent();
    assert_eq!((tick.sequence, tick.time, tick.wall.0), (after.sequence, after.time, after.wall));
    assert_eq!(before.sequence.checked_add(1), Some(tick.sequence));
    assert!(tick.time > before.time && tick.wall.0 > before.wall, "both clocks go on");
    let mut expected = before.live.clone();
    for farewell in &tick.ended {
        assert!(expected.remove(&farewell.series.0).is_some(), "only the live end, and once");
    }
    for announcement in &tick.announced {
        let live = Live {
            // First readings are told by the newest sample alone.
            announcement: Announcement { first: None, ..announcement.clone() },
            last: announcement.first,
            details: Details::default(),
        };
        assert!(announcement.first.is_none_or(|first| first.time <= tick.time), "read before this tick");
        assert!(announcement.series.0 > before.highest);
        assert!(expected.insert(announcement.series.0, live).is_none(), "a number is used once");
    }
    assert!(tick.samples.is_sorted_by(|(a, first), (b, second)| a < b && first.time <= second.time));
    for (series, sample) in &tick.samples {
        let held = expected.get_mut(&series.0).expect("only the live have samples");
        assert!(sample.time >= tick.time);
        if let Some(last) = held.last.replace(*sample) {
            assert!(sample.time > last.time, "times strictly increase");
            assert!(sample.cpu >= last.cpu, "CPU never decreases");
        }
    }
    for &(series, detail, value) in &tick.details {
        expected.get_mut(&series.0).expect("only the live have details").details.set(detail, value);
    }
    assert_eq!(expected, after.live, "the live are those before, less the ended, with the announced");
}

/// A snapshot of a decoder makes another one in the same state.
pub fn copies(chain: &Decoder, state: &State) {
    let mut copy = Decoder::new();
    let mut more = true;
    for part in chain.to_snapshot() {
        assert!(more, "a part after the last");
        more = copy.encoded_snapshot(&part.encode_to_vec()).expect("a decoder's own state is accepted");
    }
    assert!(!more);
    assert_eq!(&State::of(&copy), state);
}
