//! Which pods there are, on which node and since when; the API server and the agents are told the same.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kubevitals::sample::{BootTime, ContainerId, PodUid, Subject};

use crate::{
    apiserver::{
        Cluster,
        make::{self, Pod},
        reviews::User,
    },
    kernel::{Clock, Counter, TICK, mixed},
    program::AGENT_ACCOUNT,
};

pub(crate) const PODS_PER_NODE: usize = 30;
pub(crate) const CONTAINERS: [&str; 2] = ["app", "istio-proxy"];

/// Each pod is a cgroup itself, and has its sandbox and its containers below.
pub(crate) const SERIES_OF_POD: u32 = 4;

/// Pods of one Deployment, and Deployments of one namespace: an autoscaler finds 30 of 600.
pub(crate) const REPLICAS: usize = 30;
pub(crate) const DEPLOYMENTS: usize = 20;

/// Every so many Deployments, one is a `StatefulSet`: the next pod has the name of the one before.
const STATEFUL: usize = 4;

/// What ended is remembered for so many ticks: as long as its agent may have to tell of it again.
const REMEMBERED: u64 = 70;

/// A pod lives this long at least, microseconds: the API server was told of it, and readers have seen it.
const YOUNG: u64 = 5_000_000;

/// Of so many batches of a node it is known when they were handed over.
const HANDED: usize = 8;

/// One pod of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    /// Which pod of the fleet.
    pub(crate) slot: usize,
    /// How often it was replaced.
    pub(crate) generation: u32,
    /// The ticks of its node that find it first, and no longer.
    pub(crate) birth: u64,
    pub(crate) end: u64,
    /// The first of its series.
    pub(crate) series: u32,
    /// When its cgroup was made and the API server was told of it, wall time in microseconds; 0 is before the fleet.
    pub(crate) made: u64,
    /// When it was deleted there.
    pub(crate) deleted: u64,
}

impl Life {
    /// When it became ready, wall time in microseconds: the API has whole seconds.
    pub(crate) fn ready(&self) -> u64 {
        self.made / 1_000_000 * 1_000_000
    }
}

/// One node's pods, ascending by series.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) clock: Clock,
    pub(crate) lives: Vec<Life>,
    next_series: u32,
    /// The last ticks whose batches were handed to its connection, and when, wall time in microseconds.
    handed: VecDeque<(u64, u64)>,
}

impl Node {
    /// Notes that the batch of a tick is on its connection.
    pub(crate) fn hand(&mut self, tick: u64, wall: u64) {
        if self.handed.len() == HANDED {
            self.handed.pop_front();
        }
        self.handed.push_back((tick, wall));
    }

    /// The newest of them.
    pub(crate) fn newest(&self) -> Option<(u64, u64)> {
        self.handed.back().copied()
    }

    /// The newest tick that was handed over by then.
    pub(crate) fn handed_by(&self, wall: u64) -> Option<u64> {
        self.handed.iter().rev().find(|(_, at)| *at <= wall).map(|(tick, _)| *tick)
    }
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Mutex<Node>>,
    begun: Instant,
    /// Microseconds since 1970 when it began.
    begun_wall: u64,
}

impl World {
    pub(crate) fn new(nodes: usize) -> Self {
        let begun_wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let node = |index| {
            let life = |(nth, pod): (u32, usize)| Life {
                slot: index + pod * nodes,
                generation: 0,
                birth: 0,
                end: u64::MAX,
                series: 2 + nth * SERIES_OF_POD,
                made: 0,
                deleted: u64::MAX,
            };
            let lives: Vec<Life> = (0..).zip(0..PODS_PER_NODE).map(life).collect();
            let next_series = 2 + u32::try_from(lives.len()).unwrap() * SERIES_OF_POD;
            Mutex::new(Node { clock: Clock::of(index as u64), lives, next_series, handed: VecDeque::new() })
        };
        Self {
            nodes: (0..nodes).map(node).collect(),
            begun: Instant::now(),
            begun_wall: u64::try_from(begun_wall.as_micros()).unwrap(),
        }
    }

    pub(crate) fn pods(&self) -> usize {
        self.nodes.len() * PODS_PER_NODE
    }

    /// The moment at which all nodes' clocks show this.
    pub(crate) fn instant(&self, time: BootTime) -> Instant {
        self.begun + Duration::from_micros(Clock::since_begin(time))
    }

    /// The wall time, microseconds since 1970, of a moment on the nodes' clocks.
    pub(crate) fn wall(&self, time: BootTime) -> u64 {
        self.begun_wall + Clock::since_begin(time)
    }

    /// The last tick of a node that is due when wall clocks show this.
    pub(crate) fn tick_at(&self, clock: Clock, wall: u64) -> u64 {
        wall.saturating_sub(self.begun_wall + clock.phase) / TICK
    }

    pub(crate) fn now(&self) -> u64 {
        self.begun_wall + u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    /// Which node a pod runs on.
    pub(crate) fn node_of(&self, slot: usize) -> &Mutex<Node> {
        &self.nodes[slot % self.nodes.len()]
    }

    /// The pods of a slot that its node still remembers, the newest first.
    pub(crate) fn lives(&self, slot: usize) -> (Clock, Vec<Life>) {
        let node = self.node_of(slot).lock().unwrap();
        let lives = node.lives.iter().rev().filter(|life| life.slot == slot).cloned().collect();
        (node.clock, lives)
    }

    /// The pods with their nodes and the tokens of their agents, as the API server has them.
    pub(crate) fn populate(&self, cluster: &Cluster) {
        for (index, node) in self.nodes.iter().enumerate() {
            let name = node_name(index);
            cluster.nodes.put(make::node(&name, &[("zone", "a"), ("arch", "amd64")]));
            let agent = User::new(AGENT_ACCOUNT, &["system:serviceaccounts"])
                .extra("authentication.kubernetes.io/node-name", &name)
                .audience("kubevitals");
            cluster.reviews.issue(&token(index), agent);
            for life in &node.lock().unwrap().lives {
                cluster.pods.put(pod(life, self.nodes.len()).object());
            }
        }
    }

    /// Replaces a pod of a node by another of its Deployment: it is deleted now, and its node's next tick but one finds
    /// the other's cgroups instead of its own. The API server is to be told of the other one when these are made.
    pub(crate) fn churn(&self, nth: u64, cluster: &Cluster) -> Life {
        let index = usize::try_from(mixed(nth, 9)).unwrap() % self.nodes.len();
        let (old, new) = {
            let mut node = self.nodes[index].lock().unwrap();
            let now = self.now();
            let next = self.tick_at(node.clock, now) + 2;
            let made = self.wall(node.clock.birth(next));
            let Node { lives, next_series, .. } = &mut *node;
            lives.retain(|life| life.end.saturating_add(REMEMBERED) > next);
            let is_old = |life: &Life| life.end == u64::MAX && life.made.saturating_add(YOUNG) < now;
            let living: Vec<usize> = (0..lives.len()).filter(|&life| is_old(&lives[life])).collect();
            let old = &mut lives[living[usize::try_from(mixed(nth, 10)).unwrap() % living.len()]];
            (old.end, old.deleted) = (next, now);
            let old = old.clone();
            let (birth, generation, series) = (next, old.generation + 1, *next_series);
            let new = Life { generation, birth, end: u64::MAX, series, made, deleted: u64::MAX, ..old };
            *next_series += SERIES_OF_POD;
            lives.push(new.clone());
            (old, new)
        };
        let old = pod(&old, self.nodes.len());
        cluster.pods.delete(&old.namespace, &old.name);
        new
    }
}

/// As the API writes times.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap();
    let (date, clock) = (time.date(), time.time());
    format!(
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

pub(crate) fn node_name(index: usize) -> String {
    format!("ip-10-{}-{}-{}.example.internal", index / 65_536, index / 256 % 256, index % 256)
}

pub(crate) fn token(index: usize) -> String {
    format!("agent-of-{}", node_name(index))
}

/// The namespace of a Deployment.
pub(crate) fn namespace(deployment: usize) -> String {
    format!("team-{:03}", deployment / DEPLOYMENTS)
}

/// As the API has it.
pub(crate) fn pod(life: &Life, nodes: usize) -> Pod {
    let deployment = life.slot / REPLICAS;
    let application = format!("application-{deployment:04}");
    let name = if deployment.is_multiple_of(STATEFUL) {
        format!("{application}-{}", life.slot)
    } else {
        format!("{application}-{}-{}", life.slot, life.generation)
    };
    let mut pod = Pod::new(&namespace(deployment), &name, &node_name(life.slot % nodes))
        .label("app", &application)
        .label("app.kubernetes.io/managed-by", "Helm")
        .label("pod-template-hash", &format!("{:08x}", mixed(deployment as u64, 11) & 0xffff_ffff))
        .containers(&CONTAINERS);
    pod.generation = life.generation;
    if life.made > 0 {
        pod.ready = rfc3339(life.ready() / 1_000_000);
    }
    pod
}

/// Slot and generation of a pod's name; the names of a `StatefulSet` have no generation.
pub(crate) fn read_name(name: &str) -> Option<(usize, Option<u32>)> {
    let mut parts = name.strip_prefix("application-")?.split('-').skip(1);
    let slot = parts.next()?.parse().ok()?;
    let generation = parts.next().map(str::parse).transpose().ok()?;
    Some((slot, generation))
}

/// The index of a node's name.
pub(crate) fn read_node_name(name: &str) -> Option<usize> {
    let mut parts = name.strip_prefix("ip-10-")?.strip_suffix(".example.internal")?.split('-');
    let mut next = || parts.next()?.parse::<usize>().ok();
    Some(next()? * 65_536 + next()? * 256 + next()?)
}

/// The counter of one of a pod's cgroups: 0 is its own, 1 the sandbox's, then its containers'.
pub(crate) fn counter(clock: Clock, life: &Life, nth: u32) -> Counter {
    let seed = (life.slot as u64) << 24 | u64::from(life.generation) << 4 | u64::from(nth);
    Counter::new(mixed(seed, 12), clock.node, life.birth)
}

/// The counter of a node's own cgroup.
pub(crate) fn own_counter(clock: Clock) -> Counter {
    Counter::new(clock.node | 1 << 60, clock.node, 0)
}

/// The subjects of a pod's series, in their order.
pub(crate) fn subjects(life: &Life, nodes: usize) -> [Subject; 4] {
    let pod = pod(life, nodes);
    let uid = PodUid::new(&pod.uid()).unwrap();
    let container = |name: &str| {
        let id = ContainerId::new(&pod.container_id(name)).unwrap();
        Subject::Container { pod: uid.clone(), id, qos: None }
    };
    let [app, proxy] = CONTAINERS.map(container);
    [Subject::Pod { uid: uid.clone(), qos: None }, container("its sandbox"), app, proxy]
}

/// How long after the one before the next pod is replaced, at this share of all in a minute.
pub(crate) fn churn_pace(pods: usize, percent: f64) -> Option<Duration> {
    let a_minute = pods as f64 * percent / 100.0;
    (a_minute > 0.0).then(|| Duration::from_secs_f64(60.0 / a_minute))
}

/// A world that all parts share.
pub(crate) type Shared = Arc<World>;
