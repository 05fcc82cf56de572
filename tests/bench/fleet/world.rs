//! Which pods there are, on which node and since when; the API server and the agents are told the same.

use std::{
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

/// What ended is remembered for so many ticks: as long as its agent may have to tell of it again.
const REMEMBERED: u64 = 70;

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
}

/// One node's pods, ascending by series.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) clock: Clock,
    pub(crate) lives: Vec<Life>,
    next_series: u32,
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
            };
            let lives: Vec<Life> = (0..).zip(0..PODS_PER_NODE).map(life).collect();
            let next_series = 2 + u32::try_from(lives.len()).unwrap() * SERIES_OF_POD;
            Mutex::new(Node { clock: Clock::of(index as u64), lives, next_series })
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

    /// The pod of this name, if its node still remembers it.
    pub(crate) fn find(&self, slot: usize, generation: u32) -> Option<(Clock, Life)> {
        let node = self.nodes[slot % self.nodes.len()].lock().unwrap();
        let life = node.lives.iter().find(|life| (life.slot, life.generation) == (slot, generation))?;
        Some((node.clock, life.clone()))
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

    /// Replaces a pod of a node by another of its Deployment.
    pub(crate) fn churn(&self, nth: u64, cluster: &Cluster) {
        let index = usize::try_from(mixed(nth, 9)).unwrap() % self.nodes.len();
        let (old, new) = {
            let mut node = self.nodes[index].lock().unwrap();
            let next = self.tick_at(node.clock, self.now()) + 2;
            let Node { lives, next_series, .. } = &mut *node;
            lives.retain(|life| life.end.saturating_add(REMEMBERED) > next);
            let living: Vec<usize> = (0..lives.len()).filter(|&life| lives[life].end == u64::MAX).collect();
            let chosen = &mut lives[living[usize::try_from(mixed(nth, 10)).unwrap() % living.len()]];
            chosen.end = next;
            let old = chosen.clone();
            let new = Life {
                slot: old.slot,
                generation: old.generation + 1,
                birth: next,
                end: u64::MAX,
                series: *next_series,
            };
            *next_series += SERIES_OF_POD;
            lives.push(new.clone());
            (old, new)
        };
        let [old, mut new] = [&old, &new].map(|life| pod(life, self.nodes.len()));
        cluster.pods.delete(&old.namespace, &old.name);
        new.ready = humantime_now();
        cluster.pods.put(new.object());
    }
}

/// Now, as the API writes times.
fn humantime_now() -> String {
    let now = time::OffsetDateTime::now_utc();
    let (date, clock) = (now.date(), now.time());
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
    let name = format!("{application}-{}-{}", life.slot, life.generation);
    Pod::new(&namespace(deployment), &name, &node_name(life.slot % nodes))
        .label("app", &application)
        .label("app.kubernetes.io/managed-by", "Helm")
        .label("pod-template-hash", &format!("{:08x}", mixed(deployment as u64, 11) & 0xffff_ffff))
        .containers(&CONTAINERS)
}

/// Slot and generation of a pod's name.
pub(crate) fn read_name(name: &str) -> Option<(usize, u32)> {
    let mut parts = name.rsplit('-');
    let (generation, slot) = (parts.next()?, parts.next()?);
    Some((slot.parse().ok()?, generation.parse().ok()?))
}

/// The counter of one of a pod's cgroups: 0 is its own, 1 the sandbox's, then its containers'.
pub(crate) fn counter(clock: Clock, life: &Life, nth: u32) -> Counter {
    let seed = (life.slot as u64) << 24 | u64::from(life.generation) << 4 | u64::from(nth);
    Counter::new(mixed(seed, 12), clock.node, life.birth)
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
