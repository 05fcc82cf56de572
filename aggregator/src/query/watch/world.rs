//! Two nodes and what runs on them, for tests: the real directory and store, filled by ticks.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kubevitals::{
    chain::{Announcement, Tick},
    sample::{BootTime, ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WallTime, WorkingSet},
};

use crate::{
    directory::{ContainerRecord, Labels, NodeRecord, Noted, PodRecord},
    metrics::Served,
    picture::Rules,
    query::{
        item::{Wanted, items},
        selection::Selection,
        walk::step,
    },
    store::{
        Limits, Store,
        node::{CounterRef, Session},
    },
    view::{Moment, View},
};

use super::model::{Held, Id, id, timeless};

/// One container that runs.
#[derive(Debug, Clone)]
struct Running {
    id: String,
    series: SeriesId,
    cpu: u64,
    is_announced: bool,
}

/// The world.
pub(crate) struct World {
    pub(crate) view: View,
    /// By node.
    running: BTreeMap<&'static str, Vec<Running>>,
    clocks: BTreeMap<&'static str, u64>,
    newest: u32,
}

pub(crate) const NODES: [&str; 2] = ["n0", "n1"];

impl World {
    pub(crate) fn new() -> Self {
        let limits = Limits { containers: 1000, nodes: 10, kept: Duration::from_secs(60) };
        let rules = Rules {
            window: Duration::from_secs(15),
            shortest: Duration::from_millis(250),
            after_ready: Duration::from_secs(5),
            hold: Duration::from_secs(15),
            stale: Duration::from_secs(30),
        };
        let view = View {
            store: Arc::new(Store::new(limits)),
            directory: Arc::default(),
            kubelets: None,
            rules,
            served: Served::default(),
        };
        let world = Self { view, running: BTreeMap::new(), clocks: BTreeMap::new(), newest: 0 };
        for node in NODES {
            let session = Session {
                boot_id: "boot".to_owned(),
                instance: 1,
                interval: Duration::from_secs(1),
                cpus: 4,
                memory_bytes: 1 << 30,
                newest_sequence: 0,
                version: "test".into(),
            };
            let _begun = world.view.store.shard_or_new(node).unwrap().write().begin(session, Instant::now());
            let (name, labels) = (Arc::from(node), Labels::default());
            world.view.directory.put_node(NodeRecord { name, labels, created: WallTime(0), kubelet: None });
        }
        world
    }

    /// A pod with these containers; their ids tell their lives.
    pub(crate) fn pod(&mut self, name: &str, uid: &str, node: &'static str, app: &str, ids: &[String]) {
        let containers = ids.iter().enumerate().map(|(nth, id)| {
            let counter = CounterRef::Container(ContainerId::new(id).unwrap());
            ContainerRecord::new(Arc::from(format!("c{nth}")), counter)
        });
        self.view.directory.put_pod(PodRecord {
            uid: uid.into(),
            namespace: "a".into(),
            name: name.into(),
            node: node.into(),
            labels: [("app", app)].into_iter().collect(),
            owner: None,
            created: Noted::default(),
            ready: Noted::default(),
            containers: containers.collect(),
            previous: None,
        });
        for id in ids {
            let running = self.running.entry(node).or_default();
            if !running.iter().any(|running| running.id == *id) {
                self.newest += 1;
                let series = SeriesId(self.newest);
                running.push(Running { id: id.clone(), series, cpu: 0, is_announced: false });
            }
        }
    }

    /// A second passes on a node in which the containers for which `is_busy` says so use half of it. Its batch came
    /// `ago`.
    pub(crate) fn tick(&mut self, node: &'static str, is_busy: impl Fn(&str) -> bool, ago: Duration) {
        let clock = self.clocks.entry(node).or_default();
        *clock += 1;
        let time = BootTime(*clock * 1_000_000);
        let mut tick = Tick {
            sequence: *clock,
            time,
            wall: WallTime(1_795_000_000_000_000 + time.0),
            ..Tick::default()
        };
        for running in self.running.entry(node).or_default() {
            if !std::mem::replace(&mut running.is_announced, true) {
                let (pod, id) = (PodUid::new("aa").unwrap(), ContainerId::new(&running.id).unwrap());
                let subject = Subject::Container { pod, id, qos: None };
                let (series, inode) = (running.series, running.series.0.into());
                tick.announced.push(Announcement { series, subject, inode, first: None, birth: None });
            }
            running.cpu += if is_busy(&running.id) { 500_000_000 } else { 0 };
            let (cpu, working_set) = (CpuTime(running.cpu), WorkingSet::from_units(7));
            tick.samples.push((running.series, Sample { time, cpu, working_set }));
        }
        let now = Instant::now();
        let came = now.checked_sub(ago).unwrap_or(now);
        self.view.store.shard(node).unwrap().write().apply(&tick, came);
    }

    /// What `List` would say now.
    pub(crate) fn listed(&self, selection: &Selection, wanted: &Wanted) -> BTreeMap<Id, Held> {
        use crate::query::item::Message;
        let (mut held, mut after, now) = (BTreeMap::new(), None, Moment::now());
        loop {
            let step = step(&self.view.directory, selection, after.as_ref());
            for found in &step.found {
                items(&self.view, found, selection, wanted, now, &mut |item| {
                    let (of, is) = match item.message() {
                        Message::Usage(usage) => (id(usage.subject.as_ref()), timeless(&usage)),
                        Message::Absent(absent) => {
                            (id(absent.subject.as_ref()), Held::Absent(absent.reason()))
                        }
                    };
                    held.insert(of, is);
                });
            }
            after = step.next;
            if after.is_none() {
                return held;
            }
        }
    }
}
