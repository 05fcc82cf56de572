//! One node's batches as its agent would make them, the last minute of them kept for an aggregator that begins anew.

use std::collections::VecDeque;

use bytes::Bytes;
use kubevitals::{
    chain::{Announcement, Encoder, EndReason, Farewell},
    sample::{Details, Sample, SeriesId, Subject, WallTime},
    wire,
};
use prost::Message as _;

use crate::{
    kernel::{Clock, Counter, DETAILS_EVERY},
    lie::Lie,
    world::{self, Life, Node, World},
};

/// Batches kept: a minute.
const KEPT: usize = 60;

/// The node's own cgroup.
pub(crate) const OWN: SeriesId = SeriesId(1);

/// The pods of the beginning were made so long before, microseconds.
const HOUR: u64 = 3_600_000_000;

/// Series of a part of a snapshot, as agents send it.
const PART: usize = 24;

/// A live pod and its counters. Who they are is made once: it takes longer than all else of a snapshot.
struct Live {
    life: Life,
    counters: [Counter; 4],
    subjects: Box<[Subject; 4]>,
}

/// The chain of one node.
pub(crate) struct Chain {
    clock: Clock,
    lie: Option<Lie>,
    own: Counter,
    encoder: Encoder,
    /// Ascending by series.
    live: Vec<Live>,
    /// Those that ended within the minute that is kept.
    ended: Vec<Live>,
    /// The next tick to make; its batch has this number plus one.
    next: u64,
    history: VecDeque<Bytes>,
    /// Samples in all batches.
    pub(crate) samples: u64,
}

impl Chain {
    pub(crate) fn new(clock: Clock, lie: Option<Lie>) -> Self {
        let own = world::own_counter(clock);
        let (encoder, history) = (Encoder::default(), VecDeque::with_capacity(KEPT + 1));
        Self { clock, lie, own, encoder, live: Vec::new(), ended: Vec::new(), next: 0, history, samples: 0 }
    }

    /// The next tick to make.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Number of the last batch made.
    pub(crate) fn sequence(&self) -> u64 {
        self.next
    }

    /// Makes the next batch.
    pub(crate) fn tick(&mut self, world: &World, node: &Node) -> Bytes {
        let (tick, clock) = (self.next, self.clock);
        let begin = clock.sweep(tick);
        self.encoder.begin(begin, WallTime(world.wall(begin)));
        let encoder = &mut self.encoder;
        if tick == 0 {
            encoder.announce(&announcement(world, clock, (OWN, &Subject::Node, &self.own)));
        }
        if tick == 0 || node.lives.iter().any(|life| life.birth == tick || life.end == tick) {
            let end = |live: &mut Live| {
                let is_it = |life: &&Life| life.series == live.life.series && life.end <= tick;
                live.life.end = node.lives.iter().find(is_it)?.end;
                Some(live.life.end)
            };
            for live in self.live.extract_if(.., |live| end(live).is_some()) {
                for (series, ..) in live.series() {
                    encoder.end(Farewell { series, reason: EndReason::Removed });
                }
                self.ended.push(live);
            }
            self.ended.retain(|live| live.life.end + KEPT as u64 > tick);
            for life in node.lives.iter().filter(|life| life.birth == tick && life.end > tick) {
                let live = Live::new(clock, life, world);
                for one in live.series() {
                    encoder.announce(&announcement(world, clock, one));
                }
                self.live.push(live);
            }
        }
        let (lie, samples) = (self.lie, &mut self.samples);
        let mut put = |counter: &Counter, series: u32, is_seldom: bool| {
            let has_turn = last_turn(tick, series, counter) == tick;
            let sample = Some(counter.sample(clock, tick, series)).filter(|_| has_turn || !is_seldom);
            match sample.and_then(|sample| lie.map_or(Some(sample), |lie| lie.told(tick, series, sample))) {
                Some(sample) => {
                    encoder.sample(sample, has_turn.then(|| counter.details(tick)).as_ref());
                    *samples += 1;
                }
                None => encoder.skip(),
            }
        };
        put(&self.own, OWN.0, false);
        for live in &self.live {
            for (series, subject, counter) in live.series() {
                put(counter, series.0, is_seldom(subject));
            }
        }
        self.next += 1;
        let batch = self.encoder.finish().1;
        self.history.push_back(batch.clone());
        if self.history.len() > KEPT {
            self.history.pop_front();
        }
        batch
    }

    /// What an aggregator is told that knows nothing and wants to begin so many ticks ago: the state before the oldest of these
    /// batches, as far as they are kept, in parts, and the batches.
    pub(crate) fn begun(&self, world: &World, back: usize) -> (Vec<Vec<u8>>, Vec<Bytes>) {
        let left_out = self.history.len().saturating_sub(back.saturating_add(1));
        let batches: Vec<Bytes> = self.history.iter().skip(left_out).cloned().collect();
        let Some(tick) = self.next.checked_sub(1 + batches.len() as u64) else {
            return (vec![Vec::new()], batches);
        };
        let state = |one: (SeriesId, &Subject, &Counter)| {
            let (series, subject, counter) = one;
            let turn = last_turn(tick, series.0, counter);
            let last = counter.sample(self.clock, if is_seldom(subject) { turn } else { tick }, series.0);
            series_state(&announcement(world, self.clock, one), last, &counter.details(turn))
        };
        let mut series = vec![state((OWN, &Subject::Node, &self.own))];
        let was_there = |live: &&Live| live.life.birth <= tick && tick < live.life.end;
        let mut lives: Vec<&Live> = self.ended.iter().chain(&self.live).filter(was_there).collect();
        lives.sort_unstable_by_key(|live| live.life.series);
        series.extend(lives.into_iter().flat_map(Live::series).map(state));
        let begin = self.clock.sweep(tick);
        let mut parts = Vec::new();
        while !series.is_empty() {
            let rest = series.split_off(series.len().min(PART));
            let part = wire::Snapshot {
                sequence: tick + 1,
                time_us: begin.0,
                wall_us: world.wall(begin),
                series,
                more: !rest.is_empty(),
            };
            parts.push(part.encode_to_vec());
            series = rest;
        }
        (parts, batches)
    }
}

impl Live {
    fn new(clock: Clock, life: &Life, world: &World) -> Self {
        let counters = [0, 1, 2, 3].map(|nth| world::counter(clock, life, nth));
        let subjects = Box::new(world::subjects(life, world.nodes.len()));
        Self { life: life.clone(), counters, subjects }
    }

    fn series(&self) -> impl Iterator<Item = (SeriesId, &Subject, &Counter)> {
        let series = (self.life.series..).map(SeriesId);
        series
            .zip(self.subjects.iter())
            .zip(&self.counters)
            .map(|((series, subject), counter)| (series, subject, counter))
    }
}

/// The last tick by then in which all of a cgroup was read: the first that found it, or else in its turn, which series take
/// one after the other.
fn last_turn(tick: u64, series: u32, counter: &Counter) -> u64 {
    let since = (tick + u64::from(series)) % DETAILS_EVERY;
    tick.saturating_sub(since).max(counter.birth())
}

/// Whether it is read in its turn alone: a pod's own counters, as long as nobody scrapes its agent.
fn is_seldom(subject: &Subject) -> bool {
    matches!(subject, Subject::Pod { .. })
}

fn announcement(
    world: &World,
    clock: Clock,
    (series, subject, counter): (SeriesId, &Subject, &Counter),
) -> Announcement {
    let first = counter.first(clock);
    // A sandbox is made before its containers.
    let after = u64::from(series.0 % world::SERIES_OF_POD + 2) % 4 * 1000;
    let birth = first.map_or(world.wall(clock.sweep(0)) - HOUR, |first| world.wall(first.time)) + after;
    let (subject, inode) = (subject.clone(), u64::from(series.0));
    Announcement { series, subject, inode, first, birth: Some(WallTime(birth)) }
}

fn series_state(announcement: &Announcement, last: Sample, details: &Details) -> wire::SeriesState {
    let details = details.iter().map(|(detail, value)| wire::DetailValue {
        // The contract numbers them from 1, in this order.
        field: detail as i32 + 1,
        value,
    });
    wire::SeriesState {
        announcement: Some(announcement.into()),
        last: Some(wire::LastSample {
            time_us: last.time.0,
            cpu_ns: last.cpu.0,
            working_set_4k: last.working_set.units().into(),
        }),
        details: details.collect(),
    }
}
