//! Ticks in, items out, beside what the API is told at the same moment.

use std::time::Instant;

use kubevitals::{
    chain::{Announcement, Tick},
    sample::{BootTime, ContainerId, CpuTime, Detail, PodUid, Sample, SeriesId, WorkingSet},
};
use proptest::prelude::*;

use super::*;
use crate::{
    directory::{Labels, Noted},
    metrics::Served,
    query::walk,
    store::{Limits, Shard, Store, node::Session},
};

const SECOND: u64 = 1_000_000;
const CORE: u64 = 1_000_000_000;
const BEGIN: u64 = 1_000 * SECOND;
/// Wall time at boot.
const BOOT: u64 = 1_700_000_000 * SECOND;

const EVERYTHING: Wanted = Wanted { window: None, details: true, distribution: true };

/// One node with a pod of some containers.
struct World {
    view: View,
    shard: Arc<Shard>,
    sequence: u64,
}

fn id(container: u32) -> ContainerId {
    ContainerId::new(&format!("id-{container}")).unwrap()
}

fn series(container: u32) -> SeriesId {
    SeriesId(container + 1)
}

impl World {
    /// The node has number 0, containers those after it.
    fn new(containers: u32, interval: Duration, ready: Option<WallTime>) -> Self {
        let limits = Limits { containers: 10, nodes: 2, kept: Duration::from_secs(60) };
        let store = Arc::new(Store::new(limits));
        let shard = store.shard_or_new("n1").unwrap();
        let session = Session {
            boot_id: "boot".to_owned(),
            instance: 1,
            interval,
            cpus: 4,
            memory_bytes: 0,
            newest_sequence: 0,
            version: "1".into(),
        };
        shard.write().begin(session, Instant::now()).unwrap();
        let rules = Rules {
            window: Duration::from_secs(15),
            shortest: Duration::from_millis(250),
            after_ready: Duration::from_secs(5),
            hold: Duration::from_secs(15),
            stale: Duration::from_secs(30),
        };
        let view =
            View { store, directory: Arc::default(), kubelets: None, rules, served: Served::default() };
        let labels = Labels::default();
        let node =
            NodeRecord { name: "n1".into(), labels: labels.clone(), created: WallTime(1), kubelet: None };
        view.directory.put_node(node);
        let container = |n: u32| ContainerRecord::new(format!("c{n}").into(), CounterRef::Container(id(n)));
        view.directory.put_pod(PodRecord {
            uid: "uid".into(),
            namespace: "shop".into(),
            name: "web".into(),
            node: "n1".into(),
            labels,
            owner: None,
            created: Noted::default(),
            ready: ready.into(),
            containers: (1..=containers).map(container).collect(),
            previous: None,
        });
        Self { view, shard, sequence: 0 }
    }

    /// One tick at this time, announcing everything with the first; each sample is CPU and memory of 4 KiB, by number.
    fn tick(&mut self, time: u64, samples: &[(u32, u64, u32)], details: &[(u32, Detail, u64)]) {
        self.sequence += 1;
        let announce = |&(container, ..): &(u32, u64, u32)| {
            let pod = PodUid::new("abc").unwrap();
            let subject = match container {
                0 => kubevitals::sample::Subject::Node,
                n => kubevitals::sample::Subject::Container { pod, id: id(n), qos: None },
            };
            let birth = (container != 3).then(|| WallTime(BOOT + u64::from(container) * SECOND));
            Announcement { series: series(container), subject, inode: 1, first: None, birth }
        };
        let sample = |&(container, cpu, units): &(u32, u64, u32)| {
            // Containers are read one after the other.
            let time = BootTime(time + u64::from(container) * 1000);
            (
                series(container),
                Sample { time, cpu: CpuTime(cpu), working_set: WorkingSet::from_units(units) },
            )
        };
        let tick = Tick {
            sequence: self.sequence,
            time: BootTime(time),
            wall: WallTime(BOOT + time),
            announced: if self.sequence == 1 { samples.iter().map(announce).collect() } else { Vec::new() },
            samples: samples.iter().map(sample).collect(),
            details: details.iter().map(|&(n, detail, value)| (series(n), detail, Some(value))).collect(),
            ..Tick::default()
        };
        self.shard.write().apply(&tick, Instant::now());
    }

    fn record(&self) -> Arc<PodRecord> {
        self.view.directory.pod("shop", "web").unwrap()
    }

    fn pod(&self, wanted: &Wanted) -> Result<Numbers, AbsenceReason> {
        pod(&self.view, &self.record(), wanted, Moment::now()).numbers
    }

    fn all(&self, level: Level, wanted: &Wanted) -> Vec<Item> {
        self.all_at(level, wanted, Moment::now())
    }

    fn all_at(&self, level: Level, wanted: &Wanted, now: Moment) -> Vec<Item> {
        let (mut all, selection) = (Vec::new(), Selection::all(level));
        for found in walk::step(&self.view.directory, &selection, None).found {
            items(&self.view, &found, &selection, wanted, now, &mut |item| all.push(item));
        }
        all
    }
}

/// A second each: container 1 uses half a core, the others nothing.
fn steady(containers: u32, seconds: u64) -> World {
    let mut world = World::new(containers, Duration::from_secs(1), None);
    for n in 0..=seconds {
        let used = |container| if container == 1 { n * CORE / 2 } else { 0 };
        let samples: Vec<_> = (0..=containers).map(|container| (container, used(container), 10)).collect();
        world.tick(BEGIN + n * SECOND, &samples, &[]);
    }
    world
}

#[test]
fn a_pod_is_the_sum_and_a_container_its_own() {
    let world = steady(2, 30);
    let pod = world.pod(&EVERYTHING).unwrap();
    assert_eq!((pod.cpu_nanocores, pod.working_set_bytes), (CORE / 2, 2 * 40960));
    assert_eq!((pod.held, pod.source), (false, Source::Agent));
    let containers = world.all(Level::Containers, &EVERYTHING);
    let numbers: Vec<_> = containers.iter().map(|item| item.numbers.clone().unwrap()).collect();
    assert_eq!(numbers.iter().map(|one| one.cpu_nanocores).collect::<Vec<_>>(), [CORE / 2, 0]);
    assert_eq!(numbers[0].window, Duration::from_secs(15));
    assert_eq!(numbers.iter().map(|one| one.time).min(), Some(pod.time), "the one read first");
    let messages: Vec<_> = containers.iter().map(Item::message).collect();
    let Message::Usage(usage) = &messages[1] else { panic!("{messages:?}") };
    let expected = wire::Subject {
        node: "n1".to_owned(),
        namespace: "shop".to_owned(),
        pod: "web".to_owned(),
        pod_uid: "uid".to_owned(),
        container: "c2".to_owned(),
        container_id: "id-2".to_owned(),
    };
    assert_eq!((usage.subject.as_ref(), usage.source()), (Some(&expected), Source::Agent));
    let [node] = world.all(Level::Nodes, &EVERYTHING).try_into().unwrap();
    assert_eq!(node.numbers.unwrap().birth, Some(WallTime(BOOT)));
}

#[test]
fn a_window_of_the_callers_is_as_long_as_it_says_also_for_a_young_pod() {
    let mut world = steady(1, 30);
    let mut record = PodRecord::clone(&world.record());
    record.ready = Some(WallTime(BOOT + BEGIN + 20 * SECOND)).into();
    world.view.directory.put_pod(record);
    let window = |seconds| Wanted { window: Some(Duration::from_secs(seconds)), ..EVERYTHING };
    assert_eq!(
        world.pod(&EVERYTHING).unwrap().window,
        Duration::from_secs(9),
        "from readiness, and a second"
    );
    for seconds in [1, 15, 30] {
        assert_eq!(world.pod(&window(seconds)).unwrap().window, Duration::from_secs(seconds));
    }
    assert_eq!(world.pod(&window(60)).unwrap().window, Duration::from_secs(30), "all there is");
    // What the last second brought is the whole of a window of one.
    world.tick(BEGIN + 31 * SECOND, &[(0, 0, 1), (1, 17 * CORE, 10)], &[]);
    let burst = world.pod(&window(1)).unwrap();
    assert_eq!((burst.cpu_nanocores, burst.distribution), (2 * CORE, None));
    assert_eq!(world.pod(&window(10)).unwrap().distribution.unwrap().max, 2 * CORE);
}

#[test]
fn windows_outside_of_what_is_kept_are_faults() {
    let read = |window: Option<(i64, i32)>| {
        let mut faults = Faults::default();
        let window = window.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
        let wanted = Wanted::read(window, true, false, Duration::from_secs(60), &mut faults);
        assert_eq!(wanted.is_some(), faults.is_empty());
        wanted
    };
    assert_eq!(read(None), Some(Wanted { window: None, details: false, distribution: true }));
    assert_eq!(read(Some((1, 500_000_000))).unwrap().window, Some(Duration::from_millis(1500)));
    assert!(read(Some((60, 0))).is_some());
    for wrong in [(0, 999_999_999), (60, 1), (-15, 0), (i64::MAX, i32::MAX), (i64::MIN, i32::MIN)] {
        assert_eq!(read(Some(wrong)), None, "{wrong:?}");
    }
}

#[test]
fn details_follow_their_changes_and_add_up_where_that_means_something() {
    let mut world = steady(2, 2);
    let details = [
        (1, Detail::Swap, 0),
        (1, Detail::OomKills, 1),
        (1, Detail::MemoryPeak, 9),
        (1, Detail::IoPressureFull, 9),
        (2, Detail::Swap, 4096),
        (2, Detail::MemoryPeak, 9),
        (2, Detail::IoPressureFull, 9),
    ];
    world.tick(BEGIN + 3 * SECOND, &[(0, 0, 1), (1, 2 * CORE, 1), (2, 0, 1)], &details);
    let sum =
        |world: &World| world.pod(&EVERYTHING).unwrap().details.map(|sum| sum.iter().collect::<Vec<_>>());
    // Of the kills one container does not tell; the others say nothing of the pod.
    assert_eq!(sum(&world), Some(vec![(Detail::Swap, 4096)]));
    world.tick(BEGIN + 4 * SECOND, &[(1, 2 * CORE, 1), (2, 0, 1)], &[(2, Detail::OomKills, 2)]);
    assert_eq!(sum(&world), Some(vec![(Detail::Swap, 4096), (Detail::OomKills, 3)]));
    let one = world.all(Level::Containers, &EVERYTHING).swap_remove(0).numbers.unwrap();
    assert_eq!(one.details.unwrap().get(Detail::MemoryPeak), Some(9));
    let without = Wanted { details: false, distribution: false, ..EVERYTHING };
    let one = world.pod(&without).unwrap();
    assert_eq!((one.details, one.distribution), (None, None));
}

#[test]
fn a_pod_is_as_old_as_its_oldest_container_if_all_are_known() {
    assert_eq!(steady(2, 2).pod(&EVERYTHING).unwrap().birth, Some(WallTime(BOOT + SECOND)));
    assert_eq!(steady(3, 2).pod(&EVERYTHING).unwrap().birth, None, "the third says nothing");
}

#[test]
fn a_pod_without_a_picture_has_a_reason_and_so_have_its_containers() {
    let mut world = World::new(2, Duration::from_secs(1), None);
    assert_eq!(world.pod(&EVERYTHING), Err(AbsenceReason::NoAgent));
    world.tick(BEGIN, &[(0, 0, 1), (1, 0, 1)], &[]);
    assert_eq!(world.pod(&EVERYTHING), Err(AbsenceReason::NotMeasured));
    let absent = world.all(Level::Containers, &EVERYTHING);
    let reasons: Vec<_> = absent.iter().map(|item| item.numbers.clone().unwrap_err()).collect();
    assert_eq!(reasons, [AbsenceReason::NotMeasured; 2]);
    let Message::Absent(one) = absent[1].message() else { panic!("{absent:?}") };
    assert_eq!((one.reason(), one.subject.unwrap().container.as_str()), (AbsenceReason::NotMeasured, "c2"));
    world
        .view
        .directory
        .put_pod(PodRecord { containers: Box::default(), ..PodRecord::clone(&world.record()) });
    let [pod] = world.all(Level::Containers, &EVERYTHING).try_into().unwrap();
    assert_eq!(pod.numbers, Err(AbsenceReason::NoContainers));
    assert!(matches!(pod.subject, Subject::Pod(_)));
}

#[test]
fn containers_over_the_limit_are_said_to_be() {
    let mut world = World::new(12, Duration::from_secs(1), None);
    let samples: Vec<_> = (0..=12).map(|container| (container, 0, 1)).collect();
    for n in 0..3 {
        world.tick(BEGIN + n * SECOND, &samples, &[]);
    }
    assert_eq!(world.pod(&EVERYTHING), Err(AbsenceReason::OverLimit));
}

proptest! {
    /// Whatever happened to a pod, the default window is the API's answer: same numbers, same time, same window.
    #[test]
    fn with_the_default_window_the_numbers_are_the_apis(
        interval in 200_u64..3000,
        ticks in proptest::collection::vec((0..50_u64, proptest::collection::vec((0..3_000_000_000_u64, 0..100_u32), 3), 0..10_u8), 1..40),
        ready in proptest::option::of(0..60_u64),
        replaced in proptest::option::of(0..40_usize),
    ) {
        let ready = ready.map(|seconds| WallTime(BOOT + BEGIN + seconds * SECOND));
        let mut world = World::new(2, Duration::from_millis(interval), ready);
        let (mut time, mut cpu) = (BEGIN, [0; 3]);
        for (nth, (late, used, skipped)) in ticks.iter().enumerate() {
            time += interval * 1000 + late * 1000;
            let mut samples = Vec::new();
            for (container, &(more, units)) in (0..).zip(used) {
                cpu[container as usize] += more;
                // Now and then a container is not read.
                if nth == 0 || *skipped != u8::try_from(container).unwrap() {
                    samples.push((container, cpu[container as usize], units));
                }
            }
            world.tick(time, &samples, &[]);
            if replaced == Some(nth) {
                let record = PodRecord::clone(&world.record());
                let previous = Some(Box::new((record.containers.clone(), BootTime(time + 2000))));
                let new = ContainerRecord::new("new".into(), CounterRef::Container(id(9)));
                world.view.directory.put_pod(PodRecord { containers: [new].into(), previous, ..record });
            }
            let (now, record) = (Moment::now(), world.record());
            let api = world.view.pod_answer(&record, now);
            let one = pod(&world.view, &record, &EVERYTHING, now).numbers;
            match (&api, &one) {
                (Ok(api), Ok(one)) => {
                    let cpu: u64 = api.usages.iter().map(|usage| usage.cpu_nanocores).sum();
                    let memory: u64 = api.usages.iter().map(|usage| usage.memory_bytes).sum();
                    prop_assert_eq!((api.timestamp, api.window, api.held), (one.time, one.window, one.held));
                    prop_assert_eq!((cpu, memory), (one.cpu_nanocores, one.working_set_bytes));
                    // Asked a little later, a picture might be held no longer.
                    let each = world.all_at(Level::Containers, &EVERYTHING, now);
                    let each: Vec<_> = each.into_iter().map(|item| item.numbers.unwrap()).collect();
                    let theirs: Vec<_> = api.usages.iter().map(|usage| (usage.cpu_nanocores, usage.memory_bytes)).collect();
                    let ours: Vec<_> = each.iter().map(|one| (one.cpu_nanocores, one.working_set_bytes)).collect();
                    prop_assert_eq!(theirs, ours);
                }
                (Err(omission), Err(given)) => prop_assert_eq!(reason(*omission, false), *given),
                _ => prop_assert!(false, "{:?} and {:?}", api, one),
            }
            let node = world.view.directory.node("n1").unwrap();
            let theirs = world.view.node_answer(&node, now).map(|node| (node.timestamp, node.window, node.usage.cpu_nanocores));
            let ours = super::node(&world.view, &node, &EVERYTHING, now).numbers;
            prop_assert_eq!(theirs.ok(), ours.ok().map(|one| (one.time, one.window, one.cpu_nanocores)));
        }
    }
}
