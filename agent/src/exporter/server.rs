//! The listener for scrapers: a thread of its own, so that neither handshakes nor compression delay sampling or streams.
//!
//! [`Server::prepare`] finds every fault of the files before anything runs; [`Server::start`] serves until it is told to
//! stop. What a request gets is [`super::answer`]'s business, how connections are held that of [`crate::https`].

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    access::{
        Access,
        cluster::{Ask, ClusterTokens},
    },
    answer::{Desk, Pages, answer},
    counted::Counted,
    settings::{Credentials, Protection, Settings},
};
use crate::{
    https::{self, Limits},
    tls::{
        self, Authority, Serving,
        clients::Settings as TlsSettings,
        reload::{Source, Upkeep},
    },
};

/// How often the files of tokens and authorities are looked at, as certificates are.
const LOOK: Duration = Duration::from_secs(5);

/// What scrapers may take. A few of them come each some seconds; anybody else should find little to take.
const LIMITS: Limits = Limits {
    handshake: Duration::from_secs(5),
    first_request: Duration::from_secs(5),
    // Longer than the usual interval of scrapes, a minute, so that connections live on from one to the next.
    idle: Duration::from_secs(90),
    // Of agents' streams; there are none here.
    admission: Duration::from_secs(5),
    ping_after: Duration::from_secs(30),
    ping_timeout: Duration::from_secs(15),
    stall: Duration::from_secs(10),
    response: Duration::from_secs(30),
    drain: Duration::from_secs(1),
    connections: 64,
    connections_of_one: 16,
    streams: 8,
    // A token of a service account takes up to two thousand bytes.
    head_bytes: 64 << 10,
};

/// How much the thread gives way to that of sampling: handshakes and compression take one part in ten of a full CPU.
const NICE: i32 = 10;

/// How long the end of the thread is waited for.
const END: Duration = Duration::from_secs(3);

/// A listener whose files are good.
#[derive(Debug)]
pub struct Server {
    listen: SocketAddr,
    access: Arc<Access>,
    tls: Option<Tls>,
    counted: Counted,
}

#[derive(Debug)]
struct Tls {
    settings: Arc<TlsSettings>,
    serving: Arc<Serving>,
    source: Source,
}

impl Server {
    /// Reads all files. The error has a line for each that cannot be used. `ask` asks an aggregator about tokens of the
    /// cluster.
    pub fn prepare(
        settings: &Settings,
        node_name: &str,
        ask: Ask,
        counted: Counted,
    ) -> Result<Self, Vec<String>> {
        let Protection::Credentials(wanted) = &settings.protection else {
            let (listen, access) = (settings.listen, Arc::new(Access::open()));
            return Ok(Self { listen, access, tls: None, counted });
        };
        let cluster = wanted.cluster.then(|| ClusterTokens::new(ask, counted.clone()));
        let access = Access::read(wanted, cluster, &counted.credential_faults);
        let tls = Tls::read(wanted, &names(settings.listen, node_name));
        let (access, tls) = match (access, tls) {
            (Ok(access), Ok(tls)) => (access, tls),
            (access, tls) => {
                let faults = access.err().into_iter().flatten().chain(tls.err());
                return Err(faults.collect());
            }
        };
        tls.ask_for(&access).map_err(|error| vec![format!("--exporter-client-ca-file: {error}")])?;
        Ok(Self { listen: settings.listen, access: Arc::new(access), tls: Some(tls), counted })
    }

    /// Where it will listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Serves on a thread until the result is stopped. `ended` is called when the thread ends by itself too.
    pub fn start(
        self,
        listener: TcpListener,
        pages: Pages,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Running> {
        // Bound to the runtime that made it.
        let listener = listener.into_std()?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let stop = CancellationToken::new();
        let (told, done) = oneshot::channel::<()>();
        let on_end = OnEnd { ended: Some(ended), _told: told };
        let stopped = stop.clone();
        thread::Builder::new().name("exporter".to_owned()).spawn(move || {
            let _on_end = on_end;
            // Of this thread alone: the sampling thread has the same share of a busy node as this one otherwise.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "the exporter is as urgent as sampling");
            }
            let served = runtime.block_on(self.serve(listener, pages, stopped));
            // A file system that hangs is not waited for.
            runtime.shutdown_background();
            if let Err(error) = served {
                tracing::error!(%error, "exporter");
            }
        })?;
        Ok(Running { stop, done })
    }

    async fn serve(
        self,
        listener: std::net::TcpListener,
        pages: Pages,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let Self { access, tls, counted, .. } = self;
        let listener = TcpListener::from_std(listener)?;
        let desk = Desk::new(pages, Arc::clone(&access), counted.clone());
        let app = Router::new().fallback(answer).with_state(desk);
        let Some(Tls { settings, serving, source }) = tls else {
            https::serve_plain(listener, app, LIMITS, stop).await;
            return Ok(());
        };
        let mut upkeep = JoinSet::new();
        let certificate = Upkeep::new(serving, source, counted.certificate.clone());
        upkeep.spawn(certificate.run(stop.clone()));
        upkeep.spawn(look_after(access, Arc::clone(&settings), stop.clone()));
        let failed_handshakes = counted.failed_handshakes.clone();
        let server = https::Server { tls: settings, limits: LIMITS, failed_handshakes };
        server.serve(listener, app, stop).await;
        Ok(())
    }
}

impl Tls {
    fn read(wanted: &Credentials, names: &[String]) -> Result<Self, String> {
        let source = match &wanted.certificate {
            Some((certificate, key)) => Source::files(certificate.clone(), key.clone()),
            None => Source::own(own_authority()?, names.to_vec()),
        };
        let begun = Upkeep::begin(source).and_then(|(serving, source)| {
            let settings = serving.api_config()?;
            Ok(Self { settings, serving, source })
        });
        let flag =
            if wanted.certificate.is_some() { "--exporter-tls-cert-file" } else { "--exporter-listen" };
        begun.map_err(|error| format!("{flag}: {error}"))
    }

    fn ask_for(&self, access: &Access) -> Result<(), tls::TlsError> {
        ask_for(&self.settings, access)
    }
}

fn own_authority() -> Result<Authority, String> {
    Authority::generate().map_err(|error| format!("--exporter-listen: {error}"))
}

/// From now on, clients are asked for certificates of the authorities, if there are any.
fn ask_for(settings: &TlsSettings, access: &Access) -> Result<(), tls::TlsError> {
    match access.authorities() {
        Some(authorities) => settings.ask_for(authorities.subjects().to_vec()),
        None => Ok(()),
    }
}

/// What a certificate of our own is made out to. A node's name that is no DNS name cannot be in it.
fn names(listen: SocketAddr, node_name: &str) -> Vec<String> {
    let address = Some(listen.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
    let node_name = Some(node_name.to_owned()).filter(|name| tls::is_name(name));
    node_name.into_iter().chain(address).collect()
}

/// Looks at the files again and again until `stop`.
async fn look_after(access: Arc<Access>, settings: Arc<TlsSettings>, stop: CancellationToken) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        let looked = Arc::clone(&access);
        // Files may lie on a file system that hangs.
        let changed = tokio::task::spawn_blocking(move || looked.look()).await.unwrap_or(false);
        if changed && let Err(error) = ask_for(&settings, &access) {
            tracing::error!(%error, "new authorities are not named in handshakes");
        }
    }
}

/// Runs when the thread ends, however that comes.
struct OnEnd<F: FnOnce()> {
    ended: Option<F>,
    _told: oneshot::Sender<()>,
}

impl<F: FnOnce()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended();
        }
    }
}

/// The running thread.
#[derive(Debug)]
pub struct Running {
    stop: CancellationToken,
    done: oneshot::Receiver<()>,
}

impl Running {
    /// Ends it, with what is in flight.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(END, &mut self.done).await.is_err() {
            tracing::warn!("the exporter does not end");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
