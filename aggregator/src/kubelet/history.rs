//! The last points of one counter that a kubelet reports, and the rule that admits a new one. Pure.
//!
//! A rate is made of the two newest distinct points. What is served never goes back in time, and no rate spans two
//! counters: a container that restarted begins anew. While a node changes over from its agent, the agent's last
//! sample is one point more, if both read the same kernel counter.

use std::time::Duration;

use kubevitals::sample::{CpuTime, WallTime};

/// The readings of a rate are at least so far apart; over less, it shows how the kubelet's reader schedules itself.
const SHORTEST: Duration = Duration::from_secs(1);

/// What was read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// By the node's clock.
    pub time: WallTime,
    /// The CPU counter.
    pub cpu: CpuTime,
    /// Working set, bytes. Not whole pages on every system, so it is kept as it came.
    pub memory_bytes: u64,
}

/// A point, and when its counter began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What was read.
    pub point: Point,
    /// When the container started; none for a node.
    pub start: Option<WallTime>,
}

/// Which births are a point of their own: a container's counter was 0 when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Births {
    /// It is at least so old: younger ones are still starting up, and a start time is not exact.
    pub least: Duration,
    /// It started after this: the page before could not show it yet.
    pub after: WallTime,
}

/// The usage that two points make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Where the window begins.
    pub begin: WallTime,
    /// The newer point.
    pub end: Point,
    /// Nanoseconds of CPU time per second.
    pub cpu_nanocores: u64,
}

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest point now.
    Added,
    /// It is the first point of its counter.
    Began,
    /// It is the newest that is held already, or an earlier one.
    NotLater,
}

/// The points of one counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    first: Option<Point>,
    last: Option<Point>,
    start: Option<WallTime>,
    /// What is not later was already served from elsewhere.
    floor: WallTime,
}

impl History {
    /// Takes over what a kubelet says.
    pub fn take(&mut self, reading: &Reading, births: &Births) -> Taken {
        let Some(last) = self.last else {
            self.begin(reading, births);
            return Taken::Began;
        };
        if reading.point.time <= last.time {
            return Taken::NotLater;
        }
        if self.is_other(reading, last) {
            self.begin(reading, births);
            return Taken::Began;
        }
        self.start = self.start.or(reading.start);
        self.add(reading.point);
        Taken::Added
    }

    /// Begins anew: the next point is of another counter, whatever it looks like.
    pub fn reset(&mut self) {
        *self =
            Self { floor: self.floor.max(self.last.map_or(self.floor, |last| last.time)), ..Self::default() };
    }

    /// Takes over the newest sample of the node's agent. `same` tells whether both read the same counter; if not,
    /// or if that cannot be told, it only bounds what may be served.
    pub fn take_agents(&mut self, point: Point, same: bool) {
        if point.time <= self.floor {
            return;
        }
        self.floor = point.time;
        match self.last {
            Some(last) if point.time <= last.time => {}
            Some(last) if same && point.cpu >= last.cpu => self.add(point),
            _ if same => *self = Self { first: None, last: Some(point), ..*self },
            _ => {}
        }
    }

    fn begin(&mut self, reading: &Reading, births: &Births) {
        let birth = reading.start.filter(|&start| {
            start > births.after && span(start, reading.point.time).is_some_and(|age| age >= births.least)
        });
        let birth = birth.map(|time| Point { time, cpu: CpuTime(0), memory_bytes: 0 });
        *self = Self { first: birth, last: Some(reading.point), start: reading.start, floor: self.floor };
    }

    /// Whether a later reading is of another counter than the last.
    fn is_other(&self, reading: &Reading, last: Point) -> bool {
        let restarted = match (self.start, reading.start) {
            (Some(before), Some(now)) => now > before,
            (None, Some(now)) => now > last.time,
            (_, None) => false,
        };
        restarted || reading.point.cpu < last.cpu
    }

    fn add(&mut self, point: Point) {
        let Some(last) = self.last else { return };
        let is_apart = span(last.time, point.time).is_some_and(|apart| apart >= SHORTEST);
        match (is_apart, self.first) {
            (true, _) => (self.first, self.last) = (Some(last), Some(point)),
            // The window reaches back to the point before.
            (false, Some(_)) => self.last = Some(point),
            // The next one will be far enough from the one that is held.
            (false, None) => {}
        }
    }

    /// The usage that the two newest points make. None while what they end with was served from elsewhere.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let (first, end) = (self.first?, self.last?);
        let micros = end.time.0.checked_sub(first.time.0).filter(|&micros| micros > 0)?;
        let used = end.cpu.0.checked_sub(first.cpu.0)?;
        let nanocores = u64::try_from(u128::from(used) * 1_000_000 / u128::from(micros)).ok()?;
        (end.time > self.floor).then_some(Rate { begin: first.time, end, cpu_nanocores: nanocores })
    }

    /// The newest point.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.last
    }

    /// When the counter began, if the page told.
    #[must_use]
    pub fn start(&self) -> Option<WallTime> {
        self.start
    }
}

/// The time between; `None` when `later` is earlier.
pub(super) fn span(earlier: WallTime, later: WallTime) -> Option<Duration> {
    later.0.checked_sub(earlier.0).map(Duration::from_micros)
}

/// What an agent's samples say about a kubelet's reading of a counter that may be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// The agent's newest sample.
    pub newest: Point,
    /// Its counter a little before the reading, if it reaches back so far.
    pub before: Option<CpuTime>,
    /// Its counter a little after the reading, if that is not later than the newest sample.
    pub after: Option<CpuTime>,
    /// The node's CPUs; 0 when unknown.
    pub cpus: u32,
}

/// Whether a kubelet's reading and an agent's samples are of the same kernel counter: the container is the same by
/// its id already. Its counter lies between the agent's where the agent was there, and is not further from the
/// agent's last than the node's CPUs can have counted since.
#[must_use]
pub fn is_same_counter(reading: &Reading, witness: &Witness) -> bool {
    let Witness { newest, before, after, cpus } = *witness;
    let (time, cpu) = (reading.point.time, reading.point.cpu);
    if reading.start.is_some_and(|start| start > newest.time) {
        return false;
    }
    let Some(since) = span(newest.time, time) else {
        // Without an earlier or a later sample beside it, that side says nothing.
        return (before.is_some() || after.is_some())
            && before.is_none_or(|before| before <= cpu)
            && after.unwrap_or(newest.cpu) >= cpu;
    };
    // Readings are stamped a little beside the moment they are taken.
    let most = (since + SHORTEST).as_nanos() * u128::from(if cpus == 0 { 4096 } else { cpus });
    cpu.0.checked_sub(newest.cpu.0).is_some_and(|used| u128::from(used) <= most)
}

#[cfg(test)]
mod tests;
