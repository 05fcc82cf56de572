//! The agents: for each node a connection of its own over TLS and HTTP/2, and a batch each second, as real ones do. What
//! they cost themselves is kept low: batches come from one encoder per node, all agents share a thread.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kubevitals::{
    frames::SmallFrames,
    wire::{self, agent_message, aggregator_message, ingest_client::IngestClient},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, sleep_until},
};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, body::Body};

use crate::{
    apiserver::dial::Fault,
    chain::Chain,
    kernel::mixed,
    lie::{self, Lie},
    world::{self, Shared},
};

/// A sweep of a node's hundred cgroups takes so long; then the batch is sent.
const SWEEP: Duration = Duration::from_micros(2500);

/// As real agents come back.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// Where the aggregator is now.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) ingest: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
}

/// What all agents did.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) batches: AtomicU64,
    /// Of these, those that were older than what an aggregator wanted when it was greeted first.
    pub(crate) unwanted: AtomicU64,
    pub(crate) payload: AtomicU64,
    pub(crate) samples: AtomicU64,
    /// Bytes written to sockets, TLS included.
    pub(crate) written: AtomicU64,
    pub(crate) welcomed: AtomicU64,
    /// Why streams ended, the first few.
    pub(crate) ends: Mutex<Vec<String>>,
    /// How late batches were handed to their connections, microseconds.
    pub(crate) late: Mutex<Vec<u32>>,
}

/// What all agents share.
pub(crate) struct Fleet {
    pub(crate) world: Shared,
    pub(crate) target: Mutex<Target>,
    pub(crate) counted: Counted,
    /// Agents that make and send nothing while it is set.
    pub(crate) is_paused: AtomicBool,
    /// What one of them lies about.
    pub(crate) lie: Option<Lie>,
}

impl Fleet {
    pub(crate) fn note_end(&self, node: usize, fault: &str) {
        let mut ends = self.counted.ends.lock().unwrap();
        if ends.len() < 1000 {
            ends.push(format!("{}: {fault}", world::node_name(node)));
        }
    }
}

/// One node's agent, for ever.
pub(crate) async fn run(fleet: Arc<Fleet>, index: usize) {
    let clock = fleet.world.nodes[index].lock().unwrap().clock;
    let mut chain = Chain::new(clock, lie::of(fleet.lie, index));
    let mut retry = FIRST_RETRY;
    // The agents of a cluster were not all started in one moment either.
    sleep(Duration::from_millis(mixed(index as u64, 13) % 1000)).await;
    loop {
        let begun = Instant::now();
        if let Err(fault) = session(&fleet, index, &mut chain).await {
            fleet.note_end(index, &fault.to_string());
        }
        if begun.elapsed() > LAST_RETRY * 2 {
            retry = FIRST_RETRY;
        }
        let jitter = mixed(index as u64, u64::from(begun.elapsed().subsec_nanos())) % 1000;
        sleep(retry / 2 + retry / 2 * u32::try_from(jitter).unwrap() / 1000).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn session(fleet: &Arc<Fleet>, index: usize, chain: &mut Chain) -> Result<(), Fault> {
    catch_up(fleet, index, chain);
    let (outgoing, mut incoming, welcome) = greeted(fleet, index, chain.sequence()).await?;
    fleet.counted.welcomed.fetch_add(1, Relaxed);
    // A tick a second.
    let back = welcome.history_ms.map_or(usize::MAX, |back| back as usize / 1000);
    let (snapshot, batches) = chain.begun(&fleet.world, back);
    fleet.counted.unwanted.fetch_add(chain.sequence() - batches.len() as u64, Relaxed);
    for part in snapshot {
        outgoing.send(message(agent_message::Kind::Snapshot(part.into()))).await?;
    }
    for batch in batches {
        outgoing.send(message(agent_message::Kind::Batch(batch))).await?;
    }
    loop {
        let due = due(fleet, index, chain.next());
        tokio::select! {
            () = sleep_until(due.into()) => {
                while fleet.is_paused.load(Relaxed) {
                    sleep(Duration::from_millis(10)).await;
                }
                let (tick, batch) = (chain.next(), make(fleet, index, chain));
                outgoing.send(message(agent_message::Kind::Batch(batch))).await?;
                told(fleet, index, tick, due);
            }
            message = incoming.message() => if message?.is_none() {
                return Err("the aggregator ended it".into());
            },
        }
    }
}

/// When the batch of a tick is to be sent.
fn due(fleet: &Fleet, index: usize, tick: u64) -> Instant {
    let clock = fleet.world.nodes[index].lock().unwrap().clock;
    fleet.world.instant(clock.sweep(tick)) + SWEEP
}

/// Makes all batches that are due: an agent goes on measuring while no aggregator is there.
fn catch_up(fleet: &Fleet, index: usize, chain: &mut Chain) {
    while due(fleet, index, chain.next()) <= Instant::now() {
        make(fleet, index, chain);
    }
}

fn make(fleet: &Fleet, index: usize, chain: &mut Chain) -> Bytes {
    let before = chain.samples;
    let batch = chain.tick(&fleet.world, &fleet.world.nodes[index].lock().unwrap());
    let Counted { batches, payload, samples, .. } = &fleet.counted;
    batches.fetch_add(1, Relaxed);
    payload.fetch_add(batch.len() as u64, Relaxed);
    samples.fetch_add(chain.samples - before, Relaxed);
    batch
}

fn told(fleet: &Fleet, index: usize, tick: u64, due: Instant) {
    let late = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
    fleet.counted.late.lock().unwrap().push(late);
    let (world, lie) = (&fleet.world, lie::of(fleet.lie, index));
    let tick = lie.map_or(tick, |lie| lie.sent(tick));
    world.nodes[index].lock().unwrap().hand(tick, world.now());
}

fn message(kind: agent_message::Kind) -> wire::AgentMessage {
    wire::AgentMessage { kind: Some(kind) }
}

type Stream = (mpsc::Sender<wire::AgentMessage>, Streaming<wire::AggregatorMessage>, wire::Welcome);

/// Connects and says hello.
async fn greeted(fleet: &Arc<Fleet>, index: usize, newest_sequence: u64) -> Result<Stream, Fault> {
    let Target { ingest, tls } = fleet.target.lock().unwrap().clone();
    let stream = TcpStream::connect(ingest).await?;
    stream.set_nodelay(true)?;
    let stream = CountedStream { stream, fleet: Arc::clone(fleet) };
    let tls = TlsConnector::from(tls).connect(ServerName::try_from("localhost")?, stream).await?;
    let (sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake::<_, Body>(TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    let service = tower::service_fn(move |request| sender.clone().send_request(request));
    let origin = http::Uri::from_static("https://localhost");
    let mut client = IngestClient::with_origin(SmallFrames(service), origin);
    let (outgoing, messages) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(messages));
    request.metadata_mut().insert("authorization", format!("Bearer {}", world::token(index)).parse()?);
    let opened = client.stream(request);
    let hello = wire::Hello {
        node_name: world::node_name(index),
        agent_version: kubevitals::VERSION.to_owned(),
        boot_id: "one-boot-of-the-fleet".to_owned(),
        instance: mixed(index as u64, 14),
        interval_ms: 1000,
        capacity: Some(wire::Capacity { cpus: 16, memory_bytes: 64 << 30 }),
        newest_sequence,
        wants_identity: true,
        detail_interval_ms: 20_000,
        ..wire::Hello::default()
    };
    outgoing.send(message(agent_message::Kind::Hello(hello))).await?;
    let mut incoming = opened.await?.into_inner();
    match incoming.message().await?.and_then(|message| message.kind) {
        Some(aggregator_message::Kind::Welcome(welcome)) => Ok((outgoing, incoming, welcome)),
        other => Err(format!("no welcome but {other:?}").into()),
    }
}

/// Counts what is written to a socket.
struct CountedStream {
    stream: TcpStream,
    fleet: Arc<Fleet>,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        if let Poll::Ready(Ok(bytes)) = written {
            self.fleet.counted.written.fetch_add(bytes as u64, Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
