//! Pods that change, over a store in which their containers are measured.

use std::time::{Duration, Instant};

use kubevitals::{
    chain::{Announcement, Tick},
    sample::{ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WallTime, WorkingSet},
};
use serde_json::json;

use super::*;
use crate::{
    api::source::{Lookup, Source},
    metrics::Served,
    picture::Rules,
    store::{
        Limits,
        node::{CounterRef, Session},
    },
    view::View,
};

struct World {
    pods: Pods,
    ticks: u64,
}

/// A pod of one container, `id`; without one, nothing runs in it.
fn mk_pod(uid: &str, node: &str, id: Option<&str>) -> Pod {
    let status = |id: &str| {
        json!([{"name": "web", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": format!("containerd://{id}"), "state": {"running": {}}}])
    };
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": "web-1", "uid": uid},
        "spec": {"nodeName": node, "containers": [{"name": "web"}]},
        "status": {"phase": "Running", "containerStatuses": id.map(status)},
    }))
    .unwrap()
}

fn container(id: &str) -> ContainerRecord {
    ContainerRecord::new("web".into(), CounterRef::Container(ContainerId::new(id).unwrap()))
}

impl World {
    fn new() -> Self {
        let limits = Limits { containers: 10, nodes: 2, kept: Duration::from_secs(60) };
        let store = Arc::new(Store::new(limits));
        let pods = Pods::new(Arc::default(), store, Gauge::default());
        Self { pods, ticks: 0 }
    }

    fn apply(&mut self, uid: &str, node: &str, id: Option<&str>) -> Arc<PodRecord> {
        self.pods.take(Event::Apply(mk_pod(uid, node, id)));
        self.pods.directory.pod("shop", "web-1").unwrap()
    }

    /// The node's agent reads a container, half a second after its tick began, each second.
    fn measure(&mut self, node: &str, series: u32, id: &str) {
        self.ticks += 1;
        let time = BootTime(self.ticks * 1_000_000);
        let subject = Subject::Container {
            pod: PodUid::new("aa").unwrap(),
            id: ContainerId::new(id).unwrap(),
            qos: None,
        };
        let announced = Announcement {
            series: SeriesId(series),
            subject,
            inode: series.into(),
            first: None,
            birth: None,
        };
        let sample = Sample {
            time: BootTime(time.0 + 500_000),
            cpu: CpuTime(self.ticks),
            working_set: WorkingSet::from_units(1),
        };
        let tick = Tick {
            sequence: self.ticks,
            time,
            wall: WallTime(time.0),
            announced: vec![announced],
            samples: vec![(SeriesId(series), sample)],
            ..Tick::default()
        };
        let shard = self.pods.store.shard_or_new(node).unwrap();
        let mut state = shard.write();
        if state.session().is_none() {
            let begun = state.begin(
                Session {
                    boot_id: "boot".to_owned(),
                    instance: 1,
                    interval: Duration::from_secs(1),
                    cpus: 1,
                    memory_bytes: 1,
                    newest_sequence: 0,
                    version: "0.1.0".into(),
                },
                std::time::Instant::now(),
            );
            assert!(begun.is_some());
        }
        state.apply(&tick, Instant::now());
    }

    fn view(&self) -> View {
        View {
            store: Arc::clone(&self.pods.store),
            directory: Arc::clone(&self.pods.directory),
            kubelets: None,
            rules: Rules {
                window: Duration::from_secs(15),
                shortest: Duration::from_millis(250),
                after_ready: Duration::from_secs(5),
                hold: Duration::from_secs(15),
                stale: Duration::from_secs(30),
            },
            served: Served::default(),
        }
    }
}

#[test]
fn a_restarted_container_leaves_the_former_one_as_the_last_picture() {
    let mut world = World::new();
    world.apply("u", "n1", Some("a"));
    world.measure("n1", 1, "a");
    world.measure("n1", 1, "a");

    let record = world.apply("u", "n1", Some("b"));

    assert_eq!(*record.containers, [container("b")]);
    // The reading of the last tick belongs to it, though it was taken after that tick began.
    assert_eq!(record.previous.as_deref(), Some(&([container("a")].into(), BootTime(2_500_000))));
    assert!(matches!(world.view().pod("shop", "web-1"), Lookup::Found(_)));
}

#[test]
fn a_set_that_was_never_measured_does_not_replace_the_last_picture() {
    let mut world = World::new();
    world.apply("u", "n1", Some("a"));
    world.measure("n1", 1, "a");
    let last = Some(Box::new(([container("a")].into(), BootTime(1_500_000))));

    for id in [None, Some("b"), Some("c")] {
        assert_eq!(world.apply("u", "n1", id).previous, last, "{id:?}");
    }
}

#[test]
fn a_pod_nobody_measured_has_no_last_picture() {
    let mut world = World::new();
    world.apply("u", "n1", Some("a"));
    assert_eq!(world.apply("u", "n1", Some("b")).previous, None);
}

#[test]
fn a_pod_made_anew_under_its_name_takes_nothing_over() {
    let mut world = World::new();
    world.apply("old", "n1", Some("a"));
    world.measure("n1", 1, "a");
    let record = world.apply("new", "n1", Some("b"));
    assert_eq!((&record.uid, &record.previous), (&"new".into(), &None));
    assert_eq!(world.pods.known.get(), 1);
}

#[test]
fn a_late_farewell_does_not_remove_the_successor() {
    let mut world = World::new();
    world.apply("new", "n1", Some("b"));
    world.pods.take(Event::Delete(mk_pod("old", "n1", Some("a"))));
    assert!(world.pods.directory.pod("shop", "web-1").is_some());
    world.pods.take(Event::Delete(mk_pod("new", "n1", Some("b"))));
    world.pods.take(Event::Delete(mk_pod("new", "n1", Some("b"))));
    assert!(world.pods.directory.pod("shop", "web-1").is_none());
    assert_eq!(world.pods.known.get(), 0);
}

#[test]
fn an_event_that_changes_nothing_leaves_the_record_alone() {
    let mut world = World::new();
    let first = world.apply("u", "n1", Some("a"));
    let second = world.apply("u", "n1", Some("a"));
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn a_list_that_broke_off_removes_nothing() {
    let mut world = World::new();
    world.apply("u", "n1", Some("a"));
    world.pods.take(Event::Init);
    world.pods.take(Event::Init);
    assert!(world.pods.directory.pod("shop", "web-1").is_some());
    world.pods.take(Event::InitDone);
    assert!(world.pods.directory.pod("shop", "web-1").is_none());
}

#[test]
fn only_the_node_a_pod_is_bound_to_is_believed() {
    let mut world = World::new();
    world.apply("u", "n1", Some("a"));

    world.measure("n2", 1, "a");
    world.measure("n2", 1, "a");
    assert!(matches!(world.view().pod("shop", "web-1"), Lookup::NoSample));

    world.measure("n1", 1, "a");
    world.measure("n1", 1, "a");
    assert!(matches!(world.view().pod("shop", "web-1"), Lookup::Found(_)));
}
