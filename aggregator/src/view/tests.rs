//! Ticks in, answers out, over the real store, directory and names.
//!
//! The first part is metrics-server's own table of cases (its unit tests, as behaviour) with our answer to each.
//! Where ours is another one, the test's name says what is better and a comment why. Its gauge cases (N3, P4) and
//! readiness cases (R1 to R3) have no counterpart: our gauges count containers, and we are ready with the first tick.

use std::sync::atomic::{AtomicU32, Ordering};

use kubevitals::{
    chain::{Announcement, Decoder, EndReason, Farewell, Tick},
    sample::{ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WorkingSet},
};

use super::*;
use crate::{
    api::source::Usage as Served_,
    names::{Names, paths::PathNames},
    store::{Limits, Shard, node::Session},
};

const MI: u64 = 1 << 20;
const CORE: u64 = 1_000_000_000;
const POD: &str = "aa";

/// The case's age: seconds, CPU in core seconds, memory in MiB.
type Point = (u64, u64, u64);

/// Age in s, window in s, then of each container nanocores and MiB.
type PodRow = (u64, u64, Vec<(u64, u64)>);

struct World {
    view: View,
    names: Names,
    shard: Arc<Shard>,
    sequence: u64,
    series: AtomicU32,
    clock: u64,
}

fn rules() -> Rules {
    Rules {
        window: Duration::from_secs(15),
        shortest: Duration::from_millis(250),
        after_ready: Duration::from_secs(5),
        hold: Duration::from_secs(15),
        stale: Duration::from_secs(30),
    }
}

fn session(boot: &str) -> Session {
    Session {
        boot_id: boot.to_owned(),
        instance: 1,
        interval: Duration::from_secs(10),
        cpus: 4,
        memory_bytes: 8 * MI,
        newest_sequence: 0,
        version: "0.1.0".into(),
    }
}

fn sample((seconds, cores, mi): Point) -> Sample {
    let working_set = WorkingSet::from_bytes(mi * MI).unwrap();
    Sample { time: BootTime(seconds * 1_000_000), cpu: CpuTime(cores * CORE), working_set }
}

/// A container's id of one letter.
fn id(letter: &str) -> ContainerId {
    ContainerId::new(letter).unwrap()
}

fn container(letter: &str) -> Subject {
    Subject::Container { pod: PodUid::new(POD).unwrap(), id: id(letter), qos: None }
}

impl World {
    fn new() -> Self {
        Self::with_places(100)
    }

    fn with_places(containers: usize) -> Self {
        let limits = Limits { containers, nodes: 2, kept: Duration::from_secs(3600) };
        let store = Arc::new(Store::new(limits));
        let shard = store.shard_or_new("n1").unwrap();
        shard.write().begin(session("boot"), Instant::now());
        let view = View {
            store,
            directory: Arc::default(),
            kubelets: None,
            rules: rules(),
            served: Served::default(),
        };
        let names = Names::Paths(PathNames::new(false));
        Self { view, names, shard, sequence: 0, series: AtomicU32::new(1), clock: 0 }
    }

    fn announce(&self, subject: Subject, inode: u64, first: Option<Point>) -> Announcement {
        let series = SeriesId(self.series.fetch_add(1, Ordering::Relaxed));
        Announcement { series, subject, inode, first: first.map(sample), birth: None }
    }

    fn node(&self) -> Announcement {
        self.announce(Subject::Node, 0, None)
    }

    /// One tick; its time is that of its latest sample, or a second after the tick before.
    fn tick(
        &mut self,
        announced: &[&Announcement],
        ended: &[&Announcement],
        samples: &[(&Announcement, Point)],
    ) {
        let latest = samples.iter().map(|(_, (seconds, ..))| seconds * 1_000_000).max();
        self.clock = latest.unwrap_or(self.clock + 1_000_000).max(self.clock);
        self.sequence += 1;
        let tick = Tick {
            sequence: self.sequence,
            time: BootTime(self.clock),
            wall: WallTime(1_000_000_000_000 + self.clock),
            announced: announced.iter().map(|&announcement| announcement.clone()).collect(),
            ended: ended.iter().map(|a| Farewell { series: a.series, reason: EndReason::Removed }).collect(),
            samples: samples.iter().map(|&(a, point)| (a.series, sample(point))).collect(),
            ..Tick::default()
        };
        self.shard.write().apply(&tick, Instant::now());
        let first = self.sequence == 1;
        let World { view: View { directory, .. }, names, .. } = &*self;
        if first {
            names.ticked(directory, "n1", &tick, &Decoder::new(), true);
        }
        names.ticked(directory, "n1", &tick, &Decoder::new(), false);
    }

    fn node_answer(&self) -> Option<(u64, u64, u64, u64)> {
        match self.view.node("n1") {
            Lookup::Found(NodeAnswer { timestamp, window, usage, .. }) => Some(row(timestamp, window, usage)),
            _ => None,
        }
    }

    fn pod_answer(&self) -> Option<PodRow> {
        match self.view.pod("kubepods", POD) {
            Lookup::Found(PodAnswer { timestamp, window, usages, .. }) => {
                let numbers = usages.iter().map(|usage| (usage.cpu_nanocores, usage.memory_bytes / MI));
                Some((age(timestamp), window.as_secs(), numbers.collect()))
            }
            _ => None,
        }
    }

    fn reason(&self) -> Omission {
        let record = self.view.directory.pod("kubepods", POD).unwrap();
        self.view.pod_answer(&record, Moment::now()).unwrap_err()
    }
}

fn age(timestamp: WallTime) -> u64 {
    (timestamp.0 - 1_000_000_000_000) / 1_000_000
}

fn row(timestamp: WallTime, window: Duration, usage: Served_) -> (u64, u64, u64, u64) {
    (age(timestamp), window.as_secs(), usage.cpu_nanocores, usage.memory_bytes / MI)
}

/// One pod of one container without a known birth, given these points one by one.
fn one_container(points: &[Point]) -> World {
    let mut world = World::new();
    let a = world.announce(container("a"), 1, None);
    for (n, &point) in points.iter().enumerate() {
        world.tick(
            if n == 0 { std::slice::from_ref(&a) } else { &[] }.iter().collect::<Vec<_>>().as_slice(),
            &[],
            &[(&a, point)],
        );
    }
    world
}

fn one_node(points: &[Point]) -> World {
    let mut world = World::new();
    let node = world.node();
    for (n, &point) in points.iter().enumerate() {
        let announced: Vec<&Announcement> = if n == 0 { vec![&node] } else { Vec::new() };
        world.tick(&announced, &[], &[(&node, point)]);
    }
    world
}

// --- metrics-server's node cases ---

#[test]
fn n1_n8_two_points_make_a_rate() {
    assert_eq!(one_node(&[(10, 10, 2)]).node_answer(), None);
    let mut world = one_node(&[(10, 10, 2), (20, 20, 3)]);
    assert_eq!(world.node_answer(), Some((20, 10, CORE, 3)));
    assert_eq!(world.view.node("n2"), Lookup::Unknown);
    // Theirs empties the node when a batch lacks it; ours keeps the last answer until it is stale.
    world.tick(&[], &[], &[]);
    assert_eq!(world.node_answer(), Some((20, 10, CORE, 3)));
}

#[test]
fn n2_the_same_point_twice_is_one_point() {
    assert_eq!(one_node(&[(10, 10, 2), (10, 10, 2)]).node_answer(), None);
}

#[test]
fn n4_after_a_reboot_counting_begins_anew() {
    let mut world = one_node(&[(10, 10, 2), (20, 20, 2)]);
    world.shard.write().begin(session("another boot"), Instant::now());
    world.clock = 0;
    let node = world.node();
    world.tick(&[&node], &[], &[(&node, (5, 5, 2))]);
    assert_eq!(world.node_answer(), None);
}

#[test]
fn n5_a_lower_counter_makes_no_rate() {
    assert_eq!(one_node(&[(15, 50, 3), (25, 10, 5)]).node_answer(), None);
}

#[test]
fn n6_a_point_older_than_both_changes_nothing_where_theirs_goes_empty() {
    assert_eq!(one_node(&[(15, 10, 1), (35, 50, 1), (5, 6, 1)]).node_answer(), Some((35, 20, 2 * CORE, 1)));
}

#[test]
fn n7_a_point_between_changes_nothing_where_theirs_goes_back_in_time() {
    assert_eq!(one_node(&[(15, 10, 1), (35, 50, 4), (25, 35, 2)]).node_answer(), Some((35, 20, 2 * CORE, 4)));
}

// --- metrics-server's pod cases ---

#[test]
fn p1_p13_two_points_make_a_rate() {
    assert_eq!(one_container(&[(120, 1, 4)]).pod_answer(), None);
    let world = one_container(&[(120, 1, 4), (125, 6, 5)]);
    assert_eq!(world.pod_answer(), Some((125, 5, vec![(CORE, 5)])));
    assert_eq!(world.view.pod("kubepods", "bb"), Lookup::Unknown);
}

#[test]
fn p2_the_pods_time_is_that_of_its_earliest_container() {
    let mut world = World::new();
    let (a, b) = (world.announce(container("a"), 1, None), world.announce(container("b"), 2, None));
    world.tick(&[&a, &b], &[], &[(&a, (110, 1, 1)), (&b, (115, 2, 1))]);
    world.tick(&[], &[], &[(&a, (120, 6, 1)), (&b, (125, 7, 1))]);
    assert_eq!(world.pod_answer(), Some((120, 10, vec![(CORE / 2, 1), (CORE / 2, 1)])));
}

#[test]
fn p3_the_same_point_twice_is_one_point() {
    assert_eq!(one_container(&[(110, 1, 1), (110, 1, 1)]).pod_answer(), None);
}

#[test]
fn p5_a_restarted_container_counts_from_its_birth() {
    let mut world = World::new();
    let a = world.announce(container("a"), 1, None);
    world.tick(&[&a], &[], &[(&a, (10, 1, 4))]);
    let again = world.announce(container("a"), 2, Some((15, 0, 0)));
    world.tick(&[&again], &[&a], &[(&again, (25, 5, 5))]);
    assert_eq!(world.pod_answer(), Some((25, 10, vec![(CORE / 2, 5)])));
}

#[test]
fn p6_a_lower_counter_hides_the_pod_where_theirs_serves_one_without_containers() {
    let world = one_container(&[(110, 20, 1), (120, 10, 1)]);
    assert_eq!((world.pod_answer(), world.reason()), (None, Omission::FirstSample));
}

#[test]
fn p7_a_point_from_long_ago_changes_nothing_where_theirs_goes_empty() {
    let world = one_container(&[(1115, 20, 1), (1125, 40, 1), (115, 10, 1)]);
    assert_eq!(world.pod_answer(), Some((1125, 10, vec![(2 * CORE, 1)])));
}

#[test]
fn p8_a_point_between_changes_nothing_where_theirs_goes_back_in_time() {
    let world = one_container(&[(115, 10, 4), (125, 50, 5), (120, 35, 5)]);
    assert_eq!(world.pod_answer(), Some((125, 10, vec![(4 * CORE, 5)])));
}

/// First seen with the birth known, at some age and CPU time.
fn born(point: Point) -> World {
    let mut world = World::new();
    let a = world.announce(container("a"), 1, Some((100, 0, 0)));
    world.tick(&[&a], &[], &[(&a, (100 + point.0, point.1, point.2))]);
    world
}

#[test]
fn p9_one_point_at_120_s_is_enough_with_the_birth_known_where_theirs_is_empty() {
    assert_eq!(born((120, 60, 1)).pod_answer(), Some((220, 120, vec![(CORE / 2, 1)])));
    assert_eq!(one_container(&[(120, 60, 1)]).pod_answer(), None, "and without it there is no rate");
}

#[test]
fn p10_one_point_at_10_s_is_enough() {
    assert_eq!(born((10, 10, 4)).pod_answer(), Some((110, 10, vec![(CORE, 4)])));
}

#[test]
fn p11_a_point_before_the_birth_makes_no_rate() {
    let mut world = World::new();
    let a = world.announce(container("a"), 1, Some((100, 0, 0)));
    world.tick(&[&a], &[], &[(&a, (90, 10, 1))]);
    assert_eq!(world.pod_answer(), None);
}

#[test]
fn p12_one_point_at_9_s_is_enough_where_theirs_waits() {
    assert_eq!(born((9, 9, 4)).pod_answer(), Some((109, 9, vec![(CORE, 4)])));
}

#[test]
fn p14_a_pod_with_a_container_that_has_one_point_is_left_out() {
    let mut world = World::new();
    let (a, b) = (world.announce(container("a"), 1, None), world.announce(container("b"), 2, None));
    world.tick(&[&a], &[], &[(&a, (110, 1, 1))]);
    world.tick(&[&b], &[], &[(&a, (120, 2, 1)), (&b, (120, 2, 1))]);
    assert_eq!((world.pod_answer(), world.reason()), (None, Omission::FirstSample));
}

// --- corners that their tests leave out ---

#[test]
fn a_counter_that_did_not_move_is_zero_and_hides_nothing() {
    assert_eq!(one_container(&[(110, 1, 0), (120, 1, 0)]).pod_answer(), Some((120, 10, vec![(0, 0)])));
}

#[test]
fn a_missed_tick_only_makes_the_window_longer() {
    let world = one_container(&[(100, 0, 1), (110, 10, 1), (140, 40, 1)]);
    assert_eq!(world.pod_answer(), Some((140, 30, vec![(CORE, 1)])));
}

// --- what they have no case for ---

#[test]
fn while_a_new_container_is_not_measured_the_last_whole_picture_stands_in() {
    let mut world = World::new();
    let (a, b) = (world.announce(container("a"), 1, None), world.announce(container("b"), 2, None));
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    world.tick(&[], &[], &[(&a, (110, 10, 1))]);
    world.tick(&[&b], &[], &[(&a, (120, 30, 1)), (&b, (120, 2, 7))]);
    assert_eq!(world.pod_answer(), Some((110, 10, vec![(CORE, 1)])), "without b, which has no rate yet");
    world.tick(&[], &[], &[(&a, (130, 40, 1)), (&b, (130, 12, 7))]);
    assert_eq!(world.pod_answer(), Some((130, 20, vec![(CORE * 3 / 2, 1), (CORE, 7)])));
}

#[test]
fn a_picture_is_not_held_for_longer_than_the_hold_time() {
    let mut world = World::new();
    let (a, b) = (world.announce(container("a"), 1, None), world.announce(container("b"), 2, None));
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    world.tick(&[], &[], &[(&a, (105, 5, 1))]);
    world.tick(&[&b], &[], &[(&a, (110, 10, 1))]);
    assert!(world.pod_answer().is_some());
    world.tick(&[], &[], &[(&a, (126, 20, 1))]);
    assert_eq!((world.pod_answer(), world.reason()), (None, Omission::NotMeasured));
}

#[test]
fn a_container_that_ended_leaves_and_the_last_one_takes_the_pod_with_it() {
    let mut world = World::new();
    let (a, b) = (world.announce(container("a"), 1, None), world.announce(container("b"), 2, None));
    world.tick(&[&a, &b], &[], &[(&a, (100, 0, 1)), (&b, (100, 0, 1))]);
    world.tick(&[], &[], &[(&a, (110, 10, 1)), (&b, (110, 10, 1))]);
    world.tick(&[], &[&b], &[(&a, (120, 20, 1))]);
    assert_eq!(world.pod_answer().map(|(.., containers)| containers.len()), Some(1));
    world.tick(&[], &[&a], &[]);
    assert_eq!(world.view.pod("kubepods", POD), Lookup::Unknown);
}

#[test]
fn numbers_that_are_too_old_are_not_served() {
    let mut world = World::new();
    let (a, node) = (world.announce(container("a"), 1, None), world.node());
    world.tick(&[&a, &node], &[], &[(&a, (100, 0, 1)), (&node, (100, 1, 1))]);
    world.tick(&[], &[], &[(&a, (110, 10, 1)), (&node, (110, 2, 1))]);
    // The node goes on, but this container cannot be read any more.
    world.tick(&[], &[], &[(&node, (139, 3, 1))]);
    assert!(world.pod_answer().is_some(), "30 s are allowed");
    world.tick(&[], &[], &[(&node, (141, 4, 1))]);
    assert_eq!((world.pod_answer(), world.reason()), (None, Omission::Stale));
}

#[test]
fn over_the_limit_new_containers_are_refused_and_old_ones_keep_working() {
    let mut world = World::with_places(1);
    let (a, b) = (world.announce(container("a"), 1, None), world.announce(container("b"), 2, None));
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    world.tick(&[], &[], &[(&a, (105, 5, 1))]);
    world.tick(&[&b], &[], &[(&a, (110, 10, 1)), (&b, (110, 1, 1))]);
    assert_eq!(world.view.store.containers(), 1);
    assert_eq!(world.pod_answer().map(|(.., containers)| containers), Some(vec![(CORE, 1)]), "held");
    // What ended makes room once it is no longer needed.
    world.tick(&[], &[&a, &b], &[]);
    let c = world.announce(container("c"), 3, None);
    world.clock += 40_000_000;
    world.tick(&[], &[], &[]);
    world.tick(&[&c], &[], &[(&c, (200, 1, 1))]);
    assert!(world.shard.read().ring(&CounterRef::Container(id("c"))).is_some());
}

/// A chain that begins with a snapshot of these announcements.
fn snapshot_of(announced: &[(&Announcement, Point)], time: u64) -> Decoder {
    use kubevitals::wire;
    let series = announced
        .iter()
        .map(|(announcement, point)| {
            let Sample { time, cpu, working_set } = sample(*point);
            let last = wire::LastSample {
                time_us: time.0,
                cpu_ns: cpu.0,
                working_set_4k: working_set.units().into(),
            };
            wire::SeriesState {
                announcement: Some((*announcement).into()),
                last: Some(last),
                details: Vec::new(),
            }
        })
        .collect();
    let mut chain = Decoder::new();
    let (time_us, wall_us) = (time * 1_000_000, 1_000_000_000_000 + time * 1_000_000);
    chain.snapshot(&wire::Snapshot { sequence: 9, time_us, wall_us, series, more: false }).unwrap();
    chain
}

#[test]
fn a_new_agent_process_goes_on_where_the_old_one_ended() {
    let mut world = World::new();
    let a = world.announce(container("a"), 7, None);
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    world.shard.write().begin(Session { instance: 2, ..session("boot") }, Instant::now());
    world.shard.write().restart(&Decoder::new(), |_| true);
    let again = world.announce(container("a"), 7, None);
    world.tick(&[&again], &[], &[(&again, (110, 10, 1))]);
    assert_eq!(world.pod_answer(), Some((110, 10, vec![(CORE, 1)])));
}

#[test]
fn what_a_new_agent_process_does_not_name_has_ended() {
    let mut world = World::new();
    let (a, b) = (world.announce(container("a"), 7, None), world.announce(container("b"), 8, None));
    world.tick(&[&a, &b], &[], &[(&a, (100, 0, 1)), (&b, (100, 0, 1))]);
    world.shard.write().begin(Session { instance: 2, ..session("boot") }, Instant::now());
    let again = world.announce(container("a"), 7, None);
    world.shard.write().restart(&snapshot_of(&[(&again, (109, 9, 1))], 109), |_| true);
    let live = |letter| world.shard.read().is_live(&CounterRef::Container(id(letter)));
    assert!(live("a") && live("b"), "its first tick may still name it");
    world.tick(&[], &[], &[(&again, (110, 10, 1))]);
    let live = |letter| world.shard.read().is_live(&CounterRef::Container(id(letter)));
    assert!(live("a") && !live("b"));
}

#[test]
fn a_counter_that_was_reset_under_the_same_inode_begins_anew() {
    let mut world = World::new();
    let a = world.announce(container("a"), 7, None);
    world.tick(&[&a], &[], &[(&a, (100, 50, 1))]);
    world.tick(&[], &[], &[(&a, (110, 60, 1))]);
    let again = world.announce(container("a"), 7, Some((112, 1, 1)));
    world.tick(&[&again], &[&a], &[(&again, (120, 9, 1))]);
    assert_eq!(world.pod_answer(), Some((120, 8, vec![(CORE, 1)])));
}

#[test]
fn a_replay_of_stored_ticks_changes_nothing() {
    let mut world = one_container(&[(100, 0, 1), (110, 10, 1)]);
    let before = world.pod_answer();
    let a = Announcement { series: SeriesId(1), subject: container("a"), inode: 1, first: None, birth: None };
    world.tick(&[], &[], &[(&a, (100, 0, 1))]);
    world.tick(&[], &[], &[(&a, (110, 10, 1))]);
    assert_eq!(world.pod_answer(), before);
}

#[test]
fn only_the_last_stream_is_in_charge() {
    let world = World::new();
    let (first, _) = world.shard.write().begin(session("boot"), Instant::now()).unwrap();
    let (second, _) = world.shard.write().begin(session("boot"), Instant::now()).unwrap();
    let mut state = world.shard.write();
    assert!(!state.is_in_charge(first) && state.is_in_charge(second));
    state.end(first, Some(Decoder::new()));
    assert!(state.is_streaming(), "the end of the first is not the end of the second");
    state.end(second, Some(Decoder::new()));
    drop(state);
    assert!(
        world.shard.write().begin(session("boot"), Instant::now()).unwrap().1.is_some(),
        "the same process resumes"
    );
    assert!(
        world
            .shard
            .write()
            .begin(Session { instance: 5, ..session("boot") }, Instant::now())
            .unwrap()
            .1
            .is_none()
    );
}

#[test]
fn while_history_is_replayed_nothing_is_served_that_is_older_than_before() {
    let mut world = World::new();
    world.shard.write().begin(Session { newest_sequence: 3, ..session("boot") }, Instant::now());
    let a = world.announce(container("a"), 1, None);
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    world.tick(&[], &[], &[(&a, (101, 1, 1))]);
    assert_eq!((world.pod_answer(), world.reason()), (None, Omission::NoAgent));
    world.tick(&[], &[], &[(&a, (102, 2, 1))]);
    assert_eq!(world.pod_answer(), Some((102, 2, vec![(CORE, 1)])));
}

/// Found by the fuzz target `wire_chain`.
#[test]
fn in_a_full_store_what_is_made_anew_takes_the_place_of_its_forerunner() {
    let mut world = World::with_places(1);
    let a = world.announce(container("a"), 1, None);
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    let again = world.announce(container("a"), 2, None);
    world.tick(&[&again], &[&a], &[(&again, (110, 1, 1))]);
    world.tick(&[], &[], &[(&again, (120, 11, 1))]);
    assert_eq!(world.pod_answer(), Some((120, 10, vec![(CORE, 1)])));
}

/// Found by the fuzz target `wire_chain`: the two shared a ring, and the end of the first was the end of both.
#[test]
fn of_two_series_of_one_container_the_last_announced_counts() {
    let mut world = World::new();
    let (old, new) = (world.announce(container("a"), 1, None), world.announce(container("a"), 2, None));
    world.tick(&[&old, &new], &[], &[(&old, (100, 500, 1)), (&new, (100, 0, 1))]);
    world.tick(&[], &[&old], &[(&new, (110, 10, 1))]);
    let state = world.shard.read();
    let counter = CounterRef::Container(id("a"));
    assert!(state.is_live(&counter));
    assert_eq!(state.ring(&counter).map(crate::store::ring::Samples::len), Some(2));
}

#[test]
fn one_agent_process_streams_once_to_one_aggregator() {
    let mut world = World::new();
    let a = world.announce(container("a"), 1, None);
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    let mut state = world.shard.write();
    assert!(state.begin(session("boot"), Instant::now()).is_none(), "by two addresses");
    let silent = Instant::now() + Duration::from_secs(16);
    assert!(state.begin(session("boot"), silent).is_some(), "the first is only half open");
}

#[test]
fn a_refused_container_gets_the_next_free_place() {
    let mut world = World::with_places(1);
    let (a, b) = (world.announce(container("a"), 1, None), world.announce(container("b"), 2, None));
    world.tick(&[&a, &b], &[], &[(&a, (100, 0, 1)), (&b, (100, 0, 1))]);
    let has_b = |world: &World| world.shard.read().ring(&CounterRef::Container(id("b"))).is_some();
    assert!(!has_b(&world));
    world.tick(&[], &[&a], &[(&b, (101, 1, 1))]);
    world.tick(&[], &[], &[(&b, (140, 2, 1))]);
    assert!(has_b(&world));
    world.tick(&[], &[], &[(&b, (141, 3, 1))]);
    world.tick(&[], &[], &[(&b, (142, 4, 1))]);
    assert_eq!(world.pod_answer(), Some((142, 1, vec![(CORE, 1)])));
}

/// What the ingest service does with the first tick after a snapshot: the chain has taken it already.
fn join(world: &mut World, announced: &[(&Announcement, Point)], time: u64) {
    world.shard.write().restart(&snapshot_of(announced, time), |_| true);
}

#[test]
fn a_new_agent_process_that_announces_with_first_readings_keeps_the_history() {
    let mut world = World::new();
    let a = world.announce(container("a"), 7, None);
    world.tick(&[&a], &[], &[(&a, (100, 0, 1))]);
    world.shard.write().begin(Session { instance: 2, ..session("boot") }, Instant::now());
    let again = world.announce(container("a"), 7, Some((109, 9, 1)));
    join(&mut world, &[(&again, (110, 10, 1))], 110);
    world.tick(&[&again], &[], &[(&again, (110, 10, 1))]);
    assert_eq!(world.pod_answer(), Some((110, 10, vec![(CORE, 1)])));
}

#[test]
fn an_announcement_heard_again_keeps_the_history() {
    let mut world = World::new();
    let a = world.announce(container("a"), 7, Some((90, 0, 1)));
    world.tick(&[&a], &[], &[(&a, (100, 10, 1))]);
    world.tick(&[], &[], &[(&a, (110, 20, 1))]);
    join(&mut world, &[(&a, (120, 30, 1))], 120);
    world.tick(&[], &[], &[(&a, (120, 30, 1))]);
    let state = world.shard.read();
    assert_eq!(state.ring(&CounterRef::Container(id("a"))).map(crate::store::ring::Samples::len), Some(4));
}
