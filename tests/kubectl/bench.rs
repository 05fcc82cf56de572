//! A small cluster with known numbers, and every kubectl against it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    apiserver::{ApiServer, make::Pod},
    chain::{Chain, Plan, PlannedNode, READER},
    fleet::Load,
    program::skipped,
    row::Row,
    versions::{self, Kubectl},
};

/// What numbers are averaged over, as it is served.
const WINDOW: &str = "2s";

/// How many kubectls run at one time.
const AT_ONCE: usize = 2;

fn load(millicores: u64, mebibytes: u64) -> Load {
    Load { millicores, memory: mebibytes << 20 }
}

/// Containers are a name, thousandths of a CPU, and MiB.
fn pod(
    namespace: &str,
    name: &str,
    node: &str,
    app: &str,
    containers: &[(&str, u64, u64)],
) -> (Pod, Vec<Load>) {
    let names: Vec<&str> = containers.iter().map(|(name, ..)| *name).collect();
    let loads = containers.iter().map(|&(_, millicores, mebibytes)| load(millicores, mebibytes)).collect();
    (Pod::new(namespace, name, node).label("app", app).containers(&names), loads)
}

fn node(name: &str, zone: &'static str, load: Option<Load>) -> PlannedNode {
    PlannedNode { name: name.to_owned(), labels: vec![("zone", zone)], load }
}

/// Two nodes with an agent and one without, and pods on all three: the one on `n3` has no numbers.
pub(crate) fn usual() -> Plan {
    Plan {
        nodes: vec![
            node("n1", "a", Some(load(1500, 2048))),
            node("n2", "b", Some(load(390, 1024))),
            node("n3", "a", None),
        ],
        pods: vec![
            pod("default", "web-1", "n1", "web", &[("app", 120, 64), ("proxy", 3, 16)]),
            pod("default", "web-2", "n2", "web", &[("app", 80, 128)]),
            pod("default", "db-0", "n1", "db", &[("db", 700, 512)]),
            pod("default", "late-0", "n3", "late", &[("late", 1, 1)]),
            pod("kube-system", "dns", "n2", "dns", &[("dns", 1, 8)]),
        ],
        tick: Duration::from_millis(500),
        // Soon whole, and the same in every answer.
        flags: vec!["--window=2s"],
    }
}

/// The same nodes and pods before any agent came.
pub(crate) fn silent() -> Plan {
    let mut plan = usual();
    plan.nodes.iter_mut().for_each(|node| node.load = None);
    plan
}

/// Runs all rows as a reader with every version, and fails with all that differs.
pub(crate) fn check(plan: &Plan, rows: &[Row]) {
    if let Some(bench) = Bench::start(plan) {
        bench.check_as(READER, rows);
    }
}

/// A running chain, and every kubectl there is.
pub(crate) struct Bench {
    chain: Chain,
    kubectls: Vec<Kubectl>,
}

impl Bench {
    /// None when kubectl is left out.
    pub(crate) fn start(plan: &Plan) -> Option<Self> {
        if skipped("kubectl") {
            return None;
        }
        let kubectls = versions::all();
        let chain = Chain::start(plan);
        chain.wait_for_window(WINDOW);
        Some(Self { chain, kubectls })
    }

    /// The stand-in.
    pub(crate) fn api(&self) -> &ApiServer {
        &self.chain.api
    }

    /// Runs all rows as the holder of a token.
    pub(crate) fn check_as(&self, token: &str, rows: &[Row]) {
        let started = Instant::now();
        let kubeconfig = self.chain.kubeconfig(token);
        let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(kubectl) = self.kubectls.get(next.fetch_add(1, Ordering::Relaxed)) {
                let home = self.chain.files.path().join(format!("home-{}-{token}", kubectl.minor));
                let found = rows.iter().filter_map(|row| row.check(kubectl, &kubeconfig, &home).err());
                faults.lock().unwrap().extend(found.collect::<Vec<_>>());
            }
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(work);
            }
        });
        let faults = faults.into_inner().unwrap();
        let minors: Vec<_> = self.kubectls.iter().map(|kubectl| format!("1.{}", kubectl.minor)).collect();
        let (calls, took) = (rows.len(), started.elapsed());
        eprintln!("{calls} calls of each of {} in {took:?}: {} differ", minors.join(", "), faults.len());
        assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
    }
}
