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
    gate::AgentGate,
    ingest::Ingest,
    isolation::Isolation,
    metrics::{Metrics, Registered},
    names::Names,
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

/// An aggregator without any agent is ready after this long: what it can tell (discovery, empty lists) is of more
/// use to a cluster than an API group that does not answer.
const READY_WITHOUT_AGENTS: Duration = Duration::from_secs(10);

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
            rules: serving.rules,
            served: metrics.served.clone(),
        };
        let ingest = Ingest {
            store,
            directory,
            names: Arc::new(names),
            gate: Arc::new(gate),
            metrics: metrics.ingest.clone(),
            complaints: Arc::default(),
            shutdown,
        };
        let (ready, stopping) = (watch::Sender::new(false), CancellationToken::new());
        let isolation = watch::Sender::new(Isolation::default());
        let health = health(&ready, &isolation, &stopping);
        Self { view, ingest, registry: Arc::new(registry), metrics, health, ready, isolation, stopping }
    }

    /// Whether there is something to serve, or no use in waiting longer for it. Once true, it stays so.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Fails readiness, to shut down.
    pub fn unready(&self) {
        self.stopping.cancel();
    }

    /// Keeps gauges, readiness and lost nodes up to date until `shutdown`.
    pub async fn tidy(self, shutdown: CancellationToken) {
        let started = Instant::now();
        let mut every = tokio::time::interval(TIDY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = every.tick() => self.tidy_once(started),
            }
        }
    }

    fn tidy_once(&self, started: Instant) {
        let now = Instant::now();
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
        let stale = shards.iter().filter(|shard| is_stale(&shard.read(), now)).count();
        let served = shards.iter().any(|shard| shard.read().silent_for(now).is_some());
        let gauges = &self.metrics.ingest;
        gauges.nodes.set(to_gauge(shards.len()));
        gauges.stale_nodes.set(to_gauge(stale));
        gauges.containers.set(to_gauge(store.containers()));
        self.look_for_agents(&shards, now);
        if served || started.elapsed() >= READY_WITHOUT_AGENTS {
            self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }

    /// Notes whether any node is heard of those that have numbers.
    fn look_for_agents(&self, shards: &[Arc<Shard>], now: Instant) {
        let silent = shards.iter().filter_map(|shard| {
            let state = shard.read();
            Some((state.silent_for(now)?, state.session().map_or(Duration::ZERO, |session| session.interval)))
        });
        // Well before its numbers are too old to be served, so that nobody sees them vanish.
        let stale = self.view.rules.stale / 2;
        let (mut known, mut heard) = (0, 0);
        for (silent, interval) in silent {
            known += 1;
            heard += usize::from(silent <= stale.max(interval * STALE_TICKS));
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
    isolation: &watch::Sender<Isolation>,
    stopping: &CancellationToken,
) -> Health {
    let (health, ready, stopping) = (Health::default(), ready.subscribe(), stopping.clone());
    let isolation = isolation.subscribe();
    health.register("metrics-ready", &[Probe::Ready], move || {
        ready.borrow().then_some(()).ok_or_else(|| "no agent has sent anything yet".to_owned())
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
        api::query::Query,
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
        let long_ago = Instant::now().checked_sub(READY_WITHOUT_AGENTS).unwrap();
        let ready = || pipeline.health.probe(Probe::Ready, &Query::default()).healthy;
        assert!(!ready());
        pipeline.tidy_once(long_ago);
        assert!(ready());
        pipeline.unready();
        pipeline.tidy_once(long_ago);
        assert!(!ready());
    }
}
