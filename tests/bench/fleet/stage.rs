//! Everything that runs, and its phases: the stand-in API server, the aggregator's program, agents, churn and readers.

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
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    Options,
    agent::{self, Counted, Fleet},
    apiserver::{ApiServer, dial::Target, reviews::User},
    process::Cpu,
    program::Aggregator,
    reader::{self, Client, READER, Seen},
    world::{World, churn_pace},
};

/// Complete answers come within this time, or the bench fails.
const PATIENCE: Duration = Duration::from_secs(180);

/// All that runs. What others ask is dropped last.
pub(crate) struct Stage {
    nodes: usize,
    lists: usize,
    full_every: Duration,
    fleet: Arc<Fleet>,
    churns: Arc<AtomicBool>,
    readers: Runtime,
    _agents: Runtime,
    aggregator: Option<Aggregator>,
    _api: ApiServer,
    _files: TempDir,
}

/// What one phase showed.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) nodes: usize,
    pub(crate) seconds: f64,
    pub(crate) cpu: Cpu,
    /// KiB.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// Of our threads, by name.
    pub(crate) threads: BTreeMap<String, Cpu>,
    pub(crate) seen: Seen,
    pub(crate) batches: u64,
    pub(crate) payload: u64,
    pub(crate) samples: u64,
    pub(crate) written: u64,
    /// Batches that the aggregator stored, those it lost, and samples it refused.
    pub(crate) stored: f64,
    pub(crate) lost: f64,
    pub(crate) refused: f64,
    /// How late batches were handed over, milliseconds.
    pub(crate) late: Vec<f64>,
}

/// How lists of everything at one time went.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Seconds, of those that came to an end.
    pub(crate) passed: Vec<f64>,
    pub(crate) refused: Vec<String>,
}

/// How a restart went, seconds.
#[derive(Debug)]
pub(crate) struct Restart {
    pub(crate) from_kill: f64,
    pub(crate) from_listening: f64,
    pub(crate) aggregator: Cpu,
    pub(crate) ourselves: f64,
}

/// Counters of the two sides at one moment.
struct Mark {
    at: Instant,
    cpu: Cpu,
    threads: BTreeMap<String, Cpu>,
    counted: [u64; 4],
    told: [f64; 3],
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
            sent: Mutex::default(),
        });
        let agents = runtime("fleet-agents");
        for index in 0..nodes {
            agents.spawn(agent::run(Arc::clone(&fleet), index));
        }
        let churns = Arc::new(AtomicBool::new(false));
        let (replaced, pods) = (Arc::clone(&api.cluster), fleet.world.pods());
        if let Some(pace) = churn_pace(pods, options.churn) {
            let (fleet, churns) = (Arc::downgrade(&fleet), Arc::clone(&churns));
            agents.spawn(async move {
                let mut timer = tokio::time::interval(pace);
                for nth in 0.. {
                    timer.tick().await;
                    let Some(fleet) = fleet.upgrade() else { return };
                    if churns.load(Relaxed) {
                        fleet.world.churn(nth, &replaced);
                    }
                }
            });
        }
        Self {
            nodes,
            lists: options.lists(nodes),
            full_every: Duration::from_secs(options.full_every),
            fleet,
            churns,
            readers: runtime("fleet-readers"),
            _agents: agents,
            aggregator: Some(aggregator),
            _api: api,
            _files: files,
        }
    }

    fn aggregator(&self) -> &Aggregator {
        self.aggregator.as_ref().expect("it was started")
    }

    fn target(&self) -> Target {
        let aggregator = self.aggregator();
        let address = SocketAddr::from(([127, 0, 0, 1], aggregator.api.port));
        Target { address, name: "localhost".to_owned(), ca_pem: aggregator.api.authority() }
    }

    /// Waits until all pods are served, the seconds that took; pods are replaced from then on.
    pub(crate) fn complete(&self) -> f64 {
        let (begin, all) = (Instant::now(), self.fleet.world.pods());
        self.wait(|served, _| served == all);
        self.churns.store(true, Relaxed);
        begin.elapsed().as_secs_f64()
    }

    /// Lists everything until it is as wanted: how many are served, and how many with a whole window.
    fn wait(&self, is_wanted: impl Fn(usize, usize) -> bool) {
        let (world, target, begin) = (Arc::clone(&self.fleet.world), self.target(), Instant::now());
        self.readers.block_on(async {
            let mut client = Client::new(&target);
            loop {
                let seen = Mutex::default();
                let whole = reader::list_all(&world, &mut client, &seen).await;
                let seen = seen.into_inner().unwrap();
                let served = usize::try_from(seen.judged).unwrap();
                assert_eq!(seen.wrong_count, 0, "{:?}", seen.wrong);
                if let Ok(whole) = &whole
                    && is_wanted(served, *whole)
                {
                    return;
                }
                if begin.elapsed() >= PATIENCE {
                    let ends = self.fleet.counted.ends.lock().unwrap();
                    let last: Vec<_> = ends.iter().rev().take(5).collect();
                    panic!("{served} served, {whole:?} whole, {last:?}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }

    /// The load of the budget for so long.
    pub(crate) fn measure(&self, seconds: u64) -> Measured {
        self.watch(|_| thread::sleep(Duration::from_secs(seconds)))
    }

    /// Runs the usual readers while `phase` lasts, and tells what that took.
    fn watch(&self, phase: impl FnOnce(&Self)) -> Measured {
        let (seen, target) = (Arc::new(Mutex::new(Seen::default())), self.target());
        let mut tasks = JoinSet::new();
        let spawn = |tasks: &mut JoinSet<()>| {
            let (world, fleet) = (&self.fleet.world, &self.fleet);
            let handle = self.readers.handle();
            let autoscalers =
                reader::autoscalers(Arc::clone(world), target.clone(), Arc::clone(&seen), self.lists);
            tasks.spawn_on(autoscalers, handle);
            let everything =
                reader::everything(Arc::clone(world), target.clone(), Arc::clone(&seen), self.full_every);
            tasks.spawn_on(everything, handle);
            tasks.spawn_on(reader::prober(Arc::clone(fleet), target.clone(), Arc::clone(&seen)), handle);
        };
        self.fleet.counted.late.lock().unwrap().clear();
        self.aggregator().program.forget_peak();
        let before = self.mark();
        spawn(&mut tasks);
        phase(self);
        let after = self.mark();
        self.readers.block_on(tasks.shutdown());
        *self.fleet.sent.lock().unwrap() = None;
        let counted = |nth: usize| after.counted[nth] - before.counted[nth];
        let told = |nth: usize| after.told[nth] - before.told[nth];
        let late =
            self.fleet.counted.late.lock().unwrap().iter().map(|&micros| f64::from(micros) / 1e3).collect();
        let since = |(name, cpu): (&String, &Cpu)| {
            (name.clone(), cpu.since(before.threads.get(name).copied().unwrap_or_default()))
        };
        Measured {
            nodes: self.nodes,
            seconds: (after.at - before.at).as_secs_f64(),
            cpu: after.cpu.since(before.cpu),
            resident: self.aggregator().program.footprint().1,
            peak: self.aggregator().program.peak(),
            threads: after.threads.iter().map(since).collect(),
            seen: std::mem::take(&mut *seen.lock().unwrap()),
            batches: counted(0),
            payload: counted(1),
            samples: counted(2),
            written: counted(3),
            stored: told(0),
            lost: told(1),
            refused: told(2),
            late,
        }
    }

    fn mark(&self) -> Mark {
        let aggregator = self.aggregator();
        let Counted { batches, payload, samples, written, .. } = &self.fleet.counted;
        let metrics = aggregator.metrics();
        Mark {
            at: Instant::now(),
            cpu: Cpu::of(aggregator.program.pid()),
            threads: Cpu::of_threads(),
            counted: [batches, payload, samples, written].map(|count| count.load(Relaxed)),
            told: ["batches", "lost_batches", "refused_samples"]
                .map(|name| metrics.get(&format!("kubevitals_aggregator_ingest_{name}_total"))),
        }
    }

    /// The same load with clients that stop reading, and then many lists of everything at one time.
    pub(crate) fn crowd(&self, options: &Options) -> (Crowd, Measured) {
        let crowd = Mutex::new(Crowd::default());
        let measured = self.watch(|stage| {
            let target = stage.target();
            let mut hung = JoinSet::new();
            for _ in 0..options.hung_consumers {
                hung.spawn_on(reader::hung(target.clone()), stage.readers.handle());
            }
            thread::sleep(Duration::from_secs(10));
            let mut lists = JoinSet::new();
            for _ in 0..options.full_lists {
                lists.spawn_on(reader::pass(target.clone()), stage.readers.handle());
            }
            let mut crowd = crowd.lock().unwrap();
            while let Some(passed) = stage.readers.block_on(lists.join_next()) {
                match passed.unwrap() {
                    Ok((time, _)) => crowd.passed.push(time.as_secs_f64()),
                    Err(fault) => crowd.refused.push(fault.to_string()),
                }
            }
            thread::sleep(Duration::from_secs(5));
            stage.readers.block_on(hung.shutdown());
        });
        (crowd.into_inner().unwrap(), measured)
    }

    /// Kills the aggregator and starts it anew, and waits until every pod is served over a whole window.
    pub(crate) fn restart(&mut self) -> Restart {
        self.churns.store(false, Relaxed);
        let all = self.fleet.world.pods();
        self.wait(|_, whole| whole == all);
        let ourselves = || Cpu::of(rustix::process::getpid()).all();
        let (killed, before) = (Instant::now(), ourselves());
        let aggregator = self.aggregator.take().expect("it was started").again();
        let listening = aggregator.listening;
        *self.fleet.target.lock().unwrap() = ingest(&aggregator);
        self.aggregator = Some(aggregator);
        self.wait(|_, whole| whole == all);
        self.churns.store(true, Relaxed);
        Restart {
            from_kill: killed.elapsed().as_secs_f64(),
            from_listening: listening.elapsed().as_secs_f64(),
            aggregator: Cpu::of(self.aggregator().program.pid()),
            ourselves: ourselves() - before,
        }
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

/// Where agents find an aggregator. Sessions are not resumed: its keys for that end with it, and real agents are as many
/// processes.
fn ingest(aggregator: &Aggregator) -> agent::Target {
    let address = SocketAddr::from(([127, 0, 0, 1], aggregator.ingest_port));
    let target = Target { address, name: "localhost".to_owned(), ca_pem: aggregator.api.authority() };
    let mut tls = target.tls(None, b"h2");
    tls.resumption = rustls::client::Resumption::disabled();
    agent::Target { ingest: address, tls: Arc::new(tls) }
}

fn runtime(name: &str) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).thread_name(name).enable_all().build().unwrap()
}
