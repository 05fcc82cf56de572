//! What an agent that does wrong may take of the memory. What is served is tested in `view`.

use kubevitals::{
    chain::{Decoder, Encoder, EndReason, Farewell},
    limits::MAX_SERIES,
    sample::{ContainerId, CpuTime, Detail, PodUid, Subject, WorkingSet},
};

use super::*;

fn announcement(series: u32, container: u32) -> Announcement {
    let (pod, id) = (PodUid::new("abc").unwrap(), ContainerId::new(&container.to_string()).unwrap());
    let subject = Subject::Container { pod, id, qos: None };
    Announcement { series: SeriesId(series), subject, inode: series.into(), first: None, birth: None }
}

#[test]
fn a_container_that_comes_and_goes_without_end_is_kept_once() {
    let places = Places::new(10);
    let mut state = NodeState::new(places.clone(), Duration::from_secs(60));
    for series in 1..1000 {
        let ended = Farewell { series: SeriesId(series - 1), reason: EndReason::Removed };
        let (time, wall) = (BootTime(series.into()), WallTime(series.into()));
        let (ended, announced) = (vec![ended], vec![announcement(series, 1)]);
        let tick = Tick { sequence: series.into(), time, wall, ended, announced, ..Tick::default() };
        state.apply(&tick, Instant::now());
        assert!(state.ended.len() <= 1, "{}", state.ended.len());
    }
    assert_eq!((places.taken(), state.counters.len()), (1, 1));
}

#[test]
fn one_node_does_not_take_all_places() {
    let most = u32::try_from(MAX_SERIES).unwrap() + 1;
    let places = Places::new(MAX_SERIES * 2);
    let mut state = NodeState::new(places.clone(), Duration::ZERO);
    let announced = |from: u32| (from..from + most / 2).map(|series| announcement(series, series)).collect();
    let mut tick = Tick { time: BootTime(1), announced: announced(1), ..Tick::default() };
    for round in 1..5 {
        state.apply(&tick, Instant::now());
        let farewell = |one: &Announcement| Farewell { series: one.series, reason: EndReason::Removed };
        tick.ended = tick.announced.iter().map(farewell).collect();
        tick.announced = announced(1 + round * most);
        tick.time = BootTime(1 + u64::from(round));
    }
    assert_eq!(places.taken(), MAX_SERIES + 1);
}

/// A chain that announced containers 1 to `count` with swap of as many units, over the real encoding.
fn chain(count: u32) -> (Encoder, Decoder) {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new());
    encoder.begin(BootTime(1_000_000), WallTime(1_000_000));
    for n in 1..=count {
        encoder.announce(&announcement(n, n));
        let sample =
            Sample { time: BootTime(1_000_000), cpu: CpuTime(0), working_set: WorkingSet::from_units(1) };
        encoder.sample(sample, Some(&swap(n.into())));
    }
    decoder.batch(&encoder.finish().1).unwrap();
    (encoder, decoder)
}

fn swap(bytes: u64) -> Details {
    let mut details = Details::default();
    details.set(Detail::Swap, Some(bytes));
    details
}

fn held(state: &NodeState, container: u32) -> Option<u64> {
    let counter = CounterRef::Container(ContainerId::new(&container.to_string()).unwrap());
    state.details(&counter)?.get(Detail::Swap)
}

#[test]
fn details_come_with_a_snapshot_change_with_ticks_and_go_with_their_container() {
    let (_, decoder) = chain(2);
    let mut state = NodeState::new(Places::new(10), Duration::from_secs(60));
    state.restart(&decoder, |_| true);
    assert_eq!((held(&state, 1), held(&state, 2)), (Some(1), Some(2)));
    let tick = |seconds: u64, details, ended| Tick {
        sequence: seconds,
        time: BootTime(seconds * 1_000_000),
        details,
        ended,
        ..Tick::default()
    };
    let changes = vec![(SeriesId(1), Detail::Swap, Some(7)), (SeriesId(2), Detail::Swap, None)];
    state.apply(&tick(2, changes, Vec::new()), Instant::now());
    assert_eq!((held(&state, 1), held(&state, 2)), (Some(7), None));
    let ended = vec![Farewell { series: SeriesId(1), reason: EndReason::Removed }];
    state.apply(&tick(3, Vec::new(), ended), Instant::now());
    assert_eq!(held(&state, 1), Some(7), "as its samples, for the pictures that are held");
    state.apply(&tick(3 + KEEP_ENDED.as_secs() + 1, Vec::new(), Vec::new()), Instant::now());
    assert_eq!(held(&state, 1), None);
}

/// Only changes of details are sent, so one that was given its place late has heard nothing of those before.
#[test]
fn a_container_that_is_given_a_place_late_has_all_its_details() {
    let (_, decoder) = chain(2);
    let mut state = NodeState::new(Places::new(1), Duration::from_secs(60));
    state.restart(&decoder, |_| true);
    let first = if held(&state, 1).is_some() { 1 } else { 2 };
    let ended = vec![Farewell { series: SeriesId(first), reason: EndReason::Removed }];
    let gone = Tick { sequence: 2, time: BootTime(2_000_000), ended, ..Tick::default() };
    state.apply(&gone, Instant::now());
    let over = BootTime(gone.time.0 + 2 * 1_000_000 * KEEP_ENDED.as_secs());
    state.apply(&Tick { sequence: 3, time: over, ..Tick::default() }, Instant::now());
    assert_eq!(held(&state, 3 - first), None);
    state.catch_up(&decoder);
    assert_eq!(held(&state, 3 - first), Some(u64::from(3 - first)));
}

/// A tick of one second with these samples; the CPU counter tells of which series they are.
fn tick_of(second: u64, announced: Vec<Announcement>, ended: &[u32], sampled: &[u32]) -> Tick {
    let ended = ended.iter().map(|&series| Farewell { series: SeriesId(series), reason: EndReason::Removed });
    let sample = |&series: &u32| {
        let (time, cpu) = (BootTime(second * 1_000_000 + 1), CpuTime(u64::from(series) * 1000 + second));
        (SeriesId(series), Sample { time, cpu, working_set: WorkingSet::from_units(series) })
    };
    Tick {
        sequence: second,
        time: BootTime(second * 1_000_000),
        announced,
        ended: ended.collect(),
        samples: sampled.iter().map(sample).collect(),
        ..Tick::default()
    }
}

fn units(state: &NodeState, container: u32) -> Option<u32> {
    let counter = CounterRef::Container(ContainerId::new(&container.to_string()).unwrap());
    Some(state.ring(&counter)?.newest()?.working_set.units())
}

#[test]
fn of_a_container_in_two_places_the_one_announced_last_counts_and_the_other_never_again() {
    let mut state = NodeState::new(Places::new(10), Duration::from_secs(60));
    let both = vec![announcement(1, 7), announcement(2, 8), announcement(3, 7)];
    let applied = state.apply(&tick_of(1, both, &[], &[1, 2, 3]), Instant::now());
    assert_eq!((applied.samples, units(&state, 7), units(&state, 8)), (2, Some(3), Some(2)));
    // The one that counts ends and is forgotten; another counter may take its slot, and the first series must not find it.
    state.apply(&tick_of(2, Vec::new(), &[3], &[1, 2]), Instant::now());
    let over = 3 + KEEP_ENDED.as_secs();
    state.apply(&tick_of(over, Vec::new(), &[], &[1, 2]), Instant::now());
    assert_eq!(units(&state, 7), None);
    let applied = state.apply(&tick_of(over + 1, vec![announcement(4, 9)], &[], &[1, 2, 4]), Instant::now());
    assert_eq!((applied.samples, units(&state, 9)), (2, Some(4)));
    state.apply(&tick_of(over + 2, Vec::new(), &[1], &[2, 4]), Instant::now());
    assert_eq!(state.counted(), (2, 0));
}

#[test]
fn a_series_that_was_evicted_is_unknown_until_it_is_admitted() {
    let mut state = NodeState::new(Places::new(10), Duration::from_secs(60));
    let all = (1..=3).map(|n| announcement(n, n)).collect();
    state.apply(&tick_of(1, all, &[], &[1, 2, 3]), Instant::now());
    state.evict(SeriesId(2));
    let applied = state.apply(&tick_of(2, Vec::new(), &[], &[1, 2, 3]), Instant::now());
    assert_eq!((applied.samples, units(&state, 2), state.counted()), (2, None, (2, 0)));
    state.admit([(announcement(2, 2), None, Details::default())]);
    let applied = state.apply(&tick_of(3, Vec::new(), &[1], &[2, 3]), Instant::now());
    assert_eq!((applied.samples, units(&state, 2)), (2, Some(2)));
}

#[test]
fn what_is_left_out_stays_so_while_others_end_and_are_admitted() {
    let mut state = NodeState::new(Places::new(10), Duration::from_secs(60));
    let all = (1..=4).map(|n| announcement(n, n)).collect();
    state.apply(&tick_of(1, all, &[], &[1, 2, 3, 4]), Instant::now());
    let pod = Announcement {
        subject: Subject::Pod { uid: PodUid::new("aa").unwrap(), qos: None },
        ..announcement(5, 5)
    };
    (2..=5).for_each(|n| state.evict(SeriesId(n)));
    state.apply(&tick_of(2, Vec::new(), &[1], &[2, 3, 4]), Instant::now());
    let is_evicted = |state: &NodeState| [1, 2, 3, 4, 5].map(|n| state.is_evicted(SeriesId(n)));
    assert_eq!(is_evicted(&state), [false, true, true, true, true]);
    let admitted = [announcement(2, 2), announcement(3, 3), pod];
    state.admit(admitted.map(|announcement| (announcement, None, Details::default())));
    assert_eq!(is_evicted(&state), [false, false, false, true, false]);
    let applied = state.apply(&tick_of(3, Vec::new(), &[], &[2, 3, 4]), Instant::now());
    assert_eq!(
        (applied.samples, units(&state, 2), units(&state, 3), units(&state, 4)),
        (2, Some(2), Some(3), None)
    );
}

#[test]
fn a_refused_container_that_ends_is_refused_no_more() {
    let mut state = NodeState::new(Places::new(1), Duration::from_secs(60));
    state.apply(&tick_of(1, vec![announcement(1, 1), announcement(2, 2)], &[], &[1, 2]), Instant::now());
    assert_eq!(state.counted(), (1, 1));
    state.apply(&tick_of(2, Vec::new(), &[2], &[1]), Instant::now());
    assert_eq!(state.counted(), (1, 0));
}

/// Gaps are closed when many have gone; whoever is left has its own samples, and those to come.
#[test]
fn what_is_left_is_found_after_many_have_gone() {
    let places = Places::new(100);
    let mut state = NodeState::new(places.clone(), Duration::from_secs(60));
    state.apply(&tick_of(1, (1..=60).map(|n| announcement(n, n)).collect(), &[], &[]), Instant::now());
    let all: Vec<u32> = (1..=60).collect();
    state.apply(&tick_of(2, Vec::new(), &[], &all), Instant::now());
    let last = LastPlace::default();
    let of = |n: u32| CounterRef::Container(ContainerId::new(&n.to_string()).unwrap());
    assert_eq!(state.ring_again(&of(60), &last).unwrap().len(), 1);
    (1..=60).filter(|n| n % 3 == 0).for_each(|n| state.evict(SeriesId(n)));
    let (left, ended): (Vec<u32>, Vec<u32>) = (1..=60).filter(|n| n % 3 > 0).partition(|n| n % 3 == 1);
    state.apply(&tick_of(3, Vec::new(), &ended, &left), Instant::now());
    assert_eq!((places.taken(), state.counted()), (40, (20, 0)));
    assert!(state.ring_again(&of(60), &last).is_none(), "another one is in its place");
    for n in 1..=60 {
        let samples = state.ring(&of(n)).map(Samples::len);
        assert_eq!(samples, [None, Some(2), Some(1)][(n % 3) as usize], "{n}");
    }
    let newest = state.ring_again(&of(58), &last).unwrap().newest().unwrap();
    assert_eq!(newest.time.0, state.last_tick().0 + 1);
    let over = 3 + KEEP_ENDED.as_secs() + 1;
    state.apply(&tick_of(over, Vec::new(), &[], &left), Instant::now());
    assert_eq!((places.taken(), state.ended.len()), (20, 0));
    state.admit([(announcement(3, 3), None, Details::default())]);
    let applied =
        state.apply(&tick_of(over + 1, Vec::new(), &[], &[&[3], left.as_slice()].concat()), Instant::now());
    assert_eq!((applied.samples, state.ring(&of(3)).map(Samples::len)), (21, Some(1)));
    assert_eq!(
        state.counters.at(Slot::new(21)).map(|counter| counter.series),
        None,
        "no more slots than counters"
    );
}

/// An aggregator learns who is a sandbox while it already has its samples, and then the agent begins anew.
#[test]
fn what_is_not_wanted_after_a_restart_ends_and_is_forgotten() {
    let (mut encoder, mut decoder) = chain(2);
    let places = Places::new(10);
    let mut state = NodeState::new(places.clone(), Duration::from_secs(60));
    state.restart(&decoder, |_| true);
    state.restart(&decoder, |series| series != SeriesId(2));
    assert!(state.is_evicted(SeriesId(2)) && !state.is_evicted(SeriesId(1)));
    for second in [2, 3 + KEEP_ENDED.as_secs()] {
        let time = second * 1_000_000;
        encoder.begin(BootTime(time), WallTime(time));
        for n in 1..=2 {
            let (time, cpu) = (BootTime(time), CpuTime(n));
            encoder.sample(Sample { time, cpu, working_set: WorkingSet::from_units(1) }, None);
        }
        let applied = state.apply(&decoder.batch(&encoder.finish().1).unwrap(), Instant::now());
        assert_eq!((applied.samples, state.counted()), (1, (1, 0)));
    }
    assert_eq!((places.taken(), held(&state, 2)), (1, None));
}
