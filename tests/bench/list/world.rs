//! A store and a directory as full as those of a large cluster.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kubevitals::{
    chain::{Announcement, Tick},
    sample::{BootTime, ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WallTime, WorkingSet},
};
use kubevitals_aggregator::{
    directory::{ContainerRecord, Directory, NodeRecord, Noted, PodRecord},
    metrics::Served,
    picture::Rules,
    store::{
        Limits, Store,
        node::{CounterRef, Session},
    },
    view::View,
};

/// Namespaces, with as many pods each.
pub(crate) const NAMESPACES: usize = 50;

/// Pods of one application.
pub(crate) const SELECTED: usize = 30;

const PODS_PER_NODE: usize = 30;
const CONTAINERS: [&str; 2] = ["app", "istio-proxy"];

/// Samples before the first list: as many as are kept, so that no ring grows while the memory of a list is measured.
const TICKS: u64 = 70;

/// Groups of nodes that tick together.
const GROUPS: u32 = 50;

/// What the nodes said last.
pub(crate) struct World {
    pub(crate) view: View,
    pub(crate) nodes: usize,
    tick: u64,
    started: Instant,
}

impl World {
    /// Nobody has ticked yet.
    pub(crate) fn new(pods: usize) -> Self {
        let limits = Limits { containers: 1_000_000, nodes: 20_000, kept: Duration::from_secs(60) };
        let (store, directory) = (Arc::new(Store::new(limits)), Arc::new(Directory::default()));
        let rules = Rules {
            window: Duration::from_secs(15),
            shortest: Duration::from_millis(250),
            after_ready: Duration::from_secs(5),
            hold: Duration::from_secs(15),
            stale: Duration::from_secs(30),
        };
        let view = View { store, directory, rules, served: Served::default(), kubelets: None };
        let world = Self { view, nodes: nodes(pods), tick: 0, started: Instant::now() };
        (0..pods).for_each(|nth| world.view.directory.put_pod(pod(nth, pods)));
        (0..world.nodes).for_each(|nth| world.node(nth));
        world
    }

    /// After more ticks than a window has.
    pub(crate) fn filled(pods: usize) -> Self {
        let mut world = Self::new(pods);
        (0..TICKS).for_each(|_| world.tick());
        world
    }

    fn node(&self, nth: usize) {
        let labels = [("kubernetes.io/hostname", node_name(nth))].into_iter().collect();
        let name = Arc::from(node_name(nth));
        self.view.directory.put_node(NodeRecord { name, labels, created: WallTime(0), kubelet: None });
        let shard = self.view.store.shard_or_new(&node_name(nth)).unwrap();
        let session = Session {
            boot_id: "boot".to_owned(),
            instance: 1,
            version: "bench".into(),
            interval: Duration::from_secs(1),
            cpus: 64,
            memory_bytes: 256 << 30,
            newest_sequence: 0,
        };
        shard.write().begin(session, Instant::now()).unwrap();
    }

    /// One tick of every node. The first ones follow each other at once and say that they are a second apart; of later
    /// ones each group of nodes waits for its turn within the second, as agents do.
    pub(crate) fn tick(&mut self) {
        self.tick += 1;
        let is_early = self.tick <= TICKS;
        for group in 0..GROUPS {
            let turn = Duration::from_secs(1) / GROUPS * group;
            let into = if is_early {
                turn + late(self.tick, group)
            } else {
                let due = Duration::from_secs(self.tick - TICKS - 1) + turn;
                std::thread::sleep(due.saturating_sub(self.started.elapsed()));
                self.started.elapsed()
            };
            let begin = self.tick.min(TICKS + 1) * 1_000_000;
            let time = begin + u64::try_from(into.as_micros()).unwrap();
            for nth in (group as usize..self.nodes).step_by(GROUPS as usize) {
                self.node_tick(nth, self.tick, time, samples(self.tick, time), Instant::now());
            }
        }
        if self.tick == TICKS {
            self.started = Instant::now();
        }
    }

    /// One tick of one node, which begins at this moment.
    pub(crate) fn node_tick(
        &self,
        node: usize,
        sequence: u64,
        time: u64,
        samples: Vec<(SeriesId, Sample)>,
        now: Instant,
    ) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let tick = Tick {
            sequence,
            time: BootTime(time),
            wall: WallTime(u64::try_from(wall.as_micros()).unwrap()),
            announced: if sequence == 1 { announced(node, self.nodes) } else { Vec::new() },
            samples,
            ..Tick::default()
        };
        self.view.store.shard(&node_name(node)).unwrap().write().apply(&tick, now);
    }
}

/// What a sleep may be late by, so that times take the room in memory that they take later.
fn late(tick: u64, group: u32) -> Duration {
    Duration::from_micros((tick * 7919 + u64::from(group) * 104_729) % 2000)
}

/// Of so many pods; the last ones have fewer.
fn nodes(pods: usize) -> usize {
    pods.div_ceil(PODS_PER_NODE)
}

fn node_name(nth: usize) -> String {
    format!("ip-10-{}-{}-{}.example.internal", nth / 65_536, nth / 256 % 256, nth % 256)
}

/// Pods are spread over namespaces in blocks and over nodes in turn.
fn pod(nth: usize, pods: usize) -> PodRecord {
    let namespace = nth * NAMESPACES / pods;
    let app = (nth - (namespace * pods).div_ceil(NAMESPACES)) / SELECTED;
    let hash = format!("{:08x}", app * 7919 + namespace);
    let labels = [
        ("app", format!("app-{app:02}")),
        ("app.kubernetes.io/instance", format!("app-{app:02}-production")),
        ("app.kubernetes.io/managed-by", "Helm".to_owned()),
        ("pod-template-hash", hash.clone()),
    ];
    PodRecord {
        uid: format!("{nth:032x}").into(),
        namespace: Arc::from(format!("team-{namespace:02}")),
        name: Arc::from(format!("app-{app:02}-{hash}-{nth:05x}")),
        node: Arc::from(node_name(nth % nodes(pods))),
        labels: labels.into_iter().collect(),
        owner: None,
        created: Noted::default(),
        ready: Noted::default(),
        containers: (0..CONTAINERS.len()).map(|n| container(nth, n)).collect(),
        previous: None,
    }
}

fn container(pod: usize, nth: usize) -> ContainerRecord {
    ContainerRecord::new(Arc::from(CONTAINERS[nth]), CounterRef::Container(id(pod, nth)))
}

fn id(pod: usize, nth: usize) -> ContainerId {
    ContainerId::new(&format!("{:064x}", pod * CONTAINERS.len() + nth)).unwrap()
}

/// Series, pod of the node and container of the pod, for every container of a node.
pub(crate) fn containers() -> impl Iterator<Item = (SeriesId, usize, usize)> {
    let all = (0..PODS_PER_NODE).flat_map(|pod| (0..CONTAINERS.len()).map(move |nth| (pod, nth)));
    (1_u32..).zip(all).map(|(series, (pod, nth))| (SeriesId(series), pod, nth))
}

fn announced(node: usize, nodes: usize) -> Vec<Announcement> {
    let mut all = vec![Announcement {
        series: SeriesId(0),
        subject: Subject::Node,
        inode: 1,
        first: None,
        birth: None,
    }];
    all.extend(containers().map(|(series, pod, nth)| {
        let uid = PodUid::new(&format!("{pod:032x}")).unwrap();
        // Pods go to the nodes in turn.
        let subject = Subject::Container { pod: uid, id: id(node + pod * nodes, nth), qos: None };
        Announcement { series, subject, inode: u64::from(series.0), first: None, birth: None }
    }));
    all
}

/// Counters that move, each at its own rate.
fn samples(tick: u64, time: u64) -> Vec<(SeriesId, Sample)> {
    let sample = |series: SeriesId, rate: u64| {
        let memory = u32::try_from(rate % 200_000 + 1000 + tick % 7).unwrap();
        let time = BootTime(time + u64::from(series.0));
        (series, Sample { time, cpu: CpuTime(tick * rate), working_set: WorkingSet::from_units(memory) })
    };
    let node = std::iter::once(sample(SeriesId(0), 4_000_000_000));
    node.chain(
        containers()
            .map(|(series, pod, nth)| sample(series, (pod as u64 + 1) * 1_234_567 + (nth as u64) * 98_765)),
    )
    .collect()
}
