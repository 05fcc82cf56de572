//! What `serve` and `standalone` share: store, names, the service for agents, the view for the API, and the task
//! that keeps them tidy.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::health::{Health, Probe},
    config::Serving,
    directory::Directory,
    explain::Explainer,
    gate::AgentGate,
    ingest::{Ingest, Rush},
    isolation::Isolation,
    metrics::{Metrics, Registered},
    names::Names,
    query::{
        Query,
        access::Access,
        watch::{hub::Watches, seats},
    },
    readiness::{Readiness, Seen},
    store::{Shard, Store, node::NodeState},
    view::View,
};

/// How often gauges are brought up to date and lost nodes looked for.
const TIDY: Duration = Duration::from_secs(1);

/// A node without an agent for this long is forgotten. Long after its numbers are stale, so that an agent that
/// comes back finds its windows.
const FORGET: Duration = Duration::from_secs(300);

/// A node that was silent for so many ticks is stale.
const STALE_TICKS: u32 = 3;

/// The parts, wired.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// For the API.
    pub view: View,
    /// For agents.
    pub ingest: Ingest,
    /// The registry /metrics prints.
    pub registry: Arc<Registry>,
    /// What is counted.
    pub metrics: Metrics,
    /// What the probes say.
    pub health: Health,
    /// Whether there is something to serve.
    ready: watch::Sender<bool>,
    /// How many nodes were heard, and of how many, before it was ready.
    heard: watch::Sender<(usize, Option<usize>)>,
    /// Whether all agents were lost.
    isolation: watch::Sender<Isolation>,
    /// Readiness has failed for good.
    stopping: CancellationToken,
}

impl Pipeline {
    /// Wires everything; nothing runs yet.
    #[must_use]
    pub fn new(
        serving: &Serving,
        names: Names,
        gate: AgentGate,
        Registered { registry, metrics }: Registered,
        shutdown: CancellationToken,
    ) -> Self {
        let store = Arc::new(Store::new(serving.limits));
        let directory = Arc::new(Directory::default());
        let view = View {
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            kubelets: None,
            rules: serving.rules,
            served: metrics.served.clone(),
        };
        let ingest = Ingest {
            store,
            directory,
            names: Arc::new(names),
            gate: Arc::new(gate),
            reviewer: None,
            metrics: metrics.ingest.clone(),
            complaints: Arc::default(),
            refusals: Arc::default(),
            rush: Rush::new(serving.rules.window),
            shutdown,
        };
        let (ready, stopping) = (watch::Sender::new(false), CancellationToken::new());
        let (heard, isolation) = (watch::Sender::new((0, None)), watch::Sender::new(Isolation::default()));
        let health = health(&ready, &heard, &isolation, &stopping);
        let registry = Arc::new(registry);
        Self { view, ingest, registry, metrics, health, ready, heard, isolation, stopping }
    }

    /// Whether there is something to serve, or no use in waiting longer for it. Once true, it stays so.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Tells why something is served or not.
    #[must_use]
    pub fn explainer(&self) -> Explainer {
        let refusals = Arc::clone(&self.ingest.refusals);
        Explainer { view: self.view.clone(), refusals, health: self.health.clone() }
    }

    /// The query service, for the callers that `access` lets in.
    #[must_use]
    pub fn query(&self, access: Access) -> Query {
        let (view, shutdown) = (self.view.clone(), self.ingest.shutdown.clone());
        let limits = seats::Limits::default();
        let watches = Watches::new(view.clone(), limits, self.metrics.watch.clone(), shutdown);
        Query { view, access, explainer: self.explainer(), metrics: self.metrics.query.clone(), watches }
    }

    /// Fails readiness, to shut down.
    pub fn unready(&self) {
        self.stopping.cancel();
    }

    /// Keeps gauges, readiness and lost nodes up to date until `shutdown`.
    ///
    /// `is_synced` tells whether pods and nodes were read, where they are.
    pub async fn tidy(self, is_synced: impl Fn() -> bool, shutdown: CancellationToken) {
        let mut readiness = Readiness::new(Instant::now());
        let mut every = tokio::time::interval(TIDY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = every.tick() => self.tidy_once(&mut readiness, is_synced(), Instant::now()),
            }
        }
    }

    fn tidy_once(&self, readiness: &mut Readiness, is_synced: bool, now: Instant) {
        let Ingest { store, directory, names, .. } = &self.ingest;
        for node in store.forget(|state| is_lost(state, now)) {
            if store.shard(&node).is_some() {
                // Its agent came back just now.
                continue;
            }
            tracing::info!(node = %node, "node forgotten: no agent for a long time");
            names.forgotten(directory, &node);
        }
        let shards = store.all();
        let is_left =
            |shard: &&Arc<Shard>| is_stale(&shard.read(), now) && !self.kubelet_answers(&shard.node);
        let stale = shards.iter().filter(is_left).count();
        let gauges = &self.metrics.ingest;
        gauges.nodes.set(to_gauge(shards.len()));
        gauges.stale_nodes.set(to_gauge(stale));
        gauges.containers.set(to_gauge(store.containers()));
        self.look_for_agents(&shards, now);
        if *self.ready.borrow() {
            return;
        }
        let seen = self.seen(is_synced, now);
        let is_ready = readiness.is_over(seen, now);
        self.heard.send_replace((seen.heard, seen.nodes));
        if is_ready {
            tracing::info!(heard = seen.heard, nodes = seen.nodes, is_synced, "ready");
            self.ready.send_replace(true);
        }
    }

    /// What is known of the cluster. A node without an agent whose kubelet was polled counts as heard.
    fn seen(&self, is_synced: bool, now: Instant) -> Seen {
        let Ingest { store, directory, names, .. } = &self.ingest;
        let is_polled =
            |node: &str| self.view.kubelets.as_ref().is_some_and(|kubelets| kubelets.was_tried(node));
        let is_heard = |node: &str| {
            store.shard(node).is_some_and(|shard| shard.read().silent_for(now).is_some()) || is_polled(node)
        };
        if !names.are_authoritative() {
            let heard = store.all().iter().filter(|shard| is_heard(&shard.node)).count();
            return Seen { is_synced, nodes: None, heard };
        }
        let nodes = directory.nodes();
        let heard = nodes.iter().filter(|node| is_heard(&node.name)).count();
        Seen { is_synced, nodes: Some(nodes.len()), heard }
    }

    /// Whether a kubelet took over from its node's agent.
    fn kubelet_answers(&self, node: &str) -> bool {
        self.view.kubelets.as_ref().is_some_and(|kubelets| kubelets.answers(node))
    }

    /// Notes whether any node is heard of those that have numbers; a kubelet that answers counts.
    fn look_for_agents(&self, shards: &[Arc<Shard>], now: Instant) {
        let silent = shards.iter().filter_map(|shard| {
            let state = shard.read();
            let interval = state.session().map_or(Duration::ZERO, |session| session.interval);
            Some((&shard.node, state.silent_for(now)?, interval))
        });
        // Well before its numbers are too old to be served, so that nobody sees them vanish.
        let stale = self.view.rules.stale / 2;
        let (mut known, mut heard) = (0, 0);
        for (node, silent, interval) in silent {
            known += 1;
            // A kubelet that took over is as good: what is known is served on.
            heard += usize::from(silent <= stale.max(interval * STALE_TICKS) || self.kubelet_answers(node));
        }
        self.isolation.send_if_modified(|isolation| {
            let next = isolation.next(now, known, heard);
            std::mem::replace(isolation, next) != next
        });
    }
}

/// The checks that every aggregator has.
fn health(
    ready: &watch::Sender<bool>,
    heard: &watch::Sender<(usize, Option<usize>)>,
    isolation: &watch::Sender<Isolation>,
    stopping: &CancellationToken,
) -> Health {
    let (health, ready, stopping) = (Health::default(), ready.subscribe(), stopping.clone());
    let (heard, isolation) = (heard.subscribe(), isolation.subscribe());
    health.register("metrics-ready", &[Probe::Ready], move || {
        ready.borrow().then_some(()).ok_or_else(|| match *heard.borrow() {
            (0, _) | (_, None) => "no agent has sent anything yet".to_owned(),
            (heard, Some(nodes)) => format!("{heard} of {nodes} nodes are heard so far"),
        })
    });
    health.register("agents-heard", &[Probe::Ready], move || {
        let is_isolated = isolation.borrow().is_isolated();
        (!is_isolated).then_some(()).ok_or_else(|| "all agents were lost and are not back yet".to_owned())
    });
    health.register("shutdown", &[Probe::Ready], move || {
        (!stopping.is_cancelled()).then_some(()).ok_or_else(|| "process is shutting down".to_owned())
    });
    health
}

fn is_lost(state: &NodeState, now: Instant) -> bool {
    !state.is_streaming() && state.silent_for(now).is_none_or(|silent| silent >= FORGET)
}

fn is_stale(state: &NodeState, now: Instant) -> bool {
    let interval = state.session().map_or(Duration::ZERO, |session| session.interval);
    state.silent_for(now).is_some_and(|silent| silent > interval * STALE_TICKS)
}

fn to_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        api::query::Query as Parameters,
        config::{Cli, Command},
        names::paths::PathNames,
    };

    #[tokio::test]
    async fn readiness_that_was_given_up_does_not_come_back() {
        let arguments = ["kubevitals-aggregator", "standalone", "--node-name=n", "--kubeconfig-out=k"];
        let Command::Standalone(flags) = Cli::try_parse_from(arguments).unwrap().command else { panic!() };
        let serving = flags.resolve().unwrap().serving;
        let names = Names::Paths(PathNames::new(false));
        let pipeline = Pipeline::new(
            &serving,
            names,
            AgentGate::InProcess,
            Registered::default(),
            CancellationToken::new(),
        );
        let now = Instant::now();
        let mut readiness = Readiness::new(now);
        let later = now + Duration::from_secs(10);
        let ready = || pipeline.health.probe(Probe::Ready, &Parameters::default()).healthy;
        assert!(!ready());
        pipeline.tidy_once(&mut readiness, true, later);
        assert!(ready());
        pipeline.unready();
        pipeline.tidy_once(&mut readiness, true, later);
        assert!(!ready());
    }
}
