//! Whether a served number is exactly what its counters show: of which ticks it is, found by trying those that its
//! timestamp and window allow, and whether it may be served now. Pure but for the world's memory.

use kubevitals::sample::{BootTime, Sample};
use serde::Deserialize;

use crate::{
    api::forms::{Usage, duration, seconds},
    chain::OWN,
    kernel::{Clock, Counter},
    world::{self, CONTAINERS, Life, World},
};

/// What the aggregator promises by default, microseconds: the window, the shortest one, and when the window of a pod
/// that became ready begins, and from when on.
const WINDOW: u64 = 15_000_000;
const SHORTEST: u64 = 250_000;
const AFTER_READY: u64 = 1_000_000;
const READY_FOR: u64 = 5_000_000;

/// A window begins so many ticks ago at most.
const TICKS: u64 = 16;

/// What was deleted, or handed over, may go unseen for so long, microseconds.
pub(crate) const GRACE: u64 = 1_000_000;

/// A list as its text has it.
#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PodItem<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    timestamp: &'a str,
    window: &'a str,
    containers: Vec<Container<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NodeItem<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    timestamp: &'a str,
    window: &'a str,
    #[serde(borrow)]
    usage: Quantities<'a>,
}

#[derive(Debug, Deserialize)]
struct Metadata<'a> {
    name: &'a str,
}

#[derive(Debug, Deserialize)]
struct Container<'a> {
    name: &'a str,
    #[serde(borrow)]
    usage: Quantities<'a>,
}

#[derive(Debug, Deserialize)]
struct Quantities<'a> {
    cpu: &'a str,
    memory: &'a str,
}

/// What a right answer turns out to be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Right {
    /// Which pod or node of the fleet, and which of those that had its place.
    pub(crate) place: usize,
    pub(crate) generation: u32,
    /// The tick of its node, and when the earliest of its containers was read then, wall time in microseconds.
    pub(crate) tick: u64,
    pub(crate) read: u64,
    /// Whether its window is as long as the rules make it; a shorter one is of an aggregator that has not all yet.
    pub(crate) whole: bool,
}

/// Why an answer is not right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It was right, and something newer should be served.
    Stale(String),
    /// No counters of this fleet make it, or not any longer.
    Number(String),
}

impl From<String> for Wrong {
    fn from(fault: String) -> Self {
        Self::Number(fault)
    }
}

/// A pod's answer to a question asked at this wall time, against what its counters show.
pub(crate) fn pod(world: &World, asked: u64, item: &PodItem<'_>) -> Result<Right, Wrong> {
    let name = item.metadata.name;
    let (slot, wanted) = world::read_name(name).ok_or_else(|| format!("{name}: no pod of this fleet"))?;
    if !item.containers.iter().map(|container| container.name).eq(CONTAINERS) {
        return Err(format!("{name}: not all its containers: {item:?}").into());
    }
    let of_container = |container: &Container<'_>| container.usage.parse();
    let served: Vec<Usage> = item.containers.iter().map(of_container).collect();
    let (clock, mut lives) = world.lives(slot);
    lives.retain(|life| wanted.is_none_or(|generation| generation == life.generation));
    for life in &lives {
        let subject = Subject::pod(world, clock, life);
        let Some((tick, whole)) = subject.matched(item.timestamp, item.window, &served) else { continue };
        let (read, generation) = (subject.read(tick), life.generation);
        if life.deleted.saturating_add(GRACE) < asked {
            let ago = (asked - life.deleted) / 1000;
            return Err(format!("{name}: numbers of a pod that was deleted {ago} ms before").into());
        }
        fresh(world, slot, tick, life.end - 1, asked, name)?;
        return Ok(Right { place: slot, generation, tick, read, whole });
    }
    Err(format!("{name}: served {item:?}, which no ticks make").into())
}

/// The same for a node.
pub(crate) fn node(world: &World, asked: u64, item: &NodeItem<'_>) -> Result<Right, Wrong> {
    let name = item.metadata.name;
    let index = world::read_node_name(name).filter(|&index| index < world.nodes.len());
    let index = index.ok_or_else(|| format!("{name}: no node of this fleet"))?;
    let subject = Subject::node(world, Clock::of(index as u64));
    let matched = subject.matched(item.timestamp, item.window, &[item.usage.parse()]);
    let (tick, whole) = matched.ok_or_else(|| format!("{name}: served {item:?}, which no ticks make"))?;
    fresh(world, index, tick, u64::MAX, asked, name)?;
    Ok(Right { place: index, generation: 0, tick, read: subject.read(tick), whole })
}

/// Whether the newest tick is served that was on its way well before the question; `last` is the last one there is.
fn fresh(world: &World, place: usize, tick: u64, last: u64, asked: u64, name: &str) -> Result<(), Wrong> {
    let handed = world.node_of(place).lock().unwrap().handed_by(asked.saturating_sub(GRACE));
    match handed.map(|handed| handed.min(last)).filter(|&handed| handed > tick) {
        Some(newer) => {
            let fault = format!("{name}: stale: tick {tick}, and {newer} was sent a second before");
            Err(Wrong::Stale(fault))
        }
        None => Ok(()),
    }
}

impl Quantities<'_> {
    fn parse(&self) -> Usage {
        Usage::parse(self.cpu, self.memory)
    }
}

/// A pod or node whose numbers are looked for among the ticks.
struct Subject<'a> {
    world: &'a World,
    clock: Clock,
    /// Its containers, or itself.
    members: Vec<(Counter, u32)>,
    /// The first tick that finds it.
    birth: u64,
    /// Its window should not begin before, once that is possible.
    not_before: u64,
}

impl<'a> Subject<'a> {
    fn pod(world: &'a World, clock: Clock, life: &Life) -> Self {
        // Behind the pod's own series and its sandbox's.
        let members = [2, 3].map(|nth| (world::counter(clock, life, nth), life.series + nth)).to_vec();
        let not_before = life.ready() + AFTER_READY;
        Self { world, clock, members, birth: life.birth, not_before }
    }

    fn node(world: &'a World, clock: Clock) -> Self {
        let members = vec![(world::own_counter(clock), OWN.0)];
        Self { world, clock, members, birth: 0, not_before: 0 }
    }

    /// When the first member is read in a tick, wall time in microseconds.
    fn read(&self, tick: u64) -> u64 {
        self.world.wall(self.clock.reading(tick, self.members[0].1))
    }

    /// The tick at which windows end that make these numbers, and whether they are as long as they should be.
    fn matched(&self, timestamp: &str, window: &str, served: &[Usage]) -> Option<(u64, bool)> {
        let (timestamp, window) = (seconds(timestamp), u64::try_from(duration(window).as_micros()).ok()?);
        let latest = self.world.tick_at(self.clock, (timestamp + 1) * 1_000_000);
        let mut ticks = (latest.saturating_sub(2).max(self.birth)..=latest)
            .filter(|&tick| self.read(tick) / 1_000_000 == timestamp);
        ticks.find_map(|tick| Some((tick, self.ending_at(tick, window, served)?)))
    }

    /// Whether the numbers are those of windows that end at this tick, and then whether these are as long as they
    /// should be.
    fn ending_at(&self, tick: u64, window: u64, served: &[Usage]) -> Option<bool> {
        let lasts: Vec<Sample> =
            self.members.iter().map(|(counter, series)| counter.sample(self.clock, tick, *series)).collect();
        let begins: Vec<Vec<Sample>> =
            self.members.iter().map(|(counter, series)| self.begins(*counter, *series, tick)).collect();
        let common = lasts.iter().map(|last| last.time.0).min()?;
        let promised: Option<Vec<Sample>> =
            begins.iter().zip(&lasts).map(|(all, last)| self.promised(all, *last, common)).collect();
        if promised.is_some_and(|firsts| make(&firsts, &lasts, window, served)) {
            return Some(true);
        }
        // Nearly always both windows begin at the same tick; a moment between two readings may part them.
        let fewest = begins.iter().map(Vec::len).min()?;
        let at = |nth: &dyn Fn(usize) -> usize| -> Vec<Sample> {
            begins.iter().enumerate().map(|(member, all)| all[nth(member)]).collect()
        };
        let is_made = |firsts: &[Sample]| make(firsts, &lasts, window, served);
        let mut places = 0..fewest;
        places
            .any(|place| {
                let other = (place + 1).min(fewest - 1);
                is_made(&at(&|_| place))
                    || is_made(&at(&|member| if member == 0 { place } else { other }))
                    || is_made(&at(&|member| if member == 0 { other } else { place }))
            })
            .then_some(false)
    }

    /// Where a window that ends at a tick can begin, the latest first.
    fn begins(&self, counter: Counter, series: u32, tick: u64) -> Vec<Sample> {
        let oldest = tick.saturating_sub(TICKS).max(self.birth);
        let ticks = (oldest..tick).rev().map(|tick| counter.sample(self.clock, tick, series));
        ticks.chain(counter.first(self.clock)).collect()
    }

    /// Where it has to begin: nearest to a window ago, or once the pod was ready for long enough.
    fn promised(&self, begins: &[Sample], last: Sample, common: u64) -> Option<Sample> {
        let wanted = last.time.0 - WINDOW;
        let nearest = begins.iter().rev().min_by_key(|begin| begin.time.0.abs_diff(wanted))?;
        let is_late = |begin: &&Sample| self.world.wall(begin.time) >= self.not_before;
        if is_late(&nearest) || self.world.wall(BootTime(common)) < self.not_before + READY_FOR {
            return Some(*nearest);
        }
        begins.iter().rev().find(is_late).or(Some(nearest)).copied()
    }
}

/// Whether windows between these samples make exactly what is served.
fn make(firsts: &[Sample], lasts: &[Sample], window: u64, served: &[Usage]) -> bool {
    let times = |samples: &[Sample]| samples.iter().map(|sample| sample.time.0).min();
    let is_right = |((first, last), served): ((&Sample, &Sample), &Usage)| {
        last.time.0 - first.time.0 >= SHORTEST
            && served.nanocores == rate(*first, *last)
            && served.memory == last.working_set.bytes()
    };
    times(lasts).zip(times(firsts)).is_some_and(|(end, start)| end - start == window)
        && firsts.iter().zip(lasts).zip(served).all(is_right)
}

/// The pod of this place that has to be in an answer to a question asked at this wall time, if there is one: not deleted,
/// and enough of it was sent a while before.
pub(crate) fn due(world: &World, asked: u64, slot: usize) -> Option<Life> {
    let node = world.node_of(slot).lock().unwrap();
    let life = node.lives.iter().rev().find(|life| life.slot == slot && life.deleted == u64::MAX)?;
    let handed = node.handed_by(asked.saturating_sub(GRACE))?;
    (handed >= first_tick(node.clock, life)).then(|| life.clone())
}

/// The tick with which a pod has its first numbers.
pub(crate) fn first_tick(clock: Clock, life: &Life) -> u64 {
    let has_window = |nth: u32| {
        let (read, counter) =
            (clock.reading(life.birth, life.series + nth), world::counter(clock, life, nth));
        counter.first(clock).is_some_and(|first| read.0 - first.time.0 >= SHORTEST)
    };
    life.birth + u64::from(!(has_window(2) && has_window(3)))
}

/// Nanoseconds of CPU time a second, rounded down.
fn rate(first: Sample, last: Sample) -> u64 {
    let used = u128::from(last.cpu.0 - first.cpu.0);
    u64::try_from(used * 1_000_000 / u128::from(last.time.0 - first.time.0)).unwrap()
}
