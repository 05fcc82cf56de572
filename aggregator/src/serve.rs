//! `serve`: agents on one port, the API on another, probes and metrics on a third.

pub(crate) mod agents;
mod callers;
mod files;
mod thread;
mod trust;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kubevitals::sample::WallTime;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin},
    api::{
        self, ApiState,
        health::{Health, Probe},
        inflight::InFlight,
    },
    auth::delegation::DelegationError,
    cluster::{self, Cluster, ClusterError, Synced},
    config::{NamesSource, ServeConfig},
    https::{self, Server},
    ingest::review::Reviewer,
    kubelet::{
        Kubelets,
        credentials::{Credentials, Sources},
        fleet::Fleet,
    },
    metrics::Registered,
    names::{Names, paths::PathNames},
    pipeline::Pipeline,
    query::{self, access::Access},
    tls::{TlsError, clients::Settings, reload::Upkeep},
};
use callers::Callers;
use files::Files;
use thread::Thread;
use trust::Trust;

/// An aggregator that cannot read pods and nodes goes on after this long, as the pipeline does without agents:
/// discovery and empty lists are of more use to a cluster than an API group that does not answer.
const READY_WITHOUT_NAMES: Duration = Duration::from_secs(30);

/// An aggregator that could not try every kubelet goes on after this long: the first polls are spread over 4 s, and
/// each ends within its timeout, which is 10 s unless set otherwise.
const READY_WITHOUT_KUBELETS: Duration = Duration::from_secs(20);

/// Why the aggregator could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The serving certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The kubeconfig of `standalone`.
    #[error(transparent)]
    Kubeconfig(#[from] crate::kubeconfig::KubeconfigError),
    /// The agent of `standalone`.
    #[error(transparent)]
    Agent(#[from] kubevitals_agent::RunError),
    /// The cluster that names pods.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster that says who may call.
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    /// Something of the operating system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Its error.
        source: io::Error,
    },
    /// Files that the flags name and that are not what they should be; a line for each.
    #[error("{}", .0.join("\n"))]
    Configuration(Vec<String>),
    /// A task that should run until the end did not.
    #[error("{0} ended")]
    TaskEnded(&'static str),
}

/// An [`io::Error`] with what was tried.
pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::Io { what, source }
}

/// Serves until `shutdown`, then lets clients move away and finishes what is in flight.
pub async fn run(config: ServeConfig, shutdown: CancellationToken) -> Result<(), RunError> {
    // Everything that can be wrong in a file comes before the first listener, so that whoever waits for one finds
    // the authority's file written.
    let Files { tokens, certificate } = Files::read(&config)?;
    tracing::info!(version = kubevitals::VERSION, "starting");
    let stop = CancellationToken::new();
    let counted = Registered::default();
    let trust = Trust::begin(&config, certificate, &counted.metrics.ca, &shutdown);
    let Some(Trust { serving, source, keeper }) = Box::pin(trust).await? else { return Ok(()) };
    let settings = serving.api_config()?;
    let query_tls = serving.grpc_config()?;
    let metrics = &counted.metrics.auth;
    let ask = vec![Arc::clone(&settings), Arc::clone(&query_tls)];
    let connected = Callers::connect(&config, tokens, ask, metrics);
    // The cluster may be slow to answer.
    let Some(callers) = shutdown.run_until_cancelled(connected).await.transpose()? else {
        return Ok(());
    };
    let mut pipeline =
        Pipeline::new(&config.serving, names(&config.names), callers.gate, counted, stop.clone());
    let Access { authenticator, authorizer } = &callers.access;
    pipeline.ingest.reviewer =
        Some(Arc::new(Reviewer::new(Arc::clone(authenticator), Arc::clone(authorizer))));
    let cluster = cluster(&config, &pipeline).await?;
    let kubelets = kubelets(&config, &mut pipeline).await?;
    let in_flight = InFlight::new(config.max_requests_inflight, pipeline.metrics.api.in_flight());
    let api = api_server(settings, &pipeline);
    // One connection per node and a few that are just being replaced.
    let connections = config.serving.limits.nodes.saturating_add(1000);
    let ingest = Server {
        tls: serving.grpc_config()?,
        limits: https::Limits { connections, ..https::Limits::default() },
        failed_handshakes: pipeline.metrics.failed_handshakes.clone(),
    };

    let listen = bind("api", config.listen).await?;
    let ingest_listen = bind("ingest", config.ingest_listen).await?;
    let query_listen = match config.query_listen {
        Some(address) => Some(bind("query", address).await?),
        None => None,
    };
    let admin_listen = bind("admin", config.admin_listen).await?;
    let mut tasks = JoinSet::new();
    let upkeep = Upkeep::new(serving, source, pipeline.metrics.certificate.clone());
    tasks.spawn(named("the upkeep of the certificate", upkeep.run(stop.clone())));
    if let Some(keeper) = keeper {
        tasks.spawn(named("the upkeep of the authority", keeper.run(stop.clone())));
    }
    let query_door = query_server(query_tls, &pipeline);
    tasks.spawn(named("the API server", {
        let core = false;
        let state = api_state(&pipeline, &callers.access, in_flight.clone(), core);
        api.serve(listen, api::router(state), stop.clone())
    }));
    tasks.spawn(named("the ingest server", agents::serve(pipeline.clone(), ingest, ingest_listen)));
    if let Some(listener) = query_listen {
        let (query, health) = (pipeline.query(callers.access), pipeline.health.clone());
        let serve = query::server::serve(query, health, query_door, listener, stop.clone());
        tasks.spawn(named("the query server", serve));
    }
    tasks.spawn(named("the admin server", serve_admin(pipeline.clone(), admin_listen)));
    if let Some(follower) = callers.follower {
        tasks.spawn(named("the watch of trust", follower.run(stop.clone())));
    }
    let synced = cluster.as_ref().map(|(_, cluster)| cluster.synced());
    if let (Some((thread, cluster)), Some(synced)) = (cluster, synced.clone()) {
        check_names(&pipeline.health, {
            let synced = synced.clone();
            move || synced.is_done()
        });
        if let Some(fleet) = kubelets {
            check_kubelets(&pipeline);
            let polling = fleet.run(move || synced.is_done(), stop.clone());
            tasks.spawn(named("the polling of kubelets", polling));
        }
        tasks.spawn(named("the watch of the cluster", thread.run(cluster.run(stop.clone()))));
    }
    let is_synced = move || synced.as_ref().is_none_or(Synced::is_done);
    tasks.spawn(named("the tidying task", pipeline.clone().tidy(is_synced, stop.clone())));
    config.shutdown.run(tasks, pipeline, in_flight, stop, shutdown).await
}

/// A task that says its name when it ends.
async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

/// The API's server.
pub(crate) fn api_server(tls: Arc<Settings>, pipeline: &Pipeline) -> Server {
    let failed_handshakes = pipeline.metrics.api.failed_handshakes.clone();
    Server { tls, limits: https::Limits::default(), failed_handshakes }
}

/// The query service's server.
pub(crate) fn query_server(tls: Arc<Settings>, pipeline: &Pipeline) -> Server {
    let failed_handshakes = pipeline.metrics.query.failed_handshakes.clone();
    Server { tls, limits: query::server::limits(), failed_handshakes }
}

async fn serve_admin(pipeline: Pipeline, listener: TcpListener) {
    let (registry, health) = (Arc::clone(&pipeline.registry), pipeline.health.clone());
    let admin = Admin { registry, health, explainer: pipeline.explainer() };
    if let Err(error) = admin::serve(listener, admin, pipeline.ingest.shutdown.clone()).await {
        tracing::error!(%error, "admin server");
    }
}

fn names(source: &NamesSource) -> Names {
    match source {
        NamesSource::Cluster => Names::Cluster,
        NamesSource::Paths => Names::Paths(PathNames::new(true)),
    }
}

/// The cluster that fills the pipeline's directory, unless names come from paths, and the thread that follows it.
///
/// A page of a list is some hundred pods, read in one go. On a thread of its own it holds up no answer.
async fn cluster(config: &ServeConfig, pipeline: &Pipeline) -> Result<Option<(Thread, Cluster)>, RunError> {
    if config.names != NamesSource::Cluster {
        return Ok(None);
    }
    let (directory, store) = (&pipeline.ingest.directory, &pipeline.ingest.store);
    let (directory, store) = (Arc::clone(directory), Arc::clone(store));
    let (kubeconfig, metrics) = (config.kubeconfig.clone(), pipeline.metrics.cluster.clone());
    let thread = Thread::start("cluster").map_err(io_error("thread for the cluster"))?;
    let connected = thread
        .spawn(async move { Cluster::connect(kubeconfig.as_deref(), directory, store, &metrics).await })
        .await
        .map_err(|_| RunError::TaskEnded("the thread for the cluster"))?;
    let cluster = connected?;
    Ok(Some((thread, if config.kubelets.is_some() { cluster.with_kubelets() } else { cluster })))
}

/// Those who poll kubelets, if that is wanted; from then on the view asks them too.
async fn kubelets(config: &ServeConfig, pipeline: &mut Pipeline) -> Result<Option<Fleet>, RunError> {
    let Some(kubelets) = &config.kubelets else { return Ok(None) };
    let kubeconfig = match &config.kubeconfig {
        Some(path) => Some(cluster::load(Some(path)).await?),
        None => None,
    };
    let credentials = Credentials::read(Sources::new(kubelets, kubeconfig.as_ref()))
        .map_err(|error| RunError::Configuration(vec![format!("--kubelet-fallback: {error}")]))?;
    let (rules, metrics) = (&config.serving.rules, pipeline.metrics.kubelet.clone());
    let kubelets = Arc::new(Kubelets::new(kubelets.clone(), rules, metrics));
    pipeline.view.kubelets = Some(Arc::clone(&kubelets));
    let (directory, store) = (&pipeline.ingest.directory, &pipeline.ingest.store);
    Ok(Some(Fleet::new(kubelets, Arc::clone(directory), Arc::clone(store), credentials)))
}

/// Fails readiness until each node without an agent was polled once, but not for long.
fn check_kubelets(pipeline: &Pipeline) {
    let (started, kubelets) = (Instant::now(), pipeline.view.kubelets.clone());
    pipeline.health.register("kubelets-polled", &[Probe::Ready], move || {
        let tried = kubelets.as_ref().is_none_or(|kubelets| kubelets.all_tried());
        let ready = tried || started.elapsed() >= READY_WITHOUT_KUBELETS;
        ready.then_some(()).ok_or_else(|| "not every kubelet was polled yet".to_owned())
    });
}

/// Fails readiness until the first names are there, but not for long.
fn check_names(health: &Health, synced: impl Fn() -> bool + Send + Sync + 'static) {
    let started = Instant::now();
    health.register("informer-sync", &[Probe::Ready], move || {
        let ready = synced() || started.elapsed() >= READY_WITHOUT_NAMES;
        ready.then_some(()).ok_or_else(|| "pods and nodes are not known yet".to_owned())
    });
}

/// The API's state.
pub(crate) fn api_state(pipeline: &Pipeline, access: &Access, in_flight: InFlight, core: bool) -> ApiState {
    ApiState {
        source: Arc::new(pipeline.view.clone()),
        authenticator: Arc::clone(&access.authenticator),
        authorizer: Arc::clone(&access.authorizer),
        core,
        lists: api::stream::Budget::beside(in_flight.limit()),
        health: pipeline.health.clone(),
        in_flight,
        metrics: pipeline.metrics.api.clone(),
        registry: Arc::clone(&pipeline.registry),
        now: wall_now,
    }
}

fn wall_now() -> WallTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}

/// Binds and says where.
pub(crate) async fn bind(listener: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    let bound = kubevitals_agent::listen::listen(address).await;
    let bound = bound.map_err(io_error(format!("{listener}: listen on {address}")))?;
    let address = bound.local_addr().map_err(io_error("bound address"))?;
    tracing::info!(listener, %address, "listening");
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::api::query::Query;

    #[test]
    fn c114_readiness_waits_for_names_and_liveness_does_not() {
        let (health, synced) = (Health::default(), Arc::new(AtomicBool::new(false)));
        let known = Arc::clone(&synced);
        check_names(&health, move || known.load(Ordering::Relaxed));
        let healthy = |probe| health.probe(probe, &Query::default()).healthy;
        assert!(!healthy(Probe::Ready));
        assert!(healthy(Probe::Live));
        synced.store(true, Ordering::Relaxed);
        assert!(healthy(Probe::Ready));
    }
}
