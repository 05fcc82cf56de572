//! What is told of pods and nodes in each state that they can be in.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kubevitals::{
    chain::{Announcement, Omission as LeftOutByAgent, OmissionReason, Tick},
    sample::{BootTime, ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WallTime, WorkingSet},
};

use super::{Explainer, Outcome, refusals::Turned};
use crate::{
    api::health::{Health, Probe},
    directory::{ContainerRecord, Labels, NodeRecord, Noted, PodRecord},
    metrics::Served,
    picture::Rules,
    store::{
        Limits, Store,
        node::{CounterRef, Session},
    },
    view::View,
};

const UID: &str = "11111111-2222-3333-4444-555555555555";

/// One node with a container `a` of pod `ns/web`, and room for so many containers.
struct World(Explainer);

impl World {
    fn new(containers: usize) -> Self {
        let seconds = Duration::from_secs;
        let rules = Rules {
            window: seconds(15),
            shortest: Duration::from_millis(250),
            after_ready: seconds(5),
            hold: seconds(15),
            stale: seconds(30),
        };
        let limits = Limits { containers, nodes: 3, kept: seconds(60) };
        let (store, directory) = (Arc::new(Store::new(limits)), Arc::default());
        let view = View { store, directory, kubelets: None, rules, served: Served::default() };
        let world = Self(Explainer { view, refusals: Arc::default(), health: Health::default() });
        world.know_node("n1");
        world.know_pod(&["a"]);
        world
    }

    fn know_node(&self, name: &str) {
        let record =
            NodeRecord { name: name.into(), labels: Labels::default(), created: WallTime(1), kubelet: None };
        self.0.view.directory.put_node(record);
    }

    fn know_pod(&self, containers: &[&str]) {
        let counter = |id: &&str| {
            ContainerRecord::new((*id).into(), CounterRef::Container(ContainerId::new(id).unwrap()))
        };
        self.0.view.directory.put_pod(PodRecord {
            uid: UID.into(),
            namespace: "ns".into(),
            name: "web".into(),
            node: "n1".into(),
            labels: Labels::default(),
            owner: None,
            created: Noted::default(),
            ready: Some(WallTime(1)).into(),
            containers: containers.iter().map(counter).collect(),
            previous: None,
        });
    }

    /// An agent connects and reads the node and container `a`, so many times; its clock is ahead.
    fn measure(&self, times: u64, ahead: i64) {
        let shard = self.0.view.store.shard_or_new("n1").unwrap();
        let mut state = shard.write();
        let session = Session {
            boot_id: "boot".to_owned(),
            instance: 1,
            interval: Duration::from_secs(1),
            cpus: 1,
            memory_bytes: 1,
            newest_sequence: 0,
            version: "0.1.0".into(),
        };
        assert!(state.begin(session, Instant::now()).is_some());
        let pod = PodUid::new(UID).unwrap();
        let subjects =
            [Subject::Node, Subject::Container { pod, id: ContainerId::new("a").unwrap(), qos: None }];
        for nth in 1..=times {
            let time = BootTime(nth * 1_000_000);
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
            let wall = WallTime(u64::try_from(wall).unwrap().saturating_add_signed(ahead * 1_000_000));
            let announced = (1..).zip(&subjects).map(|(series, subject)| Announcement {
                series: SeriesId(series),
                subject: subject.clone(),
                inode: u64::from(series),
                first: None,
                birth: None,
            });
            let sample =
                Sample { time, cpu: CpuTime(nth), working_set: WorkingSet::from_bytes(4096).unwrap() };
            let tick = Tick {
                sequence: nth,
                time,
                wall,
                announced: if nth == 1 { announced.collect() } else { Vec::new() },
                samples: vec![(SeriesId(1), sample), (SeriesId(2), sample)],
                omissions: vec![LeftOutByAgent { reason: OmissionReason::BackedOff, count: 2 }],
                ..Tick::default()
            };
            state.apply(&tick, Instant::now());
        }
    }
}

fn reason(outcome: &Outcome) -> Option<&str> {
    outcome.reason.as_deref()
}

#[test]
fn a_pod_that_is_measured_tells_its_age_window_and_samples() {
    let world = World::new(10);
    world.measure(3, 0);
    let told = world.0.pod("ns", "web");
    assert!(told.known && told.outcome.served, "{told:?}");
    assert_eq!((told.outcome.window_seconds, told.container_count), (Some(2.0), 1));
    let container = told.containers.first().unwrap();
    assert_eq!(
        (container.samples, container.span_seconds, container.reason.as_deref()),
        (3, Some(2.0), None)
    );
    let node = told.node.unwrap();
    assert!(node.streaming && node.known && node.outcome.served);
    assert_eq!((node.containers, node.agent_version.as_deref()), (1, Some("0.1.0")));
    assert_eq!(node.left_out.first().map(|it| (it.reason.as_str(), it.count)), Some(("backed_off", 2)));
    assert!(node.clock_ahead_seconds.unwrap().abs() < 1.0);
}

#[test]
fn each_lack_has_its_reason() {
    let world = World::new(10);
    let told = world.0.pod("ns", "web");
    assert_eq!(reason(&told.outcome), Some("no_agent"));
    assert_eq!(told.containers.first().unwrap().reason.as_deref(), Some("not_measured"));
    world.measure(1, 0);
    assert_eq!(reason(&world.0.pod("ns", "web").outcome), Some("first_sample"));
    world.know_pod(&["a", "b"]);
    let told = world.0.pod("ns", "web");
    assert_eq!(reason(&told.outcome), Some("not_measured"));
    let reasons: Vec<_> = told.containers.iter().map(|it| it.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("first_sample"), Some("not_measured")]);
    assert_eq!(reason(&world.0.pod("ns", "none").outcome), Some("unknown"));
    assert_eq!(reason(&world.0.node("none").outcome), Some("unknown"));
}

#[test]
fn a_container_over_the_limit_is_told_from_one_that_is_not_reported() {
    let world = World::new(0);
    world.measure(2, 0);
    let told = world.0.pod("ns", "web");
    assert_eq!(told.containers.first().unwrap().reason.as_deref(), Some("over_limit"));
    assert_eq!(told.node.unwrap().refused_containers, 1);
    assert_eq!(world.0.overview().refused_containers, 1);
}

#[test]
fn the_overview_counts_and_names_what_is_not_well() {
    let world = World::new(10);
    world.measure(2, -3600);
    world.know_node("n2");
    world.0.health.register("x", &[Probe::Ready], || Err("why".to_owned()));
    world.0.refusals.note(Turned { peer: None, node: Some("n2"), reason: "other_node", what: "no" });
    let told = world.0.overview();
    assert_eq!((told.nodes, told.streaming, told.silent.examples), (2, 1, vec!["n2".to_owned()]));
    assert_eq!((told.pods.known, told.pods.served, told.pods.omitted.len()), (1, 1, 0));
    assert!((told.clocks["n1"] + 3600.0).abs() < 2.0, "{:?}", told.clocks);
    assert_eq!(told.failing_checks["x"], "why");
    assert_eq!(told.refusals.first().unwrap().reason, "other_node");
    assert_eq!(world.0.node("n2").refusals.len(), 1);
    assert_eq!(world.0.node("n1").refusals.len(), 0);
}

#[test]
fn lists_are_cut_and_an_explanation_survives_json() {
    let world = World::new(10);
    for nth in 0..50 {
        world.know_node(&format!("node-{nth}"));
    }
    let told = world.0.overview();
    assert_eq!((told.silent.count, told.silent.examples.len()), (51, 20));
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<super::Overview>(&json).unwrap(), told);
    // A newer aggregator may tell more, an older one less.
    assert_eq!(serde_json::from_str::<super::Overview>("{\"new\":1}").unwrap(), super::Overview::default());
}
