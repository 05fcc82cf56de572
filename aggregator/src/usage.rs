//! Two samples of one counter to a usage, or the reason why there is none. Pure.

use std::time::Duration;

use kubevitals::sample::{BootTime, Sample, WorkingSet};
use smallvec::SmallVec;

use crate::store::ring::Samples;

/// One for each container of a pod. Most pods have few, and for those no memory is asked for: lists make one of these for every
/// pod.
pub type PerContainer<T> = SmallVec<[T; 4]>;

/// What was used over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Where the window begins.
    pub start: BootTime,
    /// Where it ends: when the newest sample used was read.
    pub end: BootTime,
    /// Average CPU over the window, nanoseconds of CPU time per second.
    pub cpu_nanocores: u64,
    /// At the window's end.
    pub working_set: WorkingSet,
}

/// Why there is no usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoUsage {
    /// Nothing was ever read.
    NoSample,
    /// One reading makes no rate.
    FirstSample,
    /// The readings are too close together for a rate that means anything.
    WindowTooShort,
}

/// The window asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How long it should be.
    pub length: Duration,
    /// How short it may be, for a young container.
    pub shortest: Duration,
    /// The window ends at the newest sample not later than this.
    pub until: BootTime,
    /// The window should not begin before this: when the container became ready.
    pub not_before: Option<BootTime>,
}

/// The usage over the window: from the sample nearest to its begin to the newest within it.
pub fn usage<'a>(samples: impl Into<Samples<'a>>, window: &Window) -> Result<Usage, NoUsage> {
    let ring = samples.into();
    let end = ring.at_or_before(window.until).ok_or(NoUsage::NoSample)?;
    let start = start(ring, window, end).ok_or(NoUsage::FirstSample)?;
    if end.time.since(start.time) < window.shortest {
        return Err(NoUsage::WindowTooShort);
    }
    let usage = Usage {
        start: start.time,
        end: end.time,
        cpu_nanocores: nanocores(start, end).ok_or(NoUsage::FirstSample)?,
        working_set: end.working_set,
    };
    Ok(usage)
}

fn start(ring: Samples<'_>, window: &Window, end: Sample) -> Option<Sample> {
    let length = u64::try_from(window.length.as_micros()).unwrap_or(u64::MAX);
    let wanted = BootTime(end.time.0.saturating_sub(length));
    let nearest = ring.nearest(wanted);
    let early = |begin: &BootTime| nearest.is_some_and(|start| start.time < *begin);
    let clipped = window.not_before.filter(early).and_then(|begin| ring.at_or_after(begin));
    let start = clipped.filter(|sample| sample.time < end.time).or(nearest)?;
    if start.time < end.time {
        return Some(start);
    }
    // The nearest to the begin is the end itself: a gap lies before it. Any earlier sample will do.
    ring.at_or_before(BootTime(end.time.0.checked_sub(1)?))
}

/// The counter's difference over the time between, rounded down to whole nanocores. `None` without time between
/// or with a counter that fell; two samples of a ring have neither.
#[must_use]
pub fn nanocores(start: Sample, end: Sample) -> Option<u64> {
    let micros = end.time.0.checked_sub(start.time.0).filter(|&micros| micros > 0)?;
    let used = end.cpu.0.checked_sub(start.cpu.0)?;
    // ns of CPU per s = used * 10^6 / micros; 64 bits would overflow after 5 hours of CPU time.
    u64::try_from(u128::from(used) * 1_000_000 / u128::from(micros)).ok()
}

#[cfg(test)]
mod tests {
    use kubevitals::sample::CpuTime;
    use proptest::prelude::*;

    use super::*;
    use crate::store::ring::Ring;

    const SECOND: u64 = 1_000_000;

    fn ring(samples: &[(u64, u64, u32)]) -> Ring {
        let mut ring = Ring::new(64);
        for &(time, cpu, units) in samples {
            let working_set = WorkingSet::from_units(units);
            ring.push(Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set }).unwrap();
        }
        ring
    }

    fn window(seconds: u64) -> Window {
        let length = Duration::from_secs(seconds);
        Window { length, shortest: Duration::from_millis(250), until: BootTime(u64::MAX), not_before: None }
    }

    /// Half a core: one sample a second for `count` seconds.
    fn half_a_core(count: u64) -> Ring {
        ring(&(1..=count).map(|n| (n * SECOND, n * 500_000_000, 3)).collect::<Vec<_>>())
    }

    #[test]
    fn the_rate_is_the_counters_difference_over_the_true_window() {
        let usage = usage(&half_a_core(30), &window(15)).unwrap();
        assert_eq!((usage.start, usage.end), (BootTime(15 * SECOND), BootTime(30 * SECOND)));
        assert_eq!(usage.cpu_nanocores, 500_000_000);
    }

    #[test]
    fn a_young_container_uses_what_there_is() {
        let usage = usage(&half_a_core(4), &window(15)).unwrap();
        assert_eq!((usage.start, usage.end), (BootTime(SECOND), BootTime(4 * SECOND)));
    }

    #[test]
    fn an_idle_container_uses_zero_and_that_is_a_measurement() {
        let usage = usage(&ring(&[(SECOND, 9, 1), (2 * SECOND, 9, 0)]), &window(15)).unwrap();
        assert_eq!((usage.cpu_nanocores, usage.working_set.bytes()), (0, 0));
    }

    #[test]
    fn each_lack_has_its_reason() {
        assert_eq!(usage(&ring(&[]), &window(15)), Err(NoUsage::NoSample));
        assert_eq!(usage(&ring(&[(5, 5, 5)]), &window(15)), Err(NoUsage::FirstSample));
        assert_eq!(usage(&ring(&[(5, 5, 5), (9, 9, 5)]), &window(15)), Err(NoUsage::WindowTooShort));
    }

    #[test]
    fn a_gap_makes_the_window_longer_and_the_rate_stays_true() {
        let usage = usage(&ring(&[(SECOND, 0, 1), (41 * SECOND, 40_000_000_000, 1)]), &window(15)).unwrap();
        assert_eq!((usage.start, usage.cpu_nanocores), (BootTime(SECOND), 1_000_000_000));
    }

    #[test]
    fn a_window_in_the_past_ends_at_the_sample_before() {
        let past = Window { until: BootTime(20 * SECOND + 5), ..window(10) };
        let usage = usage(&half_a_core(30), &past).unwrap();
        assert_eq!((usage.start, usage.end), (BootTime(10 * SECOND), BootTime(20 * SECOND)));
    }

    #[test]
    fn the_window_begins_when_the_container_became_ready() {
        // Two cores while starting for 10 s, then a tenth.
        let mut samples: Vec<_> = (0..=10).map(|n| (n * SECOND, n * 2_000_000_000, 1)).collect();
        samples.extend((11..=18).map(|n| (n * SECOND, 20_000_000_000 + (n - 10) * 100_000_000, 1)));
        let clipped = Window { not_before: Some(BootTime(10 * SECOND)), ..window(15) };
        let usage = usage(&ring(&samples), &clipped).unwrap();
        assert_eq!((usage.start, usage.cpu_nanocores), (BootTime(10 * SECOND), 100_000_000));
    }

    proptest! {
        #[test]
        fn any_rate_times_its_window_is_the_difference_within_one_nanocore(
            steps in proptest::collection::vec((1_u64..3 * SECOND, 0_u64..10_000_000_000), 2..80), seconds in 1_u64..60,
        ) {
            let (mut time, mut cpu, mut samples) = (0, 0, Vec::new());
            for (later, more) in steps {
                time += later;
                cpu += more;
                samples.push((time, cpu, 1));
            }
            let ring = ring(&samples);
            let Ok(usage) = usage(&ring, &window(seconds)) else { return Ok(()) };
            let at = |time| Samples::from(&ring).at_or_before(time).unwrap().cpu.0;
            let used = u128::from(at(usage.end) - at(usage.start));
            let micros = u128::from(usage.end.0 - usage.start.0);
            let rate = u128::from(usage.cpu_nanocores);
            prop_assert!(rate * micros <= used * 1_000_000 && used * 1_000_000 < (rate + 1) * micros);
        }
    }
}
