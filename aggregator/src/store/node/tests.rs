//! What an agent that does wrong may take of the memory. What is served is tested in `view`.

use kubevitals::{
    chain::{EndReason, Farewell},
    sample::{ContainerId, PodUid, Subject},
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
