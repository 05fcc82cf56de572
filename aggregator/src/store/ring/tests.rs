use std::{collections::VecDeque, time::Duration};

use kubevitals::sample::{BootTime, CpuTime, Sample, WorkingSet};
use proptest::prelude::*;

use super::{alone::PACE, *};

const SECOND: u64 = 1_000_000;

fn sample(time: u64, cpu: u64) -> Sample {
    with_memory(time, cpu, 7)
}

fn with_memory(time: u64, cpu: u64, units: u32) -> Sample {
    Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set: WorkingSet::from_units(units) }
}

fn alone(ring: &Ring) -> Samples<'_> {
    ring.into()
}

/// The same as whole samples, every question answered by looking at all of them.
struct Whole {
    samples: VecDeque<Sample>,
    capacity: usize,
}

impl Whole {
    fn push(&mut self, sample: Sample) -> Result<(), Refused> {
        if let Some(newest) = self.samples.back() {
            if sample.time <= newest.time {
                return Err(Refused::NotLater);
            }
            if sample.cpu < newest.cpu {
                return Err(Refused::WentBack);
            }
        }
        self.samples.push_back(sample);
        if self.samples.len() > self.capacity {
            self.samples.pop_front();
        }
        Ok(())
    }

    fn at_or_before(&self, at: BootTime) -> Option<Sample> {
        self.samples.iter().rev().find(|held| held.time <= at).copied()
    }

    fn at_or_after(&self, at: BootTime) -> Option<Sample> {
        self.samples.iter().find(|held| held.time >= at).copied()
    }

    fn nearest(&self, at: BootTime) -> Option<Sample> {
        self.samples.iter().min_by_key(|held| (held.time.0.abs_diff(at.0), held.time)).copied()
    }
}

#[test]
fn a_sample_that_does_not_follow_is_refused_and_changes_nothing() {
    let mut ring = Ring::new(4);
    ring.push(sample(10, 100)).unwrap();
    assert_eq!(ring.push(sample(10, 100)), Err(Refused::NotLater));
    assert_eq!(ring.push(sample(9, 200)), Err(Refused::NotLater));
    assert_eq!(ring.push(sample(11, 99)), Err(Refused::WentBack));
    assert_eq!((alone(&ring).len(), alone(&ring).newest()), (1, Some(sample(10, 100))));
}

#[test]
fn the_oldest_makes_room() {
    let mut ring = Ring::new(3);
    for n in 1..=5 {
        ring.push(sample(n * 10, n)).unwrap();
    }
    assert_eq!((alone(&ring).oldest(), alone(&ring).newest()), (Some(sample(30, 3)), Some(sample(50, 5))));
}

#[test]
fn a_ring_that_grows_keeps_what_it_holds() {
    for pace in [PACE, Duration::from_millis(200)] {
        let mut ring = Ring::new(2);
        for n in 1..=3 {
            ring.push(sample(n * 10, n)).unwrap();
        }
        ring.sweeps.keep(4, pace);
        ring.push(sample(40, 4)).unwrap();
        ring.push(sample(50, 5)).unwrap();
        assert_eq!((alone(&ring).len(), alone(&ring).oldest()), (4, Some(sample(20, 2))));
        ring.sweeps.keep(2, pace);
        assert_eq!(alone(&ring).len(), 4, "it never shrinks");
    }
}

#[test]
fn nearest_prefers_the_earlier_of_two() {
    let mut ring = Ring::new(8);
    assert_eq!(alone(&ring).nearest(BootTime(0)), None);
    for time in [10, 20, 30] {
        ring.push(sample(time, time)).unwrap();
    }
    let nearest = |time| alone(&ring).nearest(BootTime(time)).unwrap().time.0;
    assert_eq!([nearest(0), nearest(14), nearest(15), nearest(16), nearest(99)], [10, 10, 10, 20, 30]);
    assert_eq!(alone(&ring).at_or_before(BootTime(9)), None);
    assert_eq!(alone(&ring).at_or_after(BootTime(20)), Some(sample(20, 20)));
    assert_eq!(alone(&ring).at_or_after(BootTime(21)), Some(sample(30, 30)));
    assert_eq!(alone(&ring).at_or_after(BootTime(31)), None);
}

#[test]
fn what_is_asked_of_the_end_of_time_is_answered() {
    let mut ring = Ring::new(3);
    ring.push(sample(1, 1)).unwrap();
    ring.push(sample(2, 1)).unwrap();
    let end = BootTime(u64::MAX);
    let samples = alone(&ring);
    assert_eq!((samples.nearest(end), samples.at_or_after(end)), (Some(sample(2, 1)), None));
}

#[test]
fn what_lies_too_far_back_makes_room() {
    let mut ring = Ring::new(3);
    ring.push(sample(10, 1)).unwrap();
    ring.push(sample(20, 1)).unwrap();
    let after = with_memory(20 + (1 << 60), u64::MAX, u32::MAX);
    ring.push(after).unwrap();
    assert_eq!(alone(&ring).iter().collect::<Vec<_>>(), [after]);
    let gap_of_a_day = [sample(10, 1), sample(86_400 * SECOND, 1 << 50)];
    let mut ring = Ring::new(3);
    for sample in gap_of_a_day {
        ring.push(sample).unwrap();
    }
    assert_eq!(alone(&ring).iter().collect::<Vec<_>>(), gap_of_a_day);
}

/// A minute of a container that uses about so many nanoseconds a second, read by a tick that is late by up to 200 us,
/// with its memory changing in every fourth second.
fn minutes(ring: &mut Ring, from: u64, seconds: u64, nanos: u64, unit: u64) {
    for n in from..from + seconds {
        let noise = n * 7919 % 997;
        let (time, cpu) = (n * SECOND + noise / 5, (n * nanos + nanos * noise / 2000) / unit * unit);
        let memory = 10_000 + u32::try_from(n / 4 * 31 % 100).unwrap();
        ring.push(with_memory(time, alone(ring).newest().map_or(cpu, |held| held.cpu.0.max(cpu)), memory))
            .unwrap();
    }
}

#[test]
fn a_minute_of_a_container_takes_far_less_than_whole_samples() {
    let bytes = |nanos, unit| {
        let mut ring = Ring::new(62);
        minutes(&mut ring, 1, 600, nanos, unit);
        ring.track.records().1 + size_of::<Track>()
    };
    // 10 thousandths of a core, as v1 and v2 count; and nothing.
    let measured = [bytes(9_999_991, 1), bytes(9_999_991, 1000), bytes(0, 1)];
    assert!(measured[0] <= 368 && measured[1] <= 296 && measured[2] <= 184, "{measured:?}");
}

#[test]
fn a_container_that_becomes_quiet_gives_memory_back() {
    let mut ring = Ring::new(62);
    for n in 1..=200 {
        let memory = if n % 2 == 0 { u32::MAX } else { 0 };
        ring.push(with_memory(n * 3 * SECOND, n << 50, memory)).unwrap();
    }
    let busy = ring.track.records().1;
    minutes(&mut ring, 1 << 20, 600, 0, 1);
    assert!(ring.track.records().1 * 2 < busy, "{} of {busy}", ring.track.records().1);
}

fn step() -> impl Strategy<Value = (u64, u64, u32)> {
    let time = prop_oneof![1_u64..4, 900_000_u64..1_100_000, 1_u64..1 << 26, Just(0)];
    let cpu =
        prop_oneof![Just(0_u64), 0_u64..1 << 24, 0_u64..1 << 40, (0_u64..1 << 20).prop_map(|n| n * 1000)];
    (time, cpu, prop_oneof![Just(7_u32), 0_u32..300, any::<u32>()])
}

proptest! {
    /// Whatever is pushed, also when it goes back or the ring grows meanwhile, and whether the sweeps are known, and whether
    /// it has a sample in each: all questions have the answers that whole samples give.
    #[test]
    fn behaves_like_a_queue_of_whole_samples(
        capacity in 2_usize..70,
        pace in prop_oneof![Just(PACE), (1_u64..1 << 40).prop_map(Duration::from_micros)],
        steps in proptest::collection::vec((step(), 0_u8..30), 1..200),
        is_swept in any::<bool>(),
        grown in any::<prop::sample::Index>(),
        falls in any::<prop::sample::Index>(),
        asked in any::<prop::sample::Index>(),
        beside in 0_u64..5,
    ) {
        let (mut track, mut slab, mut sweeps) = (Track::default(), Slab::default(), Sweeps::default());
        let mut model = Whole { samples: VecDeque::new(), capacity };
        sweeps.keep(capacity, pace);
        let (mut time, mut cpu) = (1 << 33, 1 << 20);
        for (n, &((later, more, memory), chance)) in steps.iter().enumerate() {
            if n == grown.index(steps.len()) {
                model.capacity += 3;
                sweeps.keep(model.capacity, PACE);
            }
            (time, cpu) = (time + later, cpu + more);
            if is_swept && chance != 0 {
                sweeps.begin(BootTime(time - later.min(u64::from(chance))));
            }
            let falls = u64::from(n == falls.index(steps.len()));
            let sample = with_memory(time, cpu - falls, memory);
            // One in thirty is left out of the sweep.
            if chance != 1 {
                prop_assert_eq!(track.push(sample, &sweeps, &mut slab), model.push(sample));
            }
            if track.lags(&sweeps) {
                track.settle(&sweeps, &mut slab);
            }
            slab.tidy(std::slice::from_mut(&mut track));
            let samples = Samples::new(&track, &slab, &sweeps);
            prop_assert_eq!(samples.newest(), model.samples.back().copied());
            prop_assert_eq!(samples.len(), model.samples.len());
        }
        prop_assume!(!model.samples.is_empty());
        let samples = Samples::new(&track, &slab, &sweeps);
        let held: Vec<Sample> = (0..=samples.len()).filter_map(|nth| samples.get(nth)).collect();
        prop_assert_eq!(&held, &Vec::from(model.samples.clone()));
        prop_assert_eq!(samples.oldest(), model.samples.front().copied());
        prop_assert!(samples.iter().eq(model.samples.iter().copied()));
        for at in [model.samples[asked.index(model.samples.len())].time.0 - 2 + beside, 0, time, u64::MAX] {
            let at = BootTime(at);
            prop_assert_eq!(samples.at_or_before(at), model.at_or_before(at));
            prop_assert_eq!(samples.at_or_after(at), model.at_or_after(at));
            prop_assert_eq!(samples.nearest(at), model.nearest(at));
        }
    }
}

proptest! {
    /// Rings of one slab, of samples that need more bits now and fewer then: none loses a sample to another, and what is
    /// dead is a small part.
    #[test]
    fn rings_of_one_slab_do_not_disturb_each_other(
        steps in proptest::collection::vec((0_usize..5, step(), 0_u8..40), 1..400),
    ) {
        let (mut slab, mut sweeps) = (Slab::default(), Sweeps::default());
        sweeps.keep(12, PACE);
        let mut tracks: Vec<Track> = (0..5).map(|_| Track::default()).collect();
        let mut models: Vec<Whole> = (0..5).map(|_| Whole { samples: VecDeque::new(), capacity: 12 }).collect();
        let (mut time, mut cpu) = (1 << 33, 1 << 20);
        for (nth, (later, more, memory), chance) in steps {
            (time, cpu) = (time + later, cpu + more);
            if chance == 0 {
                tracks[nth].clear(&mut slab);
                models[nth].samples.clear();
            }
            let sample = with_memory(time, cpu, memory);
            prop_assert_eq!(tracks[nth].push(sample, &sweeps, &mut slab), models[nth].push(sample));
            slab.tidy(&mut tracks);
            for (track, model) in tracks.iter().zip(&models) {
                prop_assert!(Samples::new(track, &slab, &sweeps).iter().eq(model.samples.iter().copied()));
            }
        }
    }
}
