//! Agents of many nodes, spoken by the test itself over real TLS: known loads in, so that what is served can be
//! compared to the digit. It leaves out replay and new starts: a stream that ends is a fault, and is kept.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper_util::rt::TokioIo;
use kubevitals::{
    chain::{Announcement, Encoder},
    sample::{BootTime, ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WallTime, WorkingSet},
    wire::{self, agent_message::Kind, ingest_client::IngestClient},
};
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    time::{Instant, interval_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, transport::Endpoint};

use crate::apiserver::dial::Target;

/// The tick of every agent.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// A constant use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) nanocores: u64,
    /// In units of 4 KiB.
    pub(crate) memory_4k: u32,
}

impl Load {
    /// From thousandths of a core and MiB.
    pub(crate) fn new(millicores: u64, mebibytes: u32) -> Self {
        Self { nanocores: millicores * 1_000_000, memory_4k: mebibytes * 256 }
    }
}

/// What one agent reports.
#[derive(Debug, Clone)]
pub(crate) struct Reported {
    pub(crate) node: String,
    /// The agent's bearer token.
    pub(crate) token: String,
    pub(crate) load: Load,
    /// Pod UID, container ID and load.
    pub(crate) containers: Vec<(String, String, Load)>,
}

/// Running agents, on a thread of their own. Dropping them ends their streams.
#[derive(Debug)]
pub(crate) struct Fleet {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct Shared {
    batches: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Fleet {
    /// Starts an agent for each node; all tick once a second, spread over that second.
    pub(crate) fn start(ingest: &Target, nodes: Vec<Reported>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fleet")
            .enable_all()
            .build()
            .expect("threads can be started");
        let shared = Arc::<Shared>::default();
        let count = u32::try_from(nodes.len()).expect("a plausible fleet");
        for (index, node) in (0..count).zip(nodes) {
            let (ingest, shared) = (ingest.clone(), Arc::clone(&shared));
            let offset = TICK * index / count;
            runtime.spawn(async move {
                let name = node.node.clone();
                let ended = run(ingest, node, offset, &shared.batches).await;
                let fault = ended.expect_err("it streams until it fails");
                shared.faults.lock().unwrap().push(format!("{name}: {fault}"));
            });
        }
        Self { shared, runtime: Some(runtime) }
    }

    /// Batches sent so far.
    pub(crate) fn batches(&self) -> u64 {
        self.shared.batches.load(Ordering::Relaxed)
    }

    /// Streams that ended although nobody wanted it.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().unwrap().clone()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn run(ingest: Target, node: Reported, offset: Duration, batches: &AtomicU64) -> Result<(), Status> {
    let (outgoing, messages) = mpsc::channel(16);
    let mut request = Request::new(ReceiverStream::new(messages));
    let bearer = format!("Bearer {}", node.token).parse();
    request.metadata_mut().insert("authorization", bearer.expect("a token is a header value"));
    let mut incoming = client(ingest).await?.stream(request).await?.into_inner();
    send(&outgoing, Kind::Hello(hello(&node.node))).await?;
    send(&outgoing, Kind::Snapshot(bytes::Bytes::new())).await?;
    // Acknowledgements need no answer, but an end of the stream has a reason.
    let ended = tokio::spawn(async move {
        loop {
            match incoming.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::aborted("the aggregator ended the stream"),
                Err(status) => return status,
            }
        }
    });
    tokio::select! {
        sent = tick(&node, offset, &outgoing, batches) => sent,
        ended = ended => Err(ended.unwrap_or_else(|error| Status::internal(error.to_string()))),
    }
}

/// Sends a batch each second, for ever.
async fn tick(
    node: &Reported,
    offset: Duration,
    outgoing: &mpsc::Sender<wire::AgentMessage>,
    batches: &AtomicU64,
) -> Result<(), Status> {
    let mut chain = Chain::new(node);
    let mut ticks = interval_at(Instant::now() + offset, TICK);
    let begun = wall_us() + u64::try_from(offset.as_micros()).expect("a short time");
    for number in 1.. {
        ticks.tick().await;
        let batch = chain.batch(number, begun);
        send(outgoing, Kind::Batch(batch)).await?;
        batches.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn client(ingest: Target) -> Result<IngestClient<tonic::transport::Channel>, Status> {
    let connector = tower::service_fn(move |_: http::Uri| {
        let ingest = ingest.clone();
        async move { ingest.connect(ingest.tls(None, b"h2")).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://ingest").connect_with_connector(connector).await;
    Ok(IngestClient::new(channel.map_err(|error| Status::unavailable(format!("{error:?}")))?))
}

async fn send(outgoing: &mpsc::Sender<wire::AgentMessage>, kind: Kind) -> Result<(), Status> {
    let sent = outgoing.send(wire::AgentMessage { kind: Some(kind) }).await;
    // The receiving side knows why.
    if sent.is_err() { std::future::pending().await } else { Ok(()) }
}

fn hello(node: &str) -> wire::Hello {
    wire::Hello {
        node_name: node.to_owned(),
        boot_id: "boot".to_owned(),
        instance: 1,
        interval_ms: u32::try_from(TICK.as_millis()).expect("a short time"),
        ..wire::Hello::default()
    }
}

/// One node's chain. Times are whole ticks, whenever a batch is really sent: rates come out exact.
struct Chain {
    encoder: Encoder,
    announced: Vec<Announcement>,
    /// In the order of the series.
    loads: Vec<Load>,
}

impl Chain {
    fn new(node: &Reported) -> Self {
        let subjects = node.containers.iter().map(|(pod, id, load)| {
            let (pod, id) = (PodUid::new(pod).expect("a UID"), ContainerId::new(id).expect("an ID"));
            (Subject::Container { pod, id, qos: None }, *load)
        });
        let subjects: Vec<_> = [(Subject::Node, node.load)].into_iter().chain(subjects).collect();
        let loads = subjects.iter().map(|(_, load)| *load).collect();
        let announced = (1..).zip(subjects).map(|(number, (subject, _))| Announcement {
            series: SeriesId(number),
            subject,
            inode: number.into(),
            first: None,
        });
        Self { encoder: Encoder::default(), announced: announced.collect(), loads }
    }

    fn batch(&mut self, number: u64, begun_us: u64) -> bytes::Bytes {
        let passed = number * u64::try_from(TICK.as_micros()).expect("a short time");
        let time = BootTime(passed);
        self.encoder.begin(time, WallTime(begun_us + passed));
        for announcement in self.announced.drain(..) {
            self.encoder.announce(&announcement);
        }
        for load in &self.loads {
            let cpu = CpuTime(load.nanocores / 1_000_000 * passed);
            let working_set = WorkingSet::from_units(load.memory_4k);
            self.encoder.sample(Sample { time, cpu, working_set }, None);
        }
        self.encoder.finish().1
    }
}

fn wall_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_micros()).expect("before the year 500000")
}
