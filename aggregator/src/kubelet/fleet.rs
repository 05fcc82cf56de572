//! The tasks: one for each node that is polled, and one that begins and ends them.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher as _,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use foldhash::fast::RandomState;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Kubelets, Polled, Status, agent,
    credentials::Credentials,
    endpoint::Endpoint,
    fault::PollError,
    poll::{Connection, poll},
    schedule,
};
use crate::{
    directory::{Directory, NodeRecord},
    store::Store,
};

/// How often it is looked which nodes have an agent.
const LOOK: Duration = Duration::from_secs(1);

/// Agents come back within a second when an aggregator starts; before this is over, none of them is missed.
const AFTER_START: Duration = Duration::from_secs(3);

/// An agent that has come has complete pictures within two ticks. What its node's kubelet said stands in for so long.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// What every task needs.
#[derive(Debug)]
struct Common {
    kubelets: Arc<Kubelets>,
    directory: Arc<Directory>,
    store: Arc<Store>,
    credentials: Arc<Credentials>,
    started: Instant,
    seeds: RandomState,
}

/// Polls whichever kubelets are to be polled.
#[derive(Debug)]
pub struct Fleet {
    common: Arc<Common>,
    running: HashMap<Arc<str>, AbortOnDropHandle<()>, RandomState>,
}

impl Fleet {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(
        kubelets: Arc<Kubelets>,
        directory: Arc<Directory>,
        store: Arc<Store>,
        credentials: Credentials,
    ) -> Self {
        let credentials = Arc::new(credentials);
        let (started, seeds) = (Instant::now(), RandomState::default());
        let common = Common { kubelets, directory, store, credentials, started, seeds };
        Self { common: Arc::new(common), running: HashMap::default() }
    }

    /// Polls until `shutdown`. `synced` tells whether all nodes are known.
    pub async fn run(mut self, synced: impl Fn() -> bool, shutdown: CancellationToken) {
        let credentials = Arc::clone(&self.common.credentials);
        let look = async {
            let mut every = tokio::time::interval(LOOK);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while shutdown.run_until_cancelled(every.tick()).await.is_some() {
                self.look(synced(), Instant::now());
            }
        };
        tokio::join!(look, credentials.follow(shutdown.clone()));
    }

    /// Begins and ends tasks as nodes and agents come and go.
    fn look(&mut self, is_synced: bool, now: Instant) {
        if now.duration_since(self.common.started) < AFTER_START {
            return;
        }
        let kubelets = Arc::clone(&self.common.kubelets);
        let nodes = self.common.directory.nodes();
        let wanted: HashSet<Arc<str>> = nodes
            .iter()
            .filter(|node| self.common.is_polled(node, now))
            .map(|node| Arc::clone(&node.name))
            .collect();
        // A task ends by itself only if it panicked; its node is begun anew.
        let is_over = |(name, task): &(&Arc<str>, &AbortOnDropHandle<()>)| {
            !wanted.contains(*name) || task.is_finished()
        };
        let ended: Vec<Arc<str>> =
            self.running.iter().filter(is_over).map(|(name, _)| Arc::clone(name)).collect();
        for name in &ended {
            self.running.remove(name);
            if let Some(polled) = kubelets.node(name) {
                *polled.status() = Status { ended: Some(now), ..Status::default() };
            }
        }
        let begun: Vec<&Arc<str>> = wanted.iter().filter(|&name| !self.running.contains_key(name)).collect();
        for (ahead, &name) in begun.iter().enumerate() {
            self.begin(name, schedule::first(ahead));
        }
        if !(begun.is_empty() && ended.is_empty()) {
            let (begun, ended, polled) = (begun.len(), ended.len(), wanted.len());
            tracing::info!(begun, ended, polled, "polling kubelets of nodes without an agent");
        }
        let known: HashSet<&str> = nodes.iter().map(|node| node.name.as_ref()).collect();
        kubelets.forget(|polled| !known.contains(polled.name.as_ref()), now);
        kubelets.count();
        if is_synced && kubelets.all().iter().all(|polled| polled.was_tried()) {
            kubelets.all_tried.store(true, Ordering::Relaxed);
        }
    }

    fn begin(&mut self, name: &Arc<str>, wait: Duration) {
        let polled = self.common.kubelets.node_or_new(name);
        polled.lose_agent(&self.common.store);
        *polled.status() = Status { is_polled: true, ..Status::default() };
        let task = Arc::clone(&self.common).follow(polled, wait);
        self.running.insert(Arc::clone(name), AbortOnDropHandle::new(tokio::spawn(task)));
    }
}

impl Common {
    fn is_polled(&self, node: &NodeRecord, now: Instant) -> bool {
        if node.kubelet.is_none() || !self.kubelets.config.nodes.matches(&node.labels) {
            return false;
        }
        let (silent, interval) = match self.store.shard(&node.name) {
            Some(shard) => {
                let state = shard.read();
                let interval = state.session().map_or(Duration::ZERO, |session| session.interval);
                (state.silent_for(now), interval)
            }
            None => (None, Duration::ZERO),
        };
        agent::is_polled(silent, interval, self.kubelets.limits.stale_agent)
    }

    /// One node's task. While it waits it holds its connection and little else.
    async fn follow(self: Arc<Self>, polled: Arc<Polled>, wait: Duration) {
        tokio::time::sleep(wait).await;
        let seed = self.seeds.hash_one(&polled.name);
        let resolution = self.kubelets.config.resolution;
        let mut connection: Option<Connection> = None;
        let mut nth = 0_u32;
        loop {
            nth = nth.saturating_add(1);
            let begun = self.started.elapsed();
            // What a poll needs while it lasts is given back after it.
            let is_complete = Box::pin(self.poll(&polled, &mut connection)).await;
            let wait = schedule::next(begun, nth, is_complete, seed, resolution);
            tokio::time::sleep(wait.saturating_sub(self.started.elapsed().saturating_sub(begun))).await;
        }
    }

    /// One poll; returns whether every container that is there has a rate.
    async fn poll(&self, polled: &Polled, connection: &mut Option<Connection>) -> bool {
        let config = &self.kubelets.config;
        let record = self.directory.node(&polled.name);
        let Some(place) = record.as_ref().and_then(|record| record.kubelet.as_deref()) else { return false };
        let begun = Instant::now();
        let asked = match Endpoint::of(place, config) {
            Ok(endpoint) => {
                let credentials = self.credentials.current();
                polled.status().endpoint = Some(endpoint.clone());
                poll(connection, &endpoint, &credentials, config.timeout).await
            }
            Err(error) => Err(PollError::from(error)),
        };
        self.kubelets
            .metrics
            .polled(asked.as_ref().map_or_else(PollError::outcome, |_| "ok"), begun.elapsed());
        match asked {
            Ok((page, arrival)) => {
                let is_complete = polled.take(&page, arrival, &self.kubelets, &self.directory, &self.store);
                polled.succeeded();
                is_complete
            }
            Err(error) => {
                polled.failed(error);
                false
            }
        }
    }
}

impl Kubelets {
    fn node_or_new(&self, name: &Arc<str>) -> Arc<Polled> {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let polled = nodes.entry(Arc::clone(name)).or_insert_with(|| Arc::new(Polled::new(Arc::clone(name))));
        Arc::clone(polled)
    }

    /// Forgets nodes that are gone, and those whose agent has taken over.
    fn forget(&self, is_gone: impl Fn(&Polled) -> bool, now: Instant) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, polled| {
            let ended = polled.status().ended;
            !is_gone(polled) && ended.is_none_or(|ended| now.saturating_duration_since(ended) < TAKE_OVER)
        });
    }

    fn count(&self) {
        let all = self.all();
        let polled = all.iter().filter(|polled| polled.status().is_polled).count();
        let failing = all.iter().filter(|polled| polled.status().failed.is_some()).count();
        self.metrics.nodes(polled, failing);
    }
}

impl Polled {
    /// Polling begins, perhaps after an agent that came and went.
    fn lose_agent(&self, store: &Store) {
        let agent = agent::AgentSamples::of(store.shard(&self.name));
        let left = self.published().after_agent(&agent);
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(left);
    }

    fn was_tried(&self) -> bool {
        let status = self.status();
        !status.is_polled || status.polls > 0
    }

    fn succeeded(&self) {
        let mut status = self.status();
        status.polls = status.polls.saturating_add(1);
        status.succeeded = Some(SystemTime::now());
        if status.failed.take().is_some() {
            tracing::info!(node = %self.name, "kubelet answers again");
        }
    }

    /// A fault is logged when it is another one than before.
    fn failed(&self, error: PollError) {
        let mut status = self.status();
        status.polls = status.polls.saturating_add(1);
        let is_known = status.failed.as_ref().is_some_and(|(_, known)| *known == error);
        if !is_known {
            tracing::warn!(node = %self.name, %error, "cannot poll the kubelet; trying on");
        }
        status.failed = Some((SystemTime::now(), error));
    }
}
