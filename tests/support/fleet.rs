//! Agents without kernels: each streams made-up counters of one node's pods to the aggregators, a batch a tick, as
//! a real agent does.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
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

/// Memory a container uses unless a test says otherwise.
pub(crate) const MEMORY: u64 = 64 << 20;

/// What a node uses unless a test says otherwise.
const NODE: Load = Load { millicores: 500, memory: 2 << 30 };

/// A constant use of CPU, in thousandths, and memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) millicores: u64,
    pub(crate) memory: u64,
}

/// The counters of a node or container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) cpu_ns: u64,
    pub(crate) memory: u64,
    pub(crate) age: Duration,
}

/// One aggregator's port for agents.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    pub(crate) address: SocketAddr,
    /// PEM of the authority of its certificate.
    pub(crate) ca_pem: String,
}

/// A pod that runs since a moment, with the load of each of its containers.
#[derive(Debug, Clone)]
struct Running {
    pod: Pod,
    loads: Vec<Load>,
    since: BootTime,
}

/// What one node runs: its own load, and pods by UID.
#[derive(Debug, Clone)]
struct Loads {
    own: Load,
    pods: BTreeMap<String, Running>,
}

impl Default for Loads {
    fn default() -> Self {
        Self { own: NODE, pods: BTreeMap::new() }
    }
}

/// What all nodes run.
#[derive(Debug, Default)]
struct World {
    nodes: Mutex<BTreeMap<String, Loads>>,
    /// Why streams ended, newest last, with the node.
    ends: Mutex<Vec<(String, String)>>,
    /// By how many microseconds the clocks of nodes are ahead.
    clocks: Mutex<BTreeMap<String, i64>>,
    /// Whether nothing is sent on open streams.
    is_silent: AtomicBool,
    /// Batches sent.
    batches: AtomicU64,
    /// Whether containers are announced without the reading that was made at their start.
    is_late: AtomicBool,
    /// So many batches are sent and no more; any number while it is zero.
    most: AtomicU64,
    /// What agents trust instead of what they were started with, read for each connection.
    mounted: Mutex<Option<PathBuf>>,
}

impl World {
    fn trusted(&self, aggregator: &Ingest) -> Result<String, Fault> {
        match &*self.mounted.lock().unwrap() {
            Some(file) => Ok(std::fs::read_to_string(file)?),
            None => Ok(aggregator.ca_pem.clone()),
        }
    }
}

/// Running agents. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Fleet {
    world: Arc<World>,
    tick: Duration,
    boot: String,
    runtime: Option<Runtime>,
}

impl Fleet {
    /// None yet; each will send a batch at every `tick`.
    pub(crate) fn new(tick: Duration) -> Self {
        Self::booted(tick, "made-up")
    }

    /// The same on machines with this boot id.
    pub(crate) fn booted(tick: Duration, boot: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fleet")
            .enable_all()
            .build()
            .expect("a thread can be started");
        Self { world: Arc::default(), tick, boot: boot.to_owned(), runtime: Some(runtime) }
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
                boot: self.boot.clone(),
                world: Arc::clone(&self.world),
            };
            runtime.spawn(agent.run());
        }
    }

    /// From now on all agents trust what is in this file when they connect, as if it were mounted.
    pub(crate) fn mount(&self, file: &Path) {
        *self.world.mounted.lock().unwrap() = Some(file.to_owned());
    }

    /// Runs a pod from now on; each of its containers uses so many thousandths of a CPU.
    pub(crate) fn run(&self, pod: &Pod, millicores: u64) {
        self.run_with(pod, &vec![Load { millicores, memory: MEMORY }; pod.containers.len()]);
    }

    /// Runs a pod from now on, with a load for each of its containers.
    pub(crate) fn run_with(&self, pod: &Pod, loads: &[Load]) {
        assert_eq!(pod.containers.len(), loads.len(), "a load for each container of {}", pod.name);
        let mut nodes = self.world.nodes.lock().unwrap();
        let running = Running { pod: pod.clone(), loads: loads.to_vec(), since: now() };
        nodes.entry(pod.node.clone()).or_default().pods.insert(pod.uid(), running);
    }

    /// What a node uses in all, from its agent's start on.
    pub(crate) fn load_node(&self, node: &str, own: Load) {
        self.world.nodes.lock().unwrap().entry(node.to_owned()).or_default().own = own;
    }

    /// From now on nothing comes on any stream, as if all nodes were frozen.
    pub(crate) fn silence(&self) {
        self.world.is_silent.store(true, Ordering::Relaxed);
    }

    /// As if containers had been there before their agents: their first reading is that of the next tick.
    pub(crate) fn come_late(&self) {
        self.world.is_late.store(true, Ordering::Relaxed);
    }

    /// From now on all is silent once so many batches were sent, by all agents.
    pub(crate) fn silence_after(&self, batches: u64) {
        self.world.most.store(batches, Ordering::Relaxed);
    }

    /// By how many seconds a node's clock is ahead, for streams that begin later.
    pub(crate) fn set_clock(&self, node: &str, ahead_seconds: i64) {
        self.world.clocks.lock().unwrap().insert(node.to_owned(), ahead_seconds * 1_000_000);
    }

    /// Ends a pod.
    pub(crate) fn end(&self, pod: &Pod) {
        let mut nodes = self.world.nodes.lock().unwrap();
        nodes.get_mut(&pod.node).expect("the node has an agent").pods.remove(&pod.uid());
    }

    /// Another fleet, without agents, in the same world.
    pub(crate) fn of(other: &Self) -> Self {
        let mut fleet = Self::new(other.tick);
        fleet.world = Arc::clone(&other.world);
        fleet
    }

    /// Ends all agents at this moment; what they measure goes on.
    pub(crate) fn stop_agents(&mut self) {
        if let Some(running) = self.runtime.replace(Self::new(self.tick).runtime.take().expect("a new one")) {
            running.shutdown_background();
        }
    }

    /// What the kernel of a node has counted at this moment: the node's own counter first, then each container's with
    /// its pod, name and age.
    pub(crate) fn counted(&self, node: &str) -> (Counted, Vec<(Pod, String, Counted)>) {
        let nodes = self.world.nodes.lock().unwrap();
        let (loads, now) = (nodes.get(node).cloned().unwrap_or_default(), now());
        let counted = |load: Load, since: BootTime| Counted {
            cpu_ns: load.millicores * (now.0 - since.0),
            memory: load.memory,
            age: now.since(since),
        };
        let containers = loads.pods.values().flat_map(|running| {
            let containers = running.pod.containers.iter().zip(&running.loads);
            containers.map(|(name, load)| (running.pod.clone(), name.clone(), counted(*load, running.since)))
        });
        (counted(loads.own, BootTime(0)), containers.collect())
    }

    /// Batches sent so far, by all agents.
    pub(crate) fn batches(&self) -> u64 {
        self.world.batches.load(Ordering::Relaxed)
    }

    /// How often a stream ended, with node and reason.
    pub(crate) fn all_ends(&self) -> Vec<(String, String)> {
        self.world.ends.lock().unwrap().clone()
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
            boot: self.boot.clone(),
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
    boot: String,
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
        let ahead = self.world.clocks.lock().unwrap().get(&self.node).copied().unwrap_or_default();
        let mut chain = Chain::new(self.tick, ahead, self.world.is_late.load(Ordering::Relaxed));
        let mut ticks = tokio::time::interval(self.tick);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let most = self.world.most.load(Ordering::Relaxed);
                    let is_over = most > 0 && self.world.batches.load(Ordering::Relaxed) >= most;
                    if is_over || self.world.is_silent.load(Ordering::Relaxed) {
                        continue;
                    }
                    let loads = self.world.nodes.lock().unwrap().get(&self.node).cloned().unwrap_or_default();
                    stream.send(agent_message::Kind::Batch(chain.batch(&loads))).await?;
                    self.world.batches.fetch_add(1, Ordering::Relaxed);
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
            ca_pem: self.world.trusted(&self.aggregator)?,
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
            agent_version: kubevitals::VERSION.to_owned(),
            boot_id: self.boot.clone(),
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

/// The batches of one stream. Their times are whole ticks from the first one on, whenever they are really sent, so
/// that rates and windows come out exact.
struct Chain {
    encoder: Encoder,
    /// Pod, index of the container, and number, in ascending order of numbers.
    live: Vec<(String, usize, SeriesId)>,
    newest: u32,
    time: BootTime,
    wall: WallTime,
    tick_us: u64,
    is_late: bool,
}

impl Chain {
    fn new(tick: Duration, ahead: i64, is_late: bool) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Self {
            encoder: Encoder::default(),
            live: Vec::new(),
            newest: 0,
            time: now(),
            wall: WallTime(micros(wall).saturating_add_signed(ahead)),
            tick_us: micros(tick),
            is_late,
        }
    }

    fn batch(&mut self, loads: &Loads) -> Bytes {
        let (time, tick) = (self.time, self.tick_us);
        self.encoder.begin(time, self.wall);
        (self.time, self.wall) = (BootTime(time.0 + tick), WallTime(self.wall.0 + tick));
        let encoder = &mut self.encoder;
        self.live.retain(|(uid, _, series)| {
            let lives = uid.is_empty() || loads.pods.contains_key(uid);
            if !lives {
                encoder.end(Farewell { series: *series, reason: EndReason::Removed });
            }
            lives
        });
        if self.newest == 0 {
            self.announce("", 0, Subject::Node, None);
        }
        // A pod that began after this batch's time comes with the next one.
        for (uid, running) in loads.pods.iter().filter(|(_, running)| running.since < time) {
            for (index, container) in running.pod.containers.iter().enumerate() {
                if !self.live.iter().any(|(of, at, _)| of == uid && *at == index) {
                    let subject = Subject::Container {
                        pod: PodUid::new(uid).expect("a UID"),
                        id: ContainerId::new(&running.pod.container_id(container)).expect("an id"),
                        qos: None,
                    };
                    let working_set = memory(running.loads[index].memory);
                    let first = Sample { time: running.since, cpu: CpuTime(0), working_set };
                    let first = (!self.is_late).then_some(first);
                    self.announce(uid, index, subject, first);
                }
            }
        }
        for (uid, index, _) in &self.live {
            let (load, since) = match loads.pods.get(uid) {
                Some(running) => (running.loads[*index], running.since),
                None => (loads.own, BootTime(0)),
            };
            // Thousandths of a CPU times microseconds are nanoseconds.
            let cpu = CpuTime(load.millicores * (time.0 - since.0));
            self.encoder.sample(Sample { time, cpu, working_set: memory(load.memory) }, None);
        }
        self.encoder.finish().1
    }

    fn announce(&mut self, uid: &str, container: usize, subject: Subject, first: Option<Sample>) {
        self.newest += 1;
        let series = SeriesId(self.newest);
        self.encoder.announce(&Announcement {
            series,
            subject,
            inode: u64::from(self.newest),
            first,
            birth: None,
        });
        self.live.push((uid.to_owned(), container, series));
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("before the year 500000")
}

fn memory(bytes: u64) -> WorkingSet {
    WorkingSet::from_bytes(bytes).expect("whole pages")
}

/// Microseconds since the first call, which was at a late hour of the machine.
fn now() -> BootTime {
    static BOOT: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let since = BOOT.elapsed() + Duration::from_hours(1);
    BootTime(micros(since))
}

/// New with every stream, because none resumes.
fn instance() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn text(fault: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match fault.downcast_ref::<Status>() {
        Some(status) => format!("{:?}: {}", status.code(), status.message()),
        None => fault.to_string(),
    }
}
