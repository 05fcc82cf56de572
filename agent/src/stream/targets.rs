//! Which aggregators there are: names are resolved again and again, and each address gets a stream of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use kubevitals::{
    backoff::Backoff,
    transport::{HostPort, Trust},
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Context, Endpoint};

/// How often names are resolved. A new replica is found within this time; a lost one is noticed by its stream.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// While no aggregator is known at all, it is soon asked again: on a fresh install agents are there before the name is.
const RESOLVE_SOON: Duration = Duration::from_millis(500);

/// A resolver that does not answer must not hold up the others.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// An address must be missing from this many answers in a row before its stream ends, so that one bad answer
/// of a name server does not cut off an aggregator.
const MISSING_ANSWERS: u32 = 3;

/// Most addresses streamed to. More replicas than this are not a set-up, but a wrong name.
const MAX_ADDRESSES: usize = 32;

/// Where the aggregators are.
#[derive(Debug, Clone)]
pub enum Targets {
    /// By name; a name that resolves to many addresses stands for all of them.
    Hosts {
        /// The names.
        hosts: Vec<HostPort>,
        /// How to know them and be known.
        trust: Trust,
    },
    /// In this process.
    Pipe(mpsc::Sender<tokio::io::DuplexStream>),
}

/// Keeps one stream to each aggregator until `shutdown`.
pub async fn run(targets: Targets, context: Context, shutdown: CancellationToken) {
    match targets {
        Targets::Pipe(pipes) => {
            context.metrics.targets.set(1);
            super::run(Endpoint::Pipe(pipes), context, shutdown).await;
        }
        Targets::Hosts { hosts, trust } => Set::new(trust, context, shutdown).run(&hosts).await,
    }
}

/// An address and the host it was found under.
type Target = (SocketAddr, String);

struct Set {
    trust: Trust,
    context: Context,
    shutdown: CancellationToken,
    streams: BTreeMap<Target, Running>,
    tasks: JoinSet<()>,
    failing: BTreeSet<HostPort>,
}

struct Running {
    stop: CancellationToken,
    missing: u32,
}

impl Set {
    fn new(trust: Trust, context: Context, shutdown: CancellationToken) -> Self {
        let (streams, tasks, failing) = (BTreeMap::new(), JoinSet::new(), BTreeSet::new());
        Self { trust, context, shutdown, streams, tasks, failing }
    }

    async fn run(mut self, hosts: &[HostPort]) {
        let mut soon = Backoff::new(RESOLVE_SOON, RESOLVE_EVERY);
        loop {
            for host in hosts {
                let found = self.resolve(host).await;
                self.reconcile(host, found);
            }
            self.context.metrics.targets.set(i64::try_from(self.streams.len()).unwrap_or(i64::MAX));
            while self.tasks.try_join_next().is_some() {}
            let wait = if self.streams.is_empty() { soon.next(rand::random()) } else { RESOLVE_EVERY };
            tokio::select! {
                () = self.shutdown.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// The addresses of a host; `None` when it cannot be told now.
    async fn resolve(&mut self, host: &HostPort) -> Option<BTreeSet<SocketAddr>> {
        let looked_up =
            timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host.host.as_str(), host.port))).await;
        let error = match looked_up {
            Ok(Ok(addresses)) => {
                self.failing.remove(host);
                return Some(addresses.take(MAX_ADDRESSES).collect());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if self.failing.insert(host.clone()) {
            tracing::warn!(host = %host.host, %error, "name resolution failed; keeping the addresses known");
        }
        None
    }

    fn reconcile(&mut self, host: &HostPort, found: Option<BTreeSet<SocketAddr>>) {
        let Some(found) = found else { return };
        for address in &found {
            let target = (*address, host.host.clone());
            if let Some(running) = self.streams.get_mut(&target) {
                running.missing = 0;
            } else if self.streams.len() < MAX_ADDRESSES {
                self.start(target);
            }
        }
        self.streams.retain(|(address, name), running| {
            if name != &host.host || address.port() != host.port || found.contains(address) {
                return true;
            }
            running.missing += 1;
            if running.missing < MISSING_ANSWERS {
                return true;
            }
            tracing::info!(aggregator = %address, "no longer an aggregator");
            running.stop.cancel();
            false
        });
    }

    fn start(&mut self, target: Target) {
        let stop = self.shutdown.child_token();
        let endpoint =
            Endpoint::Address { address: target.0, host: target.1.clone(), trust: self.trust.clone() };
        self.tasks.spawn(super::run(endpoint, self.context.clone(), stop.clone()));
        self.streams.insert(target, Running { stop, missing: 0 });
    }
}
