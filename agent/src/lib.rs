//! The agent: one node's kernel counters to batches on a stream.
//!
//! In reading order:
//! - [`cgroup`]: which cgroups there are and what their files say; [`node`]: the node's own totals.
//! - [`sampler`]: one tick; [`pace`] and [`wall`]: when, and at which wall time; [`sampling`]: the thread.
//! - [`history`]: the last minute of batches, kept for replay.
//! - [`exporter`]: the last sweep as pages for scrapers.
//! - [`stream`]: one stream per aggregator; [`identity`]: names, which come back on them.
//! - [`config`], [`metrics`], [`exposition`], [`admin`]: flags, own metrics and their text, probes.
//! - [`inspect`]: one look at what can be seen, for people.

pub mod admin;
pub mod bearer;
pub mod cgroup;
pub mod config;
pub mod exporter;
pub mod exposition;
pub mod flight;
pub mod gzip;
pub mod history;
pub mod https;
pub mod identity;
pub mod inspect;
pub mod listen;
pub mod metrics;
pub mod node;
pub mod pace;
pub mod rate;
pub mod sampler;
pub mod sampling;
pub mod stream;
pub mod tls;
pub mod wall;

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

use futures_util::FutureExt as _;
use kubevitals::wire;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    cgroup::{Descriptors, Hierarchy, Mounts, clock::boot_time, detect},
    config::Config,
    exporter::{Exporter, access::cluster::Ask, answer::Pages, counted::Counted, server::Server},
    history::History,
    identity::Identities,
    metrics::Metrics,
    node::NodeReader,
    pace::Pace,
    sampler::{Sampler, Settings},
    sampling::{Kept, Sampling},
    stream::{Context, Links, targets},
};

/// Why the agent could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cgroup mounts are not usable.
    #[error(transparent)]
    Detect(#[from] cgroup::DetectError),
    /// The node's own counters cannot be read.
    #[error("node counters: {0}")]
    Node(#[from] cgroup::ReadError),
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
    /// The exporter's thread ended by itself.
    #[error("the exporter ended")]
    ExporterEnded,
    /// The sampling thread ended by itself.
    #[error("the sampling thread ended")]
    SamplingEnded,
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::Io { what, source }
}

/// Samples and streams until `shutdown`.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let links = Links::default();
    // Everything that can be wrong in a file comes before the first listener.
    let scrapers = scrapers(&config, &links, &mut registry)?;
    let admin_listener = match config.listen {
        None => None,
        Some(address) => Some(bind("admin", address).await?),
    };
    let scrapers = match scrapers {
        None => None,
        Some(server) => Some((bind("exporter", server.listen()).await?, server)),
    };
    let mounts = detect(&config.cgroup_root, &config.proc_root)?;
    let node = NodeReader::open(&mounts, &config.proc_root, config.node_memory)?;
    let hello = hello(&config, &mounts, &node)?;
    let (sampler, history) = sampler(&config, mounts, node)?;
    if config.exporter.is_some() {
        // Scrapers will come; the first of them should find everything.
        sampler.board().ask(boot_time());
    }

    let failed = CancellationToken::new();
    let pace = Pace::new(config.interval, &config.node_name, boot_time());
    let on_end = failed.clone();
    let identities = Identities::default();
    let exporter = Exporter::new(
        sampler.board(),
        identities.clone(),
        config.names,
        (config.interval, config.detail_interval),
        metrics.exporter.clone(),
    );
    let kept = Kept { history: history.clone(), identities: identities.clone() };
    let sampling = Sampling::start(sampler, pace, config.wall_clock, kept, metrics.clone(), move || {
        on_end.cancel();
    })
    .map_err(io_error("start the sampling thread"))?;

    let drained = CancellationToken::new();
    let pages = Pages { exporter, registry: Arc::new(registry) };
    let exporter_ended = CancellationToken::new();
    let on_end = exporter_ended.clone();
    let exporter =
        scrapers.map(|(listener, server)| server.start(listener, pages.clone(), move || on_end.cancel()));
    let exporter = exporter.transpose().map_err(io_error("start the exporter"))?;
    let admin = admin_listener.map(|listener| {
        let state = admin::Admin {
            pages,
            metrics: metrics.clone(),
            interval: config.interval,
            stopping: shutdown.clone(),
        };
        tokio::spawn(admin::serve(listener, state, drained.clone()))
    });
    let context = Context {
        hello: Arc::new(hello),
        history,
        identities,
        links,
        metrics: metrics.streams.clone(),
        interval: config.interval,
    };
    tokio::select! {
        () = targets::run(config.targets, context, shutdown.clone()) => {}
        () = failed.cancelled() => return Err(RunError::SamplingEnded),
        () = exporter_ended.cancelled() => return Err(RunError::ExporterEnded),
    }
    drained.cancel();
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    drop(sampling);
    if let Some(admin) = admin
        && let Ok(Err(error)) = admin.await
    {
        tracing::warn!(%error, "admin server");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Binds and says where.
async fn bind(listener: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    let bound = listen::listen(address).await;
    let bound = bound.map_err(io_error(format!("{listener}: listen on {address}")))?;
    let address = bound.local_addr().map_err(io_error("bound address"))?;
    tracing::info!(listener, %address, "listening");
    Ok(bound)
}

/// The server for scrapers, if there is to be one. Aggregators are asked about tokens over the streams' own connections.
fn scrapers(config: &Config, links: &Links, registry: &mut Registry) -> Result<Option<Server>, RunError> {
    let Some(settings) = &config.exporter else { return Ok(None) };
    let (links, node) = (links.clone(), config.node_name.clone());
    let ask: Ask = Arc::new(move |token| {
        let (links, node) = (links.clone(), node.clone());
        async move { links.review(&node, token).await }.boxed()
    });
    let counted = Counted::register(registry);
    let server = Server::prepare(settings, &config.node_name, ask, counted);
    server.map(Some).map_err(RunError::Configuration)
}

fn sampler(config: &Config, mounts: Mounts, node: NodeReader) -> Result<(Sampler, History), RunError> {
    let settings = Settings {
        interval: config.interval,
        detail_every: sampler::ticks_of(config.detail_interval, config.interval),
        scope: config.scope,
        node_memory: config.node_memory,
        max_cgroups: config.max_cgroups,
    };
    let descriptors = Descriptors::raised();
    let sampler = Sampler::new(settings, mounts, descriptors, node).map_err(io_error("watch cgroups"))?;
    Ok((sampler, History::new(config.history)))
}

fn hello(config: &Config, mounts: &Mounts, node: &NodeReader) -> Result<wire::Hello, RunError> {
    let hierarchy = match mounts.hierarchy() {
        Hierarchy::V1 => wire::Hierarchy::V1,
        Hierarchy::V2 => wire::Hierarchy::V2,
        Hierarchy::Hybrid => wire::Hierarchy::Hybrid,
    };
    let capacity = node.capacity();
    Ok(wire::Hello {
        node_name: config.node_name.clone(),
        boot_id: boot_id(&config.proc_root)?,
        instance: rand::random(),
        agent_version: kubevitals::VERSION.to_owned(),
        interval_ms: u32::try_from(config.interval.as_millis()).unwrap_or(u32::MAX),
        hierarchy: hierarchy.into(),
        capacity: Some(wire::Capacity { cpus: capacity.cpus, memory_bytes: capacity.memory_bytes }),
        // Filled in by each stream.
        newest_sequence: 0,
        wants_identity: true,
        detail_interval_ms: u32::try_from(config.detail_interval.as_millis()).unwrap_or(u32::MAX),
    })
}

fn boot_id(proc_root: &Path) -> Result<String, RunError> {
    let path = proc_root.join("sys/kernel/random/boot_id");
    let text = fs::read_to_string(&path).map_err(io_error(path.display().to_string()))?;
    Ok(text.trim().to_owned())
}
