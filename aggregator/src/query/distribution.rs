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

use crate::{store::ring::Samples, usage::nanocores};

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
    pub ring: Samples<'a>,
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
    let next = |from: BootTime| {
        // A sweep may come a little early.
        let wanted = BootTime(from.0.saturating_add(step).saturating_sub(half).max(from.0.saturating_add(1)));
        span.ring.at_or_after(wanted).map(|sample| sample.time).filter(|&time| time <= end)
    };
    let Some(begin) = span.ring.nearest(start).map(|sample| sample.time) else { return Vec::new() };
    let mut edges = vec![begin];
    while let Some(time) = edges.last().copied().and_then(next) {
        edges.push(time);
    }
    let last = span.ring.at_or_before(end).map(|sample| sample.time);
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
    let at = |edge: &BootTime| span.ring.nearest(*edge);
    let points: Vec<Sample> = edges.iter().map(at).collect::<Option<_>>()?;
    points.iter().zip(points.iter().skip(1)).map(|(&from, &to)| nanocores(from, to)).collect()
}

#[cfg(test)]
mod tests;
