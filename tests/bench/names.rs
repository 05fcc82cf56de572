//! What the names of a large cluster cost in memory: the directory and the watches that fill it.
//!
//! `cargo bench -p kubevitals --bench names` prints bytes per pod. A process of its own lists a stand-in API server, so
//! that its resident memory is that of names alone; it is told at rest and for the
//! peak of the first list. What is counted includes what the allocator holds back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a bench fails by panicking, and prints what it measured"
)]

#[path = "../support/apiserver/mod.rs"]
mod apiserver;
#[path = "figure.rs"]
mod figure;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use apiserver::{
    ApiServer,
    make::{Pod, node},
};
use figure::{Figures, json_file};
use kubevitals_aggregator::{
    cluster::Cluster,
    directory::Directory,
    metrics,
    store::{Limits, Store},
};
use tokio_util::sync::CancellationToken;

/// Pods of a node.
const ON_NODE: usize = 30;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(kubeconfig) = arguments.iter().find_map(|argument| argument.strip_prefix("--names=")) {
        return child(Path::new(kubeconfig));
    }
    let mut figures = Figures::new("names", json_file());
    for pods in [30_000, 150_000] {
        let api = ApiServer::start();
        for n in 0..pods / ON_NODE {
            api.cluster.nodes.put(node(&format!("node-{n:04}"), &[("zone", "a"), ("arch", "amd64")]));
        }
        for n in 0..pods {
            api.cluster.pods.put(pod(n));
        }
        let files = tempfile::tempdir().unwrap();
        let kubeconfig = api.kubeconfig_of_aggregator(files.path());
        let found = Command::new(std::env::current_exe().unwrap())
            .arg(format!("--names={}", kubeconfig.display()))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(found.status.success());
        let bytes = String::from_utf8(found.stdout).unwrap();
        let (at_rest, at_peak) = bytes.trim().split_once(' ').unwrap();
        figures.say(format!("{pods} pods: memory at rest"), at_rest.parse().unwrap(), "bytes a pod");
        figures.say(format!("{pods} pods: peak of the first list"), at_peak.parse().unwrap(), "bytes a pod");
    }
    figures.finish();
}

/// One of a Deployment of ten, with two containers and the labels that such pods have.
fn pod(n: usize) -> serde_json::Value {
    let (app, hash) = (n / 10, n / 10 * 7919 % 65_536);
    let app_name = format!("application-{app}");
    let name = format!("{app_name}-{hash:08x}-{:05x}", n * 31 % 1_048_576);
    let namespace = format!("namespace-{:03}", app % 300);
    let pod = Pod::new(&namespace, &name, &format!("node-{:04}", n / ON_NODE))
        .label("app.kubernetes.io/name", &app_name)
        .label("app.kubernetes.io/instance", &app_name)
        .label("app.kubernetes.io/managed-by", "Helm")
        .label("pod-template-hash", &format!("{hash:08x}"))
        .containers(&["main", "sidecar"]);
    pod.object()
}

/// Follows the cluster until it is known, and says what that took: bytes a pod, at rest and at the peak.
fn child(kubeconfig: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let limits = Limits { containers: 1, nodes: 1, kept: Duration::from_secs(60) };
        let (directory, store) = (Arc::new(Directory::default()), Arc::new(Store::new(limits)));
        let counted = metrics::Cluster::default();
        let cluster = Cluster::connect(Some(kubeconfig), Arc::clone(&directory), store, &counted);
        let cluster = cluster.await.unwrap();
        let before = resident();
        let (synced, shutdown) = (cluster.synced(), CancellationToken::new());
        let task = tokio::spawn(cluster.run(shutdown.clone()));
        synced.wait().await;
        let pods = directory.count(None);
        let per_pod = |kib: u64| kib.saturating_sub(before) * 1024 / u64::try_from(pods).unwrap();
        println!("{} {}", per_pod(resident()), per_pod(memory("VmHWM:")));
        shutdown.cancel();
        task.await.unwrap();
    });
}

/// KiB.
fn resident() -> u64 {
    memory("VmRSS:")
}

fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
