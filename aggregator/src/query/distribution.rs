//! Short rates within a window, and their percentiles. Pure.
//!
//! A window is cut into steps of one second, or of the agent's interval where that is longer, at the samples that are
//! there: between two steps lies no time, and their mean by time is the rate over the window. Percentiles are by
//! nearest rank, so each is a rate that occurred.

use std::time::Duration;

use kubevitals::{
    sample::{BootTime, Sample},
    wire,
};

use crate::{store::ring::Ring, usage::nanocores};

/// How long a step is, unless the agent's interval is longer.
const STEP: Duration = Duration::from_secs(1);

/// What is known of the short rates within one window, nanocores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// How many rates.
    pub count: u32,
    /// The highest.
    pub max: u64,
    /// Half of them are not higher.
    pub p50: u64,
    /// Nine of ten are not higher.
    pub p90: u64,
    /// 99 of 100 are not higher.
    pub p99: u64,
}

impl Distribution {
    /// Of these rates, in any order; `None` of fewer than two.
    #[must_use]
    pub fn of(mut rates: Vec<u64>) -> Option<Self> {
        rates.sort_unstable();
        let count = u32::try_from(rates.len()).ok().filter(|&count| count >= 2)?;
        // The smallest rate that so many of a hundred are not higher than.
        let rank = |percent: usize| rates.get((rates.len() * percent).div_ceil(100).checked_sub(1)?).copied();
        let max = rates.last().copied()?;
        Some(Self { count, max, p50: rank(50)?, p90: rank(90)?, p99: rank(99)? })
    }
}

impl From<Distribution> for wire::Distribution {
    fn from(of: Distribution) -> Self {
        Self { count: of.count, max: of.max, p50: of.p50, p90: of.p90, p99: of.p99 }
    }
}

/// One counter over its window, which begins and ends with a sample.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// Its samples.
    pub ring: &'a Ring,
    /// Where its window begins.
    pub start: BootTime,
    /// Where its window ends.
    pub end: BootTime,
}

/// The distribution of one counter's rates, or of the sums of several at the same steps: in the time in which all of
/// them were read. `None` with fewer than two steps.
#[must_use]
pub fn distribution(spans: &[Span<'_>], interval: Duration) -> Option<Distribution> {
    let first = spans.first()?;
    let start = spans.iter().map(|span| span.start).max()?;
    let end = spans.iter().map(|span| span.end).min()?;
    let mut sums: Vec<u64> = Vec::new();
    // Where the steps begin and end is decided by the first; the others were read in the same sweeps.
    let edges = edges(first, start, end, interval);
    for span in spans {
        let rates = rates(span, &edges)?;
        sums.resize(rates.len(), 0);
        for (sum, rate) in sums.iter_mut().zip(rates) {
            *sum = sum.saturating_add(rate);
        }
    }
    Distribution::of(sums)
}

/// The times at which steps begin and end, ascending: the samples nearest to a step apart. What is left at the end and
/// shorter than half a step belongs to the last one.
fn edges(span: &Span<'_>, start: BootTime, end: BootTime, interval: Duration) -> Vec<BootTime> {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let (step, half) = (micros(STEP.max(interval)), micros(interval) / 2);
    let samples = Samples::of(span.ring, start);
    let next = |from: BootTime| {
        // A sweep may come a little early.
        let wanted = BootTime(from.0.saturating_add(step).saturating_sub(half).max(from.0.saturating_add(1)));
        samples.at_or_after(wanted).map(|sample| sample.time).filter(|&time| time <= end)
    };
    let Some(begin) = samples.nearest(start).map(|sample| sample.time) else { return Vec::new() };
    let mut edges = vec![begin];
    while let Some(time) = edges.last().copied().and_then(next) {
        edges.push(time);
    }
    let last = samples.at_or_before(end).map(|sample| sample.time);
    if let (Some(edge), Some(last)) = (edges.last().copied(), last)
        && edge < last
    {
        if edges.len() > 1 && last.0 - edge.0 < step / 2 {
            edges.pop();
        }
        edges.push(last);
    }
    edges
}

/// The rate of one counter from each edge to the next, by its samples nearest to them. `None` where it has no two
/// different ones, or one was read twice: then it was not read in the same sweeps.
fn rates(span: &Span<'_>, edges: &[BootTime]) -> Option<Vec<u64>> {
    let samples = Samples::of(span.ring, *edges.first()?);
    let points: Vec<Sample> = edges.iter().map(|edge| samples.nearest(*edge)).collect::<Option<_>>()?;
    points.iter().zip(points.iter().skip(1)).map(|(&from, &to)| nanocores(from, to)).collect()
}

/// Samples of a ring that were read out of it once, ascending: a ring finds each by going back to it, which for every
/// step of a window of minutes would take longer than all else under the node's lock.
struct Samples(Vec<Sample>);

impl Samples {
    /// Those from `start` on and the last one that is not later, so that times from `start` on have the same answers as
    /// of the ring.
    fn of(ring: &Ring, start: BootTime) -> Self {
        let mut is_enough = false;
        let needed = |sample: &Sample| !std::mem::replace(&mut is_enough, sample.time <= start);
        let mut samples: Vec<Sample> = ring.iter().take_while(needed).collect();
        samples.reverse();
        Self(samples)
    }

    fn at_or_after(&self, time: BootTime) -> Option<Sample> {
        self.0.get(self.0.partition_point(|sample| sample.time < time)).copied()
    }

    fn at_or_before(&self, time: BootTime) -> Option<Sample> {
        let later = self.0.partition_point(|sample| sample.time <= time);
        self.0.get(later.checked_sub(1)?).copied()
    }

    /// Of two equally near ones the earlier.
    fn nearest(&self, time: BootTime) -> Option<Sample> {
        let (before, after) = (self.at_or_before(time), self.at_or_after(time));
        let is_nearer = |later: &Sample, sooner: Sample| later.time.0 - time.0 < time.0 - sooner.time.0;
        match before {
            Some(sooner) => after.filter(|later| is_nearer(later, sooner)).or(before),
            None => after,
        }
    }
}

#[cfg(test)]
mod tests;
