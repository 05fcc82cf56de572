use kubevitals::sample::{CpuTime, WorkingSet};
use proptest::prelude::*;

use super::*;
use crate::store::ring::Ring;

const SECOND: u64 = 1_000_000;

/// Times in microseconds, counters in nanoseconds.
fn ring(samples: &[(u64, u64)]) -> Ring {
    let mut ring = Ring::new(400);
    for &(time, cpu) in samples {
        let working_set = WorkingSet::from_units(1);
        ring.push(Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set }).unwrap();
    }
    ring
}

fn whole(ring: &Ring) -> Span<'_> {
    let ring = Samples::from(ring);
    Span { ring, start: ring.oldest().unwrap().time, end: ring.newest().unwrap().time }
}

/// One core every fourth second, else nothing, read each second.
fn bursts() -> Ring {
    let used = (0..=20).map(|n: u64| (n * SECOND, n / 4 * 1_000_000_000));
    ring(&used.collect::<Vec<_>>())
}

#[test]
fn bursts_that_a_mean_hides_are_seen() {
    let found = distribution(&[whole(&bursts())], Duration::from_secs(1)).unwrap();
    assert_eq!(
        found,
        Distribution { count: 20, max: 1_000_000_000, p50: 0, p90: 1_000_000_000, p99: 1_000_000_000 }
    );
}

#[test]
fn fewer_than_two_rates_have_no_distribution() {
    let one = ring(&[(0, 0), (SECOND, 5)]);
    assert_eq!(distribution(&[whole(&one)], Duration::from_secs(1)), None);
    assert_eq!(distribution(&[], Duration::from_secs(1)), None);
    assert_eq!(Distribution::of(vec![7]), None);
}

#[test]
fn percentiles_are_values_that_occurred() {
    let found = Distribution::of((1..=200).rev().collect()).unwrap();
    assert_eq!(found, Distribution { count: 200, max: 200, p50: 100, p90: 180, p99: 198 });
    assert_eq!(Distribution::of(vec![3, 1]).map(|found| (found.p50, found.p90)), Some((1, 3)));
}

#[test]
fn steps_are_a_second_where_ticks_are_shorter_and_a_tick_where_they_are_longer() {
    let each = |micros: u64, count: u64| ring(&(0..=count).map(|n| (n * micros, n)).collect::<Vec<_>>());
    let count = |ring: &Ring, interval: u64| {
        distribution(&[whole(ring)], Duration::from_micros(interval)).unwrap().count
    };
    assert_eq!(count(&each(SECOND / 5, 50), SECOND / 5), 10);
    assert_eq!(count(&each(5 * SECOND, 10), 5 * SECOND), 10);
}

#[test]
fn a_pod_has_the_sums_of_its_containers_at_the_same_steps() {
    // Read four milliseconds after the first, and busy when that is idle.
    let other = (0..=20).map(|n: u64| (n * SECOND + 4000, (n - n / 4) * 1_000_000_000));
    let (one, other) = (bursts(), ring(&other.collect::<Vec<_>>()));
    let found = distribution(&[whole(&one), whole(&other)], Duration::from_secs(1)).unwrap();
    let core = 1_000_000_000;
    assert_eq!((found.max, found.p50), (core, core));
    // A container that began later leaves out the steps before.
    let young = ring(&(15..=20).map(|n: u64| (n * SECOND + 4000, 0)).collect::<Vec<_>>());
    let found = distribution(&[whole(&one), whole(&young)], Duration::from_secs(1)).unwrap();
    assert_eq!((found.count, found.max), (5, core));
}

proptest! {
    #[test]
    fn percentiles_ascend(rates in proptest::collection::vec(0..5_000_u64, 2..400)) {
        let found = Distribution::of(rates.clone()).unwrap();
        prop_assert!(found.p50 <= found.p90 && found.p90 <= found.p99 && found.p99 <= found.max);
        prop_assert_eq!(Some(&found.max), rates.iter().max());
        for (percentile, percent) in [(found.p50, 50), (found.p90, 90), (found.p99, 99)] {
            let below = rates.iter().filter(|&&rate| rate <= percentile).count();
            prop_assert!(rates.contains(&percentile) && below * 100 >= rates.len() * percent);
        }
    }

    /// Samples at any pace, with gaps.
    #[test]
    fn steps_make_up_the_window_and_their_mean_is_its_rate(
        interval in 200_000..3_000_000_u64,
        gaps in proptest::collection::vec((0..20_u64, 1..5_000_u64, 0..2_000_000_000_u64), 2..100),
        skipped in 0..30_usize,
    ) {
        let (mut time, mut cpu) = (0, 0);
        let mut samples = vec![(0, 0)];
        for (n, &(late, missed, used)) in gaps.iter().enumerate() {
            time += interval + late * 1000 + if n % 17 == 0 { missed * 1000 } else { 0 };
            cpu += used;
            samples.push((time, cpu));
        }
        let ring = ring(&samples);
        let begin = samples[skipped.min(samples.len() - 2)];
        let span = Span { start: BootTime(begin.0), ..whole(&ring) };
        let edges = edges(&span, span.start, span.end, Duration::from_micros(interval));
        prop_assert_eq!((edges.first().copied(), edges.last().copied()), (Some(span.start), Some(span.end)));
        prop_assert!(edges.is_sorted());
        let rates = rates(&span, &edges).unwrap();
        let steps = edges.iter().zip(edges.iter().skip(1)).map(|(from, to)| u128::from(to.0 - from.0));
        let weighted: u128 = rates.iter().zip(steps).map(|(&rate, step)| u128::from(rate) * step).sum();
        let length = u128::from(span.end.0 - span.start.0);
        let mean = weighted / length;
        let rate = u128::from(cpu - begin.1) * 1_000_000 / length;
        // Each rate is rounded down to a whole nanocore.
        prop_assert!(mean <= rate && rate - mean <= 1, "{mean} {rate}");
    }
}
