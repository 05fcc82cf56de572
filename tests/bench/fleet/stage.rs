//! Everything that runs: the stand-in API server, the aggregator's program, agents, churn, and threads for readers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Options,
    agent::{self, Counted, Fleet},
    apiserver::{ApiServer, Cluster, dial::Target, reviews::User},
    program::Aggregator,
    reader::{self, Client, READER},
    seen::{Reader, Tally},
    world::{self, Life, World, churn_pace},
};

/// Complete answers come within this time, or the bench fails.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks whether all is served.
const LOOK: Duration = Duration::from_millis(250);

/// The crowd's clients give way to agents and aggregator, which they would not meet on one machine.
const NICE: i32 = 10;

/// All that runs. What others ask is dropped last.
pub(crate) struct Stage {
    pub(crate) nodes: usize,
    pub(crate) lists: usize,
    pub(crate) full_every: Duration,
    pub(crate) fleet: Arc<Fleet>,
    churns: Arc<AtomicBool>,
    /// The pod that came last.
    pub(crate) newcomer: Arc<Mutex<Option<Life>>>,
    pub(crate) readers: Runtime,
    pub(crate) probes: Runtime,
    pub(crate) crowd: Runtime,
    _agents: Runtime,
    aggregator: Option<Aggregator>,
    _api: ApiServer,
    _files: TempDir,
}

impl Stage {
    /// Starts everything, the agents last and at once.
    pub(crate) fn set(options: &Options, nodes: usize) -> Self {
        let world = Arc::new(World::new(nodes));
        let (api, files) = (ApiServer::start(), tempfile::tempdir().unwrap());
        world.populate(&api.cluster);
        api.cluster.reviews.issue(READER, User::new("jane", &["readers"]));
        let kubeconfig = api.kubeconfig_of_aggregator(files.path());
        let flags: Vec<&str> = options.flag.iter().map(String::as_str).collect();
        let aggregator = Aggregator::of_cluster(files.path(), &kubeconfig, &flags);
        let fleet = Arc::new(Fleet {
            world,
            target: Mutex::new(ingest(&aggregator)),
            counted: Counted::default(),
            is_paused: AtomicBool::new(false),
            lie: options.lie,
        });
        let agents = runtime("fleet-agents", 0);
        for index in 0..nodes {
            agents.spawn(agent::run(Arc::clone(&fleet), index));
        }
        let (churns, newcomer) = (Arc::new(AtomicBool::new(false)), Arc::default());
        if let Some(pace) = churn_pace(fleet.world.pods(), options.churn) {
            let (world, cluster) = (Arc::clone(&fleet.world), Arc::clone(&api.cluster));
            agents.spawn(churn(world, cluster, pace, Arc::clone(&churns), Arc::clone(&newcomer)));
        }
        Self {
            nodes,
            lists: options.lists(nodes),
            full_every: Duration::from_secs(options.full_every),
            fleet,
            churns,
            newcomer,
            readers: runtime("fleet-readers", 0),
            probes: runtime("fleet-probes", 0),
            crowd: runtime("fleet-crowd", NICE),
            _agents: agents,
            aggregator: Some(aggregator),
            _api: api,
            _files: files,
        }
    }

    pub(crate) fn aggregator(&self) -> &Aggregator {
        self.aggregator.as_ref().expect("it was started")
    }

    pub(crate) fn target(&self) -> Target {
        let aggregator = self.aggregator();
        let address = SocketAddr::from(([127, 0, 0, 1], aggregator.api.port));
        Target { address, name: "localhost".to_owned(), ca_pem: aggregator.api.authority() }
    }

    /// Kills the aggregator and starts it anew, and sends the agents there.
    pub(crate) fn replace_aggregator(&mut self) {
        let aggregator = self.aggregator.take().expect("it was started").again();
        *self.fleet.target.lock().unwrap() = ingest(&aggregator);
        self.aggregator = Some(aggregator);
    }

    /// Waits until all pods are served, the seconds that took; pods are replaced from then on.
    pub(crate) fn complete(&self) -> f64 {
        let (begin, all) = (Instant::now(), self.fleet.world.pods());
        self.wait(|tally| tally.right == all);
        self.set_churn(true);
        begin.elapsed().as_secs_f64()
    }

    /// Whether pods are replaced.
    pub(crate) fn set_churn(&self, churns: bool) {
        self.churns.store(churns, Relaxed);
    }

    /// Lists everything until that is as wanted.
    pub(crate) fn wait(&self, is_wanted: impl Fn(Tally) -> bool) {
        let (target, begin, seen) = (self.target(), Instant::now(), Arc::default());
        let mut reader = Reader::new(&self.fleet.world, &seen);
        self.readers.block_on(async {
            let mut client = Client::new(&target);
            loop {
                let found = reader::list_all(&mut reader, &mut client).await;
                {
                    let wrong = &seen.lock().unwrap().wrong;
                    assert_eq!(wrong.count, 0, "{:?}", wrong.words);
                }
                if found.as_ref().is_ok_and(|tally| is_wanted(*tally)) {
                    return;
                }
                if begin.elapsed() >= PATIENCE {
                    let ends = self.fleet.counted.ends.lock().unwrap();
                    let last: Vec<_> = ends.iter().rev().take(5).collect();
                    panic!("{found:?}, {last:?}");
                }
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// How many batches were made and wanted and are not stored, since the first aggregator began, if no stream began anew: all
    /// agents are held back for a moment, so that none is under way.
    pub(crate) fn account(&self) -> f64 {
        let Fleet { is_paused, counted, .. } = &*self.fleet;
        is_paused.store(true, Relaxed);
        // Whoever was making a batch has sent it by then.
        thread::sleep(Duration::from_millis(100));
        let wanted = || counted.batches.load(Relaxed) - counted.unwanted.load(Relaxed);
        let left = || wanted() as f64 - self.stored();
        let end = Instant::now() + Duration::from_secs(5);
        while left() > 0.0 && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        let found = left();
        is_paused.store(false, Relaxed);
        found
    }

    fn stored(&self) -> f64 {
        self.aggregator().metrics().get("kubevitals_aggregator_ingest_batches_total")
    }

    /// Says how streams ended that should not have.
    pub(crate) fn judge_ends(&self) {
        let ends = self.fleet.counted.ends.lock().unwrap();
        let welcomed = self.fleet.counted.welcomed.load(Relaxed);
        println!("{} nodes: {welcomed} streams welcomed, {} ended or failed", self.nodes, ends.len());
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for end in ends.iter() {
            *kinds.entry(end.split_once(": ").map_or("", |(_, fault)| fault)).or_default() += 1;
        }
        for (fault, count) in kinds {
            println!("  {count} times: {fault}");
        }
    }
}

/// Replaces pods at a pace while that is wanted, for ever.
async fn churn(
    world: Arc<World>,
    cluster: Arc<Cluster>,
    pace: Duration,
    churns: Arc<AtomicBool>,
    newcomer: Arc<Mutex<Option<Life>>>,
) {
    let mut timer = tokio::time::interval(pace);
    for nth in 0.. {
        timer.tick().await;
        if !churns.load(Relaxed) {
            continue;
        }
        let life = world.churn(nth, &cluster);
        let (world, cluster, newcomer) = (Arc::clone(&world), Arc::clone(&cluster), Arc::clone(&newcomer));
        tokio::spawn(async move {
            let until = life.made.saturating_sub(world.now());
            tokio::time::sleep(Duration::from_micros(until)).await;
            cluster.pods.put(world::pod(&life, world.nodes.len()).object());
            *newcomer.lock().unwrap() = Some(life);
        });
    }
}

/// Where agents find an aggregator. Sessions are not resumed: its keys for that end with it, and real agents are as many
/// processes.
fn ingest(aggregator: &Aggregator) -> agent::Target {
    let address = SocketAddr::from(([127, 0, 0, 1], aggregator.ingest_port));
    let target = Target { address, name: "localhost".to_owned(), ca_pem: aggregator.api.authority() };
    let mut tls = target.tls(None, b"h2");
    tls.resumption = rustls::client::Resumption::disabled();
    agent::Target { ingest: address, tls: Arc::new(tls) }
}

/// One thread of this name and niceness.
fn runtime(name: &str, nice: i32) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name(name).enable_all();
    builder.on_thread_start(move || {
        // On Linux it is the calling thread's alone. Whoever started us at a lower priority may not raise it.
        let _ = rustix::process::setpriority_process(None, nice);
    });
    builder.build().unwrap()
}
