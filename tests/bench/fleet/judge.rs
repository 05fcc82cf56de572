//! Whether a served pod is exactly what its counters show: of which ticks its numbers are, found by trying those that
//! its timestamp and window allow. Pure but for the world's memory.

use kubevitals::sample::{BootTime, Sample};
use serde::Deserialize;

use crate::{
    api::forms::{Usage, duration, seconds},
    kernel::{Clock, Counter},
    world::{self, CONTAINERS, Life, World},
};

/// The longest window, ticks.
const WINDOW: u64 = 15;

/// A list of pods as its text has it.
#[derive(Debug, Deserialize)]
pub(crate) struct List<'a> {
    #[serde(borrow)]
    pub(crate) items: Vec<Item<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Item<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    timestamp: &'a str,
    window: &'a str,
    containers: Vec<Container<'a>>,
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
    /// The tick of its node, and when the earliest of its containers was read then, wall time in microseconds.
    pub(crate) tick: u64,
    pub(crate) read: u64,
    /// Length of its window in ticks, for a pod that is older.
    pub(crate) ticks: u64,
}

/// A pod's answer against what its counters show.
pub(crate) fn judge(world: &World, item: &Item<'_>) -> Result<Right, String> {
    let name = item.metadata.name;
    let (slot, generation) = world::read_name(name).ok_or_else(|| format!("{name}: no pod of this fleet"))?;
    let (clock, life) = world.find(slot, generation).ok_or_else(|| format!("{name}: long gone"))?;
    if !item.containers.iter().map(|container| container.name).eq(CONTAINERS) {
        return Err(format!("{name}: not all its containers: {item:?}"));
    }
    let served: Vec<Usage> = item
        .containers
        .iter()
        .map(|container| Usage::parse(container.usage.cpu, container.usage.memory))
        .collect();
    let window = u64::try_from(duration(item.window).as_micros()).unwrap();
    let timestamp = seconds(item.timestamp);
    let latest = world.tick_at(clock, (timestamp + 1) * 1_000_000);
    let pod = Pod { world, clock, life, window, served };
    (latest.saturating_sub(2)..=latest)
        .filter(|&tick| pod.read(tick) / 1_000_000 == timestamp)
        .find_map(|tick| pod.ending_at(tick))
        .ok_or_else(|| format!("{name}: served {item:?}, which no ticks make"))
}

/// A served pod that is looked for among the ticks.
struct Pod<'a> {
    world: &'a World,
    clock: Clock,
    life: Life,
    /// Microseconds.
    window: u64,
    served: Vec<Usage>,
}

impl Pod<'_> {
    fn counters(&self) -> [(Counter, u32); 2] {
        // Behind the pod's own series and its sandbox's.
        [2, 3].map(|nth| (world::counter(self.clock, &self.life, nth), self.life.series + nth))
    }

    /// When the first container is read in a tick, wall time in microseconds.
    fn read(&self, tick: u64) -> u64 {
        self.world.wall(self.clock.reading(tick, self.life.series + 2))
    }

    /// Whether the numbers are those of windows that end at this tick.
    fn ending_at(&self, tick: u64) -> Option<Right> {
        let oldest = tick.saturating_sub(WINDOW + 1).max(self.life.birth);
        let begins: Vec<Option<u64>> =
            (oldest..tick).rev().map(Some).chain((self.life.birth > 0).then_some(None)).collect();
        // Nearly always both windows begin at the same tick; a moment between two readings may part them.
        let same = begins.iter().map(|&begin| (begin, begin));
        let other = begins.windows(2).flat_map(|pair| [(pair[0], pair[1]), (pair[1], pair[0])]);
        let found = same.chain(other).find(|&(one, other)| self.is_made_of([one, other], tick));
        found.map(|(begin, _)| Right {
            tick,
            read: self.read(tick),
            ticks: tick - begin.unwrap_or(self.life.birth),
        })
    }

    /// Whether windows from these ticks (`None` is what was read at birth) make exactly what is served.
    fn is_made_of(&self, begins: [Option<u64>; 2], tick: u64) -> bool {
        let (mut start, mut end, mut is_right) = (BootTime(u64::MAX), BootTime(u64::MAX), true);
        for (((counter, series), begin), served) in self.counters().into_iter().zip(begins).zip(&self.served)
        {
            let last = counter.sample(self.clock, tick, series);
            let first = match begin {
                Some(begin) => Some(counter.sample(self.clock, begin, series)),
                None => counter.first(self.clock),
            };
            let Some(first) = first else { return false };
            (start, end) = (start.min(first.time), end.min(last.time));
            is_right &= served.nanocores == rate(first, last) && served.memory == last.working_set.bytes();
        }
        is_right && self.window == end.0 - start.0
    }
}

/// Nanoseconds of CPU time a second, rounded down.
fn rate(first: Sample, last: Sample) -> u64 {
    let used = u128::from(last.cpu.0 - first.cpu.0);
    u64::try_from(used * 1_000_000 / u128::from(last.time.0 - first.time.0)).unwrap()
}
