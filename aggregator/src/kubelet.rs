//! Nodes without a live agent: their kubelets are polled for `/metrics/resource`, as metrics-server does it.
//!
//! In reading order: [`agent`] says when a node is polled, [`schedule`] at which moments, [`endpoint`] where and
//! [`credentials`] as whom; [`poll`] asks, [`body`], [`page`], [`number`] and [`gather`] read the answer; [`history`]
//! makes rates of it and [`pictures`] pods; [`choice`] puts them beside the agents' numbers; [`fleet`] runs it all.
//!
//! Each node has a task of its own that nothing else waits for. What cannot be told from a page is left out: swap,
//! pods' own totals, and containers of one name that ran between two pages.

pub mod agent;
pub mod body;
pub mod choice;
pub mod credentials;
pub mod endpoint;
pub mod fault;
pub mod fleet;
pub mod gather;
pub mod history;
mod insecure;
pub mod number;
pub mod page;
pub mod pictures;
pub mod poll;
pub mod schedule;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use foldhash::fast::RandomState;
use kubevitals::sample::BootTime;

use self::{
    endpoint::Endpoint,
    fault::PollError,
    gather::Page,
    pictures::{Arrival, Memory, PageRules, Picture, Published},
};
use crate::{
    api::source::{NodeAnswer, PodAnswer},
    config::kubelet::KubeletConfig,
    directory::{Directory, NodeRecord, PodRecord},
    metrics,
    picture::{Omission, Rules},
    store::Store,
};

/// What is known of kubelets; shared by those who poll and those who answer.
#[derive(Debug)]
pub struct Kubelets {
    config: KubeletConfig,
    limits: Limits,
    metrics: metrics::kubelet::Kubelet,
    nodes: RwLock<HashMap<Arc<str>, Arc<Polled>, RandomState>>,
    all_tried: AtomicBool,
}

/// How old what is served may be. A kubelet's numbers are up to 20 s old when they come, and the next ones come a
/// resolution later: what would be stale of an agent is usual here.
#[derive(Debug, Clone, Copy)]
struct Limits {
    stale: Duration,
    hold: Duration,
    /// Of an agent.
    stale_agent: Duration,
    page: PageRules,
}

impl Limits {
    fn new(rules: &Rules, resolution: Duration) -> Self {
        // One page may be missed.
        let pages = resolution * 2;
        Self {
            stale: rules.stale + pages,
            hold: rules.hold + pages,
            stale_agent: rules.stale,
            page: PageRules { least_age: rules.after_ready, resolution },
        }
    }
}

/// One node that is or was polled.
#[derive(Debug)]
pub struct Polled {
    name: Arc<str>,
    published: RwLock<Arc<Published>>,
    memory: Mutex<Memory>,
    status: Mutex<Status>,
}

/// How polling a node is getting on.
#[derive(Debug, Clone, Default)]
struct Status {
    is_polled: bool,
    /// When polling ended because the agent had come.
    ended: Option<Instant>,
    /// Since it is polled.
    polls: u32,
    endpoint: Option<Endpoint>,
    succeeded: Option<SystemTime>,
    failed: Option<(SystemTime, PollError)>,
}

/// What there is to say of polling one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The node.
    pub node: Arc<str>,
    /// Whether it is polled now; otherwise its agent has come, and what was polled is not yet forgotten.
    pub is_polled: bool,
    /// The address that is used: host and port.
    pub address: Option<String>,
    /// The whole URL.
    pub url: Option<String>,
    /// When a page last came whole.
    pub succeeded: Option<SystemTime>,
    /// When the last poll failed and why; none if it did not.
    pub failed: Option<(SystemTime, String)>,
    /// Pods with a whole picture.
    pub pods: usize,
    /// Pods whose running containers do not all have a rate yet.
    pub incomplete_pods: usize,
}

impl Kubelets {
    /// Nothing is polled yet.
    #[must_use]
    pub fn new(config: KubeletConfig, rules: &Rules, metrics: metrics::kubelet::Kubelet) -> Self {
        let limits = Limits::new(rules, config.resolution);
        Self { config, limits, metrics, nodes: RwLock::default(), all_tried: AtomicBool::new(false) }
    }

    /// Whether each node that has no agent was polled at least once, with whatever success.
    #[must_use]
    pub fn all_tried(&self) -> bool {
        self.all_tried.load(Ordering::Relaxed)
    }

    /// Whether a node's kubelet was polled at least once, with whatever success.
    #[must_use]
    pub fn was_tried(&self, node: &str) -> bool {
        self.node(node).is_some_and(|polled| polled.status().polls > 0)
    }

    /// Whether a node is polled now and its kubelet answered the last time.
    #[must_use]
    pub fn answers(&self, node: &str) -> bool {
        self.node(node).is_some_and(|polled| {
            let status = polled.status();
            status.is_polled && status.succeeded.is_some() && status.failed.is_none()
        })
    }

    fn node(&self, name: &str) -> Option<Arc<Polled>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn all(&self) -> Vec<Arc<Polled>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How polling a node is getting on; `None` if it is not polled, because its agent is there or it is not selected.
    #[must_use]
    pub fn report(&self, node: &str) -> Option<Report> {
        self.node(node).map(|polled| polled.report())
    }

    /// How polling is getting on, by node.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let mut reports: Vec<Report> = self.all().iter().map(|polled| polled.report()).collect();
        reports.sort_by(|a, b| a.node.cmp(&b.node));
        reports
    }

    /// What the kubelet of its node says of a pod.
    pub fn pod_answer(&self, record: &Arc<PodRecord>, now: Instant) -> Result<PodAnswer, Omission> {
        let polled = self.node(&record.node).ok_or(Omission::NoAgent)?;
        let published = polled.published();
        if record.containers.is_empty() {
            return Err(Omission::NoContainers);
        }
        let missing = || match (published.received, published.incomplete.contains(&record.uid)) {
            (None, _) => Omission::NoKubelet,
            (Some(_), true) => Omission::FirstSample,
            (Some(_), false) => Omission::NotMeasured,
        };
        let found = published.pods.get(&record.uid).ok_or_else(missing)?;
        let age = published.age(found.picture.timestamp, now);
        if age > self.limits.stale {
            return Err(Omission::Stale);
        }
        if found.pod.containers == record.containers {
            return Ok(answer(Arc::clone(record), false, &found.picture));
        }
        if age > self.limits.hold {
            return Err(Omission::FirstSample);
        }
        // The containers that ran before stand in until those that run now have a rate.
        let previous = Some(Box::new((found.pod.containers.clone(), BootTime(0))));
        let pod = PodRecord { previous, ..PodRecord::clone(record) };
        Ok(answer(Arc::new(pod), true, &found.picture))
    }

    /// What a node's kubelet says of it.
    pub fn node_answer(&self, record: &Arc<NodeRecord>, now: Instant) -> Result<NodeAnswer, Omission> {
        let polled = self.node(&record.name).ok_or(Omission::NoAgent)?;
        let published = polled.published();
        let missing = || match (published.received, published.has_node) {
            (None, _) => Omission::NoKubelet,
            (Some(_), true) => Omission::FirstSample,
            (Some(_), false) => Omission::NotMeasured,
        };
        let Picture { timestamp, window, usages } = published.node.as_ref().ok_or_else(missing)?;
        if published.age(*timestamp, now) > self.limits.stale {
            return Err(Omission::Stale);
        }
        let usage = *usages.first().ok_or(Omission::NotMeasured)?;
        Ok(NodeAnswer { node: Arc::clone(record), timestamp: *timestamp, window: *window, usage })
    }
}

fn answer(pod: Arc<PodRecord>, held: bool, picture: &Picture) -> PodAnswer {
    let Picture { timestamp, window, usages } = picture;
    PodAnswer { pod, held, timestamp: *timestamp, window: *window, usages: usages.iter().copied().collect() }
}

impl Polled {
    fn new(name: Arc<str>) -> Self {
        Self { name, published: RwLock::default(), memory: Mutex::default(), status: Mutex::default() }
    }

    fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a whole page; returns whether every container that is there has a rate.
    fn take(
        &self,
        page: &Page,
        arrival: Arrival,
        kubelets: &Kubelets,
        directory: &Directory,
        store: &Store,
    ) -> bool {
        let before = self.published();
        let agent = agent::AgentSamples::of(store.shard(&self.name));
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let around = pictures::Around { node: &self.name, directory, agent: &agent };
        let (next, refused) = memory.take(page, arrival, &around, &before, &kubelets.limits.page);
        kubelets.metrics.refused(&refused);
        let is_complete = next.incomplete.is_empty() && next.node.is_some();
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        is_complete
    }

    fn report(&self) -> Report {
        let (status, published) = (self.status().clone(), self.published());
        Report {
            node: Arc::clone(&self.name),
            is_polled: status.is_polled,
            address: status.endpoint.as_ref().map(Endpoint::authority),
            url: status.endpoint.as_ref().map(ToString::to_string),
            succeeded: status.succeeded,
            failed: status.failed.map(|(at, error)| (at, error.to_string())),
            pods: published.pods.len(),
            incomplete_pods: published.incomplete.len(),
        }
    }
}
