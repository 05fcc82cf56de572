//! How long lists of a large cluster take, and what memory they need beside it: the real HTTPS server over a full
//! store, read over loopback TLS and HTTP/2.
//!
//! `cargo bench -p kubevitals --bench list` prints one line for each figure, with its budget where the design has one;
//! `-- --help` names its parts and sizes. The server is a process of its own, a fresh one for each representation, so
//! that its peak memory is that of the first list it ever made. Meanwhile a thread applies a tick a second for every
//! node, as ingest would; its CPU time is left out of that of a list.
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
#[path = "list/readers.rs"]
mod readers;
#[path = "list/server.rs"]
mod server;
#[path = "list/world.rs"]
mod world;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use client::{Connection, Got, Server};
use figure::Figures;
use world::{NAMESPACES, SELECTED};

const PODS: &str = "/apis/metrics.k8s.io/v1/pods";

#[derive(Debug, Parser)]
struct Options {
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    parts: Vec<Part>,
    /// Pods of a full list.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000, 30_000, 150_000])]
    sizes: Vec<usize>,
    /// What a full list is encoded as.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Form::value_variants().to_vec())]
    forms: Vec<Form>,
    /// Lists of everything, after the first.
    #[arg(long, default_value_t = 40)]
    lists: usize,
    /// Lists of one application.
    #[arg(long, default_value_t = 3000)]
    selected: usize,
    /// How many read everything at one time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64])]
    readers: Vec<usize>,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Serve so many pods to another process.
    #[arg(long, hide = true)]
    serve: Option<usize>,
    /// Cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Everything, one list after the other.
    Full,
    /// The pods of one application, by its label.
    Selected,
    /// Several who read everything, and one who reads one application beside them.
    Readers,
}

/// How a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    JsonGzip,
    Protobuf,
    ProtobufGzip,
    Table,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonGzip => "json, gzip",
            Self::Protobuf => "protobuf",
            Self::ProtobufGzip => "protobuf, gzip",
            Self::Table => "table",
        }
    }

    fn is_gzip(self) -> bool {
        matches!(self, Self::JsonGzip | Self::ProtobufGzip)
    }

    /// The header `Accept`.
    fn accept(self) -> &'static str {
        match self {
            Self::Json | Self::JsonGzip => "application/json",
            Self::Protobuf | Self::ProtobufGzip => "application/vnd.kubernetes.protobuf",
            // As kubectl asks.
            Self::Table => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        }
    }

    /// The budget of the last byte: its name, the part of a thousand that must hold it, and milliseconds.
    fn budget(self, pods: usize) -> Option<(&'static str, usize, f64)> {
        match (self, pods) {
            (Self::Json, 30_000) => Some(("p50", 500, 70.0)),
            (Self::Protobuf, 30_000) => Some(("p50", 500, 50.0)),
            (Self::Json | Self::Protobuf, 150_000) => Some(("p99", 990, 400.0)),
            _ => None,
        }
    }
}

fn main() {
    let options = Options::parse();
    if let Some(pods) = options.serve {
        return server::run(pods);
    }
    let mut figures = Figures::new("list", options.json.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for part in &options.parts {
            match part {
                Part::Full => {
                    for &pods in &options.sizes {
                        for &form in &options.forms {
                            full(&mut figures, &options, pods, form).await;
                        }
                    }
                }
                Part::Selected => {
                    for form in [Form::Json, Form::Protobuf] {
                        selected(&mut figures, &options, form).await;
                    }
                }
                Part::Readers => readers::run(&mut figures, &options).await,
            }
        }
    });
    figures.finish();
}

/// Everything, one list after the other.
async fn full(figures: &mut Figures, options: &Options, pods: usize, form: Form) {
    let server = Server::start(pods).await;
    let mut connection = server.connect().await;
    let before = server.memory_now();
    let first = connection.get(PODS, form.accept(), form.is_gzip()).await;
    let extra = server.memory_peak().saturating_sub(before);
    let (mut all, cpu): (Vec<Got>, _) = (Vec::new(), server.cpu());
    for _ in 0..options.lists {
        all.push(connection.get(PODS, form.accept(), form.is_gzip()).await);
    }
    let cpu = millis(server.cpu().saturating_sub(cpu)) / options.lists as f64;
    // Memory is compared with what is listed, however it is packed.
    let body =
        if form.is_gzip() { connection.get(PODS, form.accept(), false).await.bytes } else { first.bytes };
    let what = format!("{pods} pods, {}", form.name());
    figures.say(format!("{what}: body"), body as f64 / 1e6, "MB");
    if form.is_gzip() {
        figures.say(format!("{what}: sent"), first.bytes as f64 / 1e6, "MB");
    }
    figures.say(format!("{what}: first byte p50"), millis(permille(&all, 500, |got| got.first)), "ms");
    let last = |part| millis(permille(&all, part, |got| got.last));
    match form.budget(pods) {
        Some((which, part, most)) => {
            figures.judge(format!("{what}: last byte {which}"), last(part), "ms", most);
        }
        None => figures.say(format!("{what}: last byte p50"), last(500), "ms"),
    }
    figures.say(format!("{what}: CPU of a list"), cpu, "ms");
    figures.say(format!("{what}: CPU of a pod"), cpu * 1e6 / pods as f64, "ns");
    let extra = extra as f64 / body as f64;
    let what = format!("{what}: peak extra memory of the first list");
    if pods == 150_000 {
        figures.judge(what, extra, "of the body", 0.2);
    } else {
        figures.say(what, extra, "of the body");
    }
}

/// The pods of one application by its label, among all of their namespace, in a store of 30,000 pods and in a larger
/// one.
async fn selected(figures: &mut Figures, options: &Options, form: Form) {
    for pods in [30_000, 150_000] {
        let server = Server::start(pods).await;
        let mut connection = server.connect().await;
        let (mut all, cpu) = (Vec::new(), server.cpu());
        for n in 0..options.selected {
            all.push(application(&mut connection, pods, n, form).await);
        }
        let cpu = millis(server.cpu().saturating_sub(cpu)) / options.selected as f64;
        let of = pods / NAMESPACES;
        let what = format!("{SELECTED} of {of} pods by label, store of {pods}, {}", form.name());
        distribution(figures, &what, &all, pods == 30_000);
        figures.say(format!("{what}: CPU of a list"), cpu, "ms");
    }
}

/// The list of one application, another one each time.
async fn application(connection: &mut Connection, pods: usize, nth: usize, form: Form) -> Got {
    let (namespace, app) = (nth % NAMESPACES, nth / NAMESPACES % (pods / NAMESPACES / SELECTED));
    let selector = format!("labelSelector=app%3Dapp-{app:02}");
    let path = format!("/apis/metrics.k8s.io/v1/namespaces/team-{namespace:02}/pods?{selector}");
    let got = connection.get(&path, form.accept(), false).await;
    assert!(got.bytes > SELECTED * 100, "{} bytes", got.bytes);
    got
}

/// How long such lists took; `is_promised` where the design has a budget for them.
fn distribution(figures: &mut Figures, what: &str, all: &[Got], is_promised: bool) {
    for (which, part, most) in
        [("p50", 500, Some(0.3)), ("p90", 900, None), ("p99", 990, Some(1.0)), ("p99.9", 999, None)]
    {
        let time = millis(permille(all, part, |got| got.last));
        match most.filter(|_| is_promised) {
            Some(most) => figures.judge(format!("{what}: {which}"), time, "ms", most),
            None => figures.say(format!("{what}: {which}"), time, "ms"),
        }
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
