//! Agents without kernels: each streams made-up counters of one node's pods to the aggregators, a batch a tick, as
//! a real agent does.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use kubevitals::{
    chain::{Announcement, Encoder, EndReason, Farewell},
    sample::{BootTime, ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WallTime, WorkingSet},
    wire::{self, agent_message, aggregator_message, ingest_client::IngestClient},
};
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Endpoint};

use crate::apiserver::{
    dial::{Fault, Target},
    make::Pod,
};

/// Memory every container uses.
pub(crate) const MEMORY: u64 = 64 << 20;

/// What all nodes use beside their pods: CPU in thousandths, memory in bytes.
const NODE: (u64, u64) = (500, 2 << 30);

/// One aggregator's port for agents.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    pub(crate) address: SocketAddr,
    /// PEM of the authority of its certificate.
    pub(crate) ca_pem: String,
}

/// What one node runs: pods, with the CPU that each of their containers uses, in thousandths.
type Loads = BTreeMap<String, (Pod, u64, BootTime)>;

/// What all nodes run.
#[derive(Debug, Default)]
struct World {
    nodes: Mutex<BTreeMap<String, Loads>>,
    /// Why streams ended, newest last, with the node.
    ends: Mutex<Vec<(String, String)>>,
}

/// Running agents. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Fleet {
    world: Arc<World>,
    tick: Duration,
    runtime: Option<Runtime>,
}

impl Fleet {
    /// None yet; each will send a batch at every `tick`.
    pub(crate) fn new(tick: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fleet")
            .enable_all()
            .build()
            .expect("a thread can be started");
        Self { world: Arc::default(), tick, runtime: Some(runtime) }
    }

    /// Starts the agent of a node, which streams to these aggregators and comes back when a stream ends.
    pub(crate) fn agent(&self, node: &str, token: &str, aggregators: &[Ingest]) {
        self.world.nodes.lock().unwrap().entry(node.to_owned()).or_default();
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        for aggregator in aggregators {
            let agent = Agent {
                node: node.to_owned(),
                claims: node.to_owned(),
                token: token.to_owned(),
                aggregator: aggregator.clone(),
                tick: self.tick,
                world: Arc::clone(&self.world),
            };
            runtime.spawn(agent.run());
        }
    }

    /// Runs a pod from now on; each of its containers uses so many thousandths of a CPU.
    pub(crate) fn run(&self, pod: &Pod, millicores: u64) {
        let mut nodes = self.world.nodes.lock().unwrap();
        let loads = nodes.entry(pod.node.clone()).or_default();
        loads.insert(pod.uid(), (pod.clone(), millicores, now()));
    }

    /// Ends a pod.
    pub(crate) fn end(&self, pod: &Pod) {
        let mut nodes = self.world.nodes.lock().unwrap();
        nodes.get_mut(&pod.node).expect("the node has an agent").remove(&pod.uid());
    }

    /// Why the streams of a node ended so far.
    pub(crate) fn ends(&self, node: &str) -> Vec<String> {
        let ends = self.world.ends.lock().unwrap();
        ends.iter().filter(|(of, _)| of == node).map(|(_, reason)| reason.clone()).collect()
    }

    /// Tries one stream as `claims` with this token, and returns how it was refused, if it was.
    pub(crate) fn try_as(&self, claims: &str, token: &str, aggregator: &Ingest) -> Result<(), String> {
        let agent = Agent {
            node: claims.to_owned(),
            claims: claims.to_owned(),
            token: token.to_owned(),
            aggregator: aggregator.clone(),
            tick: self.tick,
            world: Arc::default(),
        };
        let (done, waiting) = std::sync::mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        runtime.spawn(async move {
            drop(done.send(agent.greeted().await.map(drop).map_err(|fault| text(&*fault))));
        });
        waiting.recv_timeout(Duration::from_secs(60)).expect("an answer in time")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One node's stream to one aggregator.
#[derive(Debug)]
struct Agent {
    node: String,
    /// The node it says it speaks for.
    claims: String,
    token: String,
    aggregator: Ingest,
    tick: Duration,
    world: Arc<World>,
}

/// An open stream.
struct Stream {
    outgoing: mpsc::Sender<wire::AgentMessage>,
    incoming: Streaming<wire::AggregatorMessage>,
}

impl Agent {
    async fn run(self) {
        loop {
            if let Err(fault) = self.session().await {
                self.world.ends.lock().unwrap().push((self.node.clone(), text(&*fault)));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn session(&self) -> Result<(), Fault> {
        let mut stream = self.greeted().await?;
        stream.send(agent_message::Kind::Snapshot(Bytes::new())).await?;
        let mut chain = Chain::default();
        let mut ticks = tokio::time::interval(self.tick);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let loads = self.world.nodes.lock().unwrap().get(&self.node).cloned().unwrap_or_default();
                    stream.send(agent_message::Kind::Batch(chain.batch(&loads))).await?;
                }
                message = stream.incoming.message() => if message?.is_none() {
                    return Err("the aggregator ended it".into());
                },
            }
        }
    }

    /// Connects and says hello.
    async fn greeted(&self) -> Result<Stream, Fault> {
        let target = Target {
            address: self.aggregator.address,
            name: "localhost".to_owned(),
            ca_pem: self.aggregator.ca_pem.clone(),
        };
        let connector = tower::service_fn(move |_: http::Uri| {
            let target = target.clone();
            async move { Ok::<_, Fault>(TokioIo::new(target.connect(target.tls(None, b"h2")).await?)) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
        let (outgoing, messages) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(messages));
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        let mut client = IngestClient::new(channel);
        let opened = client.stream(request);
        let hello = wire::Hello {
            node_name: self.claims.clone(),
            boot_id: "made-up".to_owned(),
            instance: instance(),
            interval_ms: 1000,
            capacity: Some(wire::Capacity { cpus: 4, memory_bytes: 8 << 30 }),
            ..wire::Hello::default()
        };
        outgoing.send(wire::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }).await?;
        let mut stream = Stream { outgoing, incoming: opened.await?.into_inner() };
        match stream.incoming.message().await?.and_then(|message| message.kind) {
            Some(aggregator_message::Kind::Welcome(_)) => Ok(stream),
            other => Err(format!("no welcome but {other:?}").into()),
        }
    }
}

impl Stream {
    async fn send(&mut self, kind: agent_message::Kind) -> Result<(), Fault> {
        if self.outgoing.send(wire::AgentMessage { kind: Some(kind) }).await.is_ok() {
            return Ok(());
        }
        // It has ended; what was received last says why.
        while self.incoming.message().await?.is_some() {}
        Err("the aggregator ended it".into())
    }
}

/// The batches of one stream.
#[derive(Default)]
struct Chain {
    encoder: Encoder,
    /// Pod, container and number, in ascending order of numbers.
    live: Vec<(String, String, SeriesId)>,
    newest: u32,
}

impl Chain {
    fn batch(&mut self, loads: &Loads) -> Bytes {
        let time = now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        self.encoder.begin(time, WallTime(u64::try_from(wall.as_micros()).expect("before the year 500000")));
        let encoder = &mut self.encoder;
        self.live.retain(|(uid, _, series)| {
            let lives = uid.is_empty() || loads.contains_key(uid);
            if !lives {
                encoder.end(Farewell { series: *series, reason: EndReason::Removed });
            }
            lives
        });
        if self.newest == 0 {
            self.announce("", "", Subject::Node, None);
        }
        for (uid, (pod, _, since)) in loads {
            for container in &pod.containers {
                if !self.live.iter().any(|(of, name, _)| of == uid && name == container) {
                    let subject = Subject::Container {
                        pod: PodUid::new(uid).expect("a UID"),
                        id: ContainerId::new(&pod.container_id(container)).expect("an id"),
                        qos: None,
                    };
                    let first = Sample { time: *since, cpu: CpuTime(0), working_set: memory(MEMORY) };
                    self.announce(uid, container, subject, Some(first));
                }
            }
        }
        for (uid, ..) in &self.live {
            let (cpu, bytes) = match loads.get(uid) {
                Some((_, millicores, since)) => (millicores * (time.0 - since.0), MEMORY),
                None => (NODE.0 * time.0, NODE.1),
            };
            // Thousandths of a CPU times microseconds are nanoseconds.
            self.encoder.sample(Sample { time, cpu: CpuTime(cpu), working_set: memory(bytes) }, None);
        }
        self.encoder.finish().1
    }

    fn announce(&mut self, uid: &str, container: &str, subject: Subject, first: Option<Sample>) {
        self.newest += 1;
        let series = SeriesId(self.newest);
        self.encoder.announce(&Announcement { series, subject, inode: u64::from(self.newest), first });
        self.live.push((uid.to_owned(), container.to_owned(), series));
    }
}

fn memory(bytes: u64) -> WorkingSet {
    WorkingSet::from_bytes(bytes).expect("whole pages")
}

/// Microseconds since the first call, which was at a late hour of the machine.
fn now() -> BootTime {
    static BOOT: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let since = BOOT.elapsed() + Duration::from_hours(1);
    BootTime(u64::try_from(since.as_micros()).expect("a test ends"))
}

/// New with every stream, because none resumes.
fn instance() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn text(fault: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match fault.downcast_ref::<Status>() {
        Some(status) => format!("{:?}: {}", status.code(), status.message()),
        None => fault.to_string(),
    }
}
