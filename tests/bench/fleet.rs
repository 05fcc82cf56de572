//! What a fleet of nodes costs one aggregator: simulated agents stream over TLS and HTTP/2 on loopback to the built
//! program, autoscalers list their pods by label, and somebody lists everything. Each counter is a known function of time,
//! so every number served is judged exactly.
//!
//! `cargo build --release -p kubevitals-aggregator && cargo bench -p kubevitals --bench fleet` prints a line for each
//! figure; `-- --help` names sizes and loads. What the generator itself uses is printed beside, by its threads.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and prints what it measured"
)]

#[path = "fleet/agent.rs"]
mod agent;
#[path = "../support/api.rs"]
mod api;
#[path = "../support/apiserver/mod.rs"]
mod apiserver;
#[path = "fleet/chain.rs"]
mod chain;
#[path = "fleet/crowd.rs"]
mod crowd;
#[path = "figure.rs"]
mod figure;
#[path = "fleet/judge.rs"]
mod judge;
#[path = "fleet/kernel.rs"]
mod kernel;
#[path = "fleet/lie.rs"]
mod lie;
#[path = "fleet/phase.rs"]
mod phase;
#[path = "fleet/probe.rs"]
mod probe;
#[path = "fleet/process.rs"]
mod process;
#[path = "../support/program.rs"]
mod program;
#[path = "fleet/reader.rs"]
mod reader;
#[path = "fleet/report.rs"]
mod report;
#[path = "fleet/restart.rs"]
mod restart;
#[path = "fleet/seen.rs"]
mod seen;
#[path = "fleet/stage.rs"]
mod stage;
#[path = "fleet/world.rs"]
mod world;

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use figure::Figures;
use lie::Lie;
use phase::Measured;
use stage::Stage;

#[derive(Debug, Clone, Parser)]
struct Options {
    /// Sizes, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000, 5000])]
    nodes: Vec<usize>,
    /// How long each is measured, seconds, once all windows are whole.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Measure so many minutes instead, with a line for each.
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// Then lists by label are timed for so long, seconds; 0 leaves that out.
    #[arg(long, default_value_t = 20)]
    latency_seconds: u64,
    /// How long after the first complete answer measuring begins, seconds: by then a minute is kept of everything.
    #[arg(long, default_value_t = 70)]
    settle: u64,
    /// Pods replaced in a minute, percent.
    #[arg(long, default_value_t = 1.0)]
    churn: f64,
    /// Autoscalers, each of which lists its pods every 15 s; 100 for 1000 nodes and 1000 for 5000 unless told.
    #[arg(long)]
    lists: Option<usize>,
    /// Seconds between lists of everything.
    #[arg(long, default_value_t = 30)]
    full_every: u64,
    /// Then so many clients that ask for everything and stop reading.
    #[arg(long, default_value_t = 0)]
    hung_consumers: usize,
    /// And so many that watch all pods by gRPC and stop reading; one caller may have 100.
    #[arg(long, default_value_t = 0)]
    hung_watchers: usize,
    /// And so many lists of everything at one time.
    #[arg(long, default_value_t = 0)]
    full_lists: usize,
    /// Leave out the restart.
    #[arg(long)]
    no_restart: bool,
    /// Let the first node's agent lie, to see that the judge finds it; the budgets of what is wrong must not hold then.
    #[arg(long, value_enum)]
    lie: Option<Lie>,
    /// Further flags of the aggregator.
    #[arg(long, allow_hyphen_values = true)]
    flag: Vec<String>,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn lists(&self, nodes: usize) -> usize {
        self.lists.unwrap_or(if nodes >= 5000 { 1000 } else { (nodes / 10).max(10) })
    }
}

fn main() {
    let options = Options::parse();
    let mut figures = Figures::new("fleet", options.json.clone());
    for &nodes in &options.nodes {
        let mut stage = Stage::set(&options, nodes);
        let complete = stage.complete();
        figures.say(format!("{nodes} nodes: all agents at once to complete answers"), complete, "s");
        std::thread::sleep(Duration::from_secs(options.settle));
        report::steady(&mut figures, &options, &measure(&options, &stage));
        if options.latency_seconds > 0 {
            let (latency, seen) = stage.latency(options.latency_seconds);
            report::latency(&mut figures, nodes, &latency, &seen);
        }
        if options.hung_consumers + options.hung_watchers + options.full_lists > 0 {
            let (crowd, measured) = stage.crowded(&options);
            report::crowded(&mut figures, &options, &crowd, &measured);
        }
        report::account(&mut figures, nodes, stage.account());
        if !options.no_restart {
            report::restart(&mut figures, nodes, &restart::restart(&mut stage));
        }
        stage.judge_ends();
    }
    figures.finish();
}

/// The load of the budget, by the minute where that is asked for.
fn measure(options: &Options, stage: &Stage) -> Measured {
    let Some(minutes) = options.minutes else { return stage.measure(options.seconds) };
    let mut all: Option<Measured> = None;
    for nth in 1..=minutes.max(1) {
        let measured = stage.measure(60);
        report::minute(nth, &measured);
        match &mut all {
            Some(all) => all.join(measured),
            None => all = Some(measured),
        }
    }
    all.expect("a minute at least")
}
