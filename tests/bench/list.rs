//! How long lists of a large cluster take, and what memory they need beside it: the real HTTPS server over a full
//! store, read over loopback TLS and HTTP/2.
//!
//! `cargo bench -p kubevitals --bench list` prints one line for each figure, with its budget where the design has one.
//! The server is a process of its own, a fresh one for each representation, so that its peak memory is that of the
//! first list it ever made. Meanwhile a thread applies a tick a second for every node, as ingest would.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and prints what it measured"
)]

#[path = "list/client.rs"]
mod client;
#[path = "figure.rs"]
mod figure;
#[path = "list/server.rs"]
mod server;
#[path = "list/world.rs"]
mod world;

use std::time::Duration;

use client::{Got, Server};
use figure::{Figures, json_file};
use world::{NAMESPACES, SELECTED};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

const PODS: &str = "/apis/metrics.k8s.io/v1/pods";

/// Lists of everything, after the first.
const FULL: usize = 40;

/// Selected lists.
const MANY: usize = 3000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(pods) = arguments.iter().find_map(|argument| argument.strip_prefix("--serve=")) {
        return server::run(pods.parse().unwrap());
    }
    let mut figures = Figures::new("list", json_file());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for pods in [30_000, 150_000] {
            for (name, accept) in [("json", JSON), ("protobuf", PROTOBUF)] {
                for gzip in [false, true] {
                    full(&mut figures, pods, name, accept, gzip).await;
                }
            }
        }
        for (name, accept) in [("json", JSON), ("protobuf", PROTOBUF)] {
            selected(&mut figures, name, accept).await;
        }
    });
    figures.finish();
}

/// Everything, one list after the other.
async fn full(figures: &mut Figures, pods: usize, name: &str, accept: &str, gzip: bool) {
    let server = Server::start(pods).await;
    let mut connection = server.connect().await;
    let before = server.memory_now();
    let first = connection.get(PODS, accept, gzip).await;
    let extra = server.memory_peak().saturating_sub(before);
    let mut all: Vec<Got> = Vec::new();
    for _ in 0..FULL {
        all.push(connection.get(PODS, accept, gzip).await);
    }
    // Memory is compared with what is listed, however it is packed.
    let body = if gzip { connection.get(PODS, accept, false).await.bytes } else { first.bytes };
    let what = format!("{pods} pods, {name}{}", if gzip { ", gzip" } else { "" });
    figures.say(format!("{what}: body"), body as f64 / 1e6, "MB");
    figures.say(format!("{what}: sent"), first.bytes as f64 / 1e6, "MB");
    figures.say(format!("{what}: first byte p50"), millis(permille(&all, 500, |got| got.first)), "ms");
    let budget = match (pods, name) {
        (30_000, "json") => Some(("p50", 500, 70.0)),
        (30_000, _) => Some(("p50", 500, 50.0)),
        _ => Some(("p99", 990, 400.0)),
    };
    let last = |part| millis(permille(&all, part, |got| got.last));
    match budget.filter(|_| !gzip) {
        Some((which, part, most)) => {
            figures.judge(format!("{what}: last byte {which}"), last(part), "ms", most);
        }
        None => figures.say(format!("{what}: last byte p50"), last(500), "ms"),
    }
    let extra = extra as f64 / body as f64;
    figures.judge(format!("{what}: peak extra memory of the first list"), extra, "of the body", 0.2);
}

/// A hundred pods by a label, among the three thousand of a namespace.
async fn selected(figures: &mut Figures, name: &str, accept: &str) {
    let server = Server::start(150_000).await;
    let mut connection = server.connect().await;
    let mut all = Vec::new();
    for n in 0..MANY {
        let (namespace, app) = (n % NAMESPACES, n % 30);
        let selector = format!("labelSelector=app%3Dapp-{app:02}");
        let path = format!("/apis/metrics.k8s.io/v1/namespaces/team-{namespace:02}/pods?{selector}");
        let got = connection.get(&path, accept, false).await;
        assert!(got.bytes > SELECTED * 100, "{} bytes", got.bytes);
        all.push(got);
    }
    let what = format!("{SELECTED} of 3000 pods by label, store of 150000, {name}");
    for (which, part) in [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999), ("most", 1000)] {
        figures.say(format!("{what}: {which}"), millis(permille(&all, part, |got| got.last)), "ms");
    }
}

fn permille(all: &[Got], permille: usize, time: impl Fn(&Got) -> Duration) -> Duration {
    let mut times: Vec<Duration> = all.iter().map(time).collect();
    times.sort_unstable();
    times[(times.len() - 1) * permille / 1000]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
