//! The estate: all parts started and fed, and the handles with which tests make trouble.

mod papers;
mod waits;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use self::papers::{admit, write_certificates};
use crate::{
    answers::Key,
    apiserver::{ApiServer, make::Pod},
    counters::{Counter, Counters},
    judge::{Fate, Knowledge, Outage, Tally, judge},
    ledger::Ledger,
    names::{Mood, NameServer, resolver},
    netns::Network,
    parts::{NodeAgent, Replica},
    polling::{Client, Polling},
    real_pods::RealPods,
    service::Service,
};

/// Windows of answers: short, so that what a test did soon lies before them.
pub(crate) const WINDOW: Duration = Duration::from_secs(5);

/// The node with real pods.
pub(crate) const REAL: usize = 0;

const NODES: usize = 5;
const REPLICAS: usize = 2;
const NAMESPACE: &str = "shop";

/// What a node's pods are made of.
#[derive(Debug)]
enum Ground {
    Real(Box<RealPods>),
    Files(Counters),
}

/// A running estate. What others ask is dropped last.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) polling: Polling,
    pub(crate) service: Service,
    pub(crate) agents: Vec<NodeAgent>,
    pub(crate) replicas: Vec<Replica>,
    grounds: Vec<Ground>,
    knowledge: Knowledge,
    /// Answers before this one are of the start.
    begin: usize,
    pub(crate) names: NameServer,
    pub(crate) api: Arc<ApiServer>,
    pub(crate) network: Network,
    kubeconfig: PathBuf,
    _files: TempDir,
}

impl Estate {
    /// Starts everything, with further flags for the aggregators, and waits until all is served by all over whole
    /// windows.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let (network, files) = (Network::new(), tempfile::tempdir().expect("a temporary directory"));
        let control = network.host(1);
        control.enter();
        let api = Arc::new(ApiServer::start_on(IpAddr::from(control.address)));
        let window = format!("--window={}s", WINDOW.as_secs());
        let flags = [&[window.as_str()], flags].concat();
        let hosts = (0..REPLICAS).map(|index| network.host(number(11, index)));
        let mut replicas: Vec<Replica> = hosts.map(|host| Replica::new(host, files.path(), &flags)).collect();
        write_certificates(&api, files.path());
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.host.address).collect();
        let names = NameServer::start(control.address, &addresses);
        let resolver = resolver(files.path(), control.address);
        let kubeconfig = api.kubeconfig_of_aggregator(files.path());
        let (mut agents, mut grounds) = (Vec::new(), Vec::new());
        for index in 0..NODES {
            let name = format!("node-{}", index + 1);
            admit(&api, &name, files.path());
            let ground = if index == REAL {
                Ground::Real(Box::new(RealPods::new()))
            } else {
                Ground::Files(Counters::new())
            };
            let flags = ground.flags();
            agents.push(NodeAgent::new(
                &name,
                network.host(number(21, index)),
                &resolver,
                files.path(),
                &flags,
            ));
            grounds.push(ground);
        }
        for replica in &mut replicas {
            replica.start(&kubeconfig);
        }
        let ca_pem = api.pki.serving.pem();
        let targets: Vec<_> = replicas.iter().map(|replica| replica.target(&ca_pem)).collect();
        let admins = replicas.iter().map(Replica::admin);
        let service = Service::start(&api, admins.zip(targets.iter().cloned()).collect());
        let polling = Polling::start(&api, &targets);
        let knowledge = Knowledge { full_window: WINDOW.mul_f64(0.75), ..Knowledge::default() };
        let mut estate = Self {
            polling,
            service,
            agents,
            replicas,
            grounds,
            knowledge,
            begin: 0,
            names,
            api,
            network,
            kubeconfig,
            _files: files,
        };
        estate.populate();
        estate
    }

    /// Runs the usual pods, starts the agents, and waits for all of it.
    fn populate(&mut self) {
        for index in 0..NODES {
            let ledger = self.grounds[index].own();
            let key = Key::Node(self.agents[index].node.clone());
            self.know(key, [(String::new(), ledger)]);
            for (name, containers) in [("web", &["main"][..]), ("db", &["main", "side"])] {
                self.run(index, &format!("{name}-{}", index + 1), containers);
            }
        }
        for agent in &mut self.agents {
            agent.start();
        }
        for index in 0..REPLICAS {
            self.service.wait_for(index, true);
        }
        let keys: Vec<Key> = self.knowledge.fates.keys().cloned().collect();
        self.wait_for_full(&keys);
        self.polling.ask_for(keys.clone());
        for key in &keys {
            self.expect(key);
        }
        self.begin = self.polling.count();
    }

    /// Runs a pod on a node, and tells the API server; nothing is expected of it yet.
    pub(crate) fn run(&mut self, index: usize, name: &str, containers: &[&str]) -> Pod {
        let pod = self.pod(index, name).containers(containers);
        let ledgers: Vec<Arc<Ledger>> = match &self.grounds[index] {
            Ground::Real(real) => real.run(&pod),
            Ground::Files(counters) => {
                let steps = [37_000, 91_000].into_iter().cycle().zip(containers);
                let made = steps.map(|(step, container)| {
                    counters.container(&pod.uid(), &pod.container_id(container), Some(step)).ledger
                });
                made.collect()
            }
        };
        let named = containers.iter().map(|&name| name.to_owned()).zip(ledgers);
        self.know(key(&pod), named.collect::<Vec<_>>());
        self.api.cluster.pods.put(pod.object());
        pod
    }

    /// Runs a pod whose counter stands still until it is burnt.
    pub(crate) fn run_still(&mut self, index: usize, name: &str) -> (Pod, Counter) {
        let pod = self.pod(index, name);
        let Ground::Files(counters) = &self.grounds[index] else { panic!("node {index} is real") };
        let counter = counters.container(&pod.uid(), &pod.container_id("main"), None);
        self.know(key(&pod), [("main".to_owned(), Arc::clone(&counter.ledger))]);
        self.api.cluster.pods.put(pod.object());
        (pod, counter)
    }

    /// Ends a pod's containers; the API server is not told.
    pub(crate) fn end_containers(&self, index: usize, pod: &Pod) {
        match &self.grounds[index] {
            Ground::Real(real) => real.remove(pod),
            Ground::Files(counters) => {
                let ids: Vec<String> = pod.containers.iter().map(|name| pod.container_id(name)).collect();
                counters.remove(&pod.uid(), &ids);
            }
        }
    }

    /// Agents see the cgroups of the whole machine, so no two estates may have pods of the same UID.
    fn pod(&self, index: usize, name: &str) -> Pod {
        Pod { generation: std::process::id(), ..Pod::new(NAMESPACE, name, &self.agents[index].node) }
    }

    fn know(&mut self, key: Key, ledgers: impl IntoIterator<Item = (String, Arc<Ledger>)>) {
        let ledgers = ledgers.into_iter().collect();
        self.knowledge.fates.insert(key, Fate { ledgers, ..Fate::default() });
    }

    fn fate(&mut self, key: &Key) -> &mut Fate {
        self.knowledge.fates.get_mut(key).expect("it is known")
    }

    /// From now on it has to be served.
    pub(crate) fn expect(&mut self, key: &Key) {
        self.fate(key).served.push((Instant::now(), None));
    }

    /// From now on it need not be served.
    pub(crate) fn release(&mut self, key: &Key) {
        let last = self.fate(key).served.last_mut().expect("it was expected");
        last.1 = Some(Instant::now());
    }

    /// From now on it may not be served.
    pub(crate) fn forbid(&mut self, key: &Key) {
        self.fate(key).gone.push((Instant::now(), None));
    }

    /// From now on it may be served again.
    pub(crate) fn permit(&mut self, key: &Key) {
        let last = self.fate(key).gone.last_mut().expect("it was forbidden");
        last.1 = Some(Instant::now());
    }

    /// The clock of its node is wrong, so its numbers cannot be compared with what is known by time.
    pub(crate) fn distrust_times(&mut self, key: &Key) {
        self.fate(key).is_skewed = true;
    }

    /// Answers also tell of objects with such names, which are none of the estate's.
    pub(crate) fn ignore(&mut self, names: &'static str) {
        self.knowledge.strangers = Some(names);
    }

    /// What is known on a node: itself and its pods.
    pub(crate) fn keys_of(&self, index: usize) -> Vec<Key> {
        let node = &self.agents[index].node;
        let suffix = format!("-{}", index + 1);
        let is_there = |key: &&Key| match key {
            Key::Node(name) => name == node,
            Key::Pod(_, name) => name.ends_with(&suffix),
        };
        self.knowledge.fates.keys().filter(is_there).cloned().collect()
    }

    /// All that has to be served now.
    pub(crate) fn expected(&self) -> Vec<Key> {
        let is_expected = |fate: &Fate| fate.served.last().is_some_and(|(_, until)| until.is_none());
        let expected = self.knowledge.fates.iter().filter(|(_, fate)| is_expected(fate));
        expected.map(|(key, _)| key.clone()).collect()
    }

    /// From now on a client's failures are the test's doing.
    pub(crate) fn excuse(&mut self, client: Client) {
        self.knowledge.outages.push(Outage { client, from: Instant::now(), until: None });
    }

    /// From now on one replica may be behind the other.
    pub(crate) fn allow_lag(&mut self) {
        self.knowledge.lags.push((Instant::now(), None));
    }

    /// From now on it may not.
    pub(crate) fn forbid_lag(&mut self) {
        let last = self.knowledge.lags.last_mut().expect("it was allowed");
        last.1 = Some(Instant::now());
    }

    /// From now on they are no longer.
    pub(crate) fn no_excuse(&mut self, client: Client) {
        let open = |outage: &&mut Outage| outage.client == client && outage.until.is_none();
        let outage = self.knowledge.outages.iter_mut().find(open).expect("there was an excuse");
        outage.until = Some(Instant::now());
    }

    /// Kills an aggregator without a word and waits until the Service has noticed.
    pub(crate) fn kill_replica(&mut self, index: usize) {
        self.excuse(Client::Direct(index));
        self.excuse(Client::FrontProxy);
        self.replicas[index].kill();
        self.service.wait_for(index, false);
        self.no_excuse(Client::FrontProxy);
    }

    /// Starts an aggregator again and waits until it is an endpoint; how long that took.
    pub(crate) fn restart_replica(&mut self, index: usize) -> Duration {
        let started = Instant::now();
        self.replicas[index].start(&self.kubeconfig);
        self.service.wait_for(index, true);
        self.no_excuse(Client::Direct(index));
        started.elapsed()
    }

    /// Starts a killed aggregator on a new host; names lead there at once. How long it took to be an endpoint.
    pub(crate) fn move_replica(&mut self, index: usize, number: u8) -> Duration {
        self.replicas[index].host = self.network.host(number);
        self.names.set(Mood::Right(self.replicas.iter().map(|replica| replica.host.address).collect()));
        let replica = &self.replicas[index];
        let target = replica.target(&self.api.pki.serving.pem());
        self.service.replace(index, replica.admin(), target.clone());
        self.polling.replace(index, target);
        self.restart_replica(index)
    }

    /// Ends an aggregator in good order.
    pub(crate) fn end_replica(&mut self, index: usize) {
        self.excuse(Client::Direct(index));
        self.replicas[index].end();
    }

    /// Judges all answers since the start, and shows the count.
    pub(crate) fn judge(&self, what: &str) -> Tally {
        let tally = self.polling.look(self.begin, |seen| judge(seen, &self.knowledge));
        eprintln!("{what}: {tally}");
        tally
    }
}

impl Ground {
    fn flags(&self) -> Vec<String> {
        match self {
            Self::Real(_) => vec![],
            Self::Files(counters) => counters.flags().to_vec(),
        }
    }

    fn own(&self) -> Arc<Ledger> {
        match self {
            Self::Real(real) => Arc::clone(&real.own),
            Self::Files(counters) => Arc::clone(&counters.own),
        }
    }
}

/// How the API names a pod.
pub(crate) fn key(pod: &Pod) -> Key {
    Key::Pod(pod.namespace.clone(), pod.name.clone())
}

fn number(first: u8, index: usize) -> u8 {
    first + u8::try_from(index).expect("few hosts")
}
