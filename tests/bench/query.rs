//! What a container costs in the store: memory, a sample that is stored, and a rate that is read.
//!
//! `cargo bench -p kubevitals --bench query` prints a line for each figure. The store is that of the bench `apply`: 1000
//! nodes of 91 counters each. They are visited in the order of nodes (as ingest does) or in no order, so that each visit
//! finds them where they lie in so large a store: in memory, not in the processor's cache.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and prints what it measured"
)]

#[path = "figure.rs"]
mod figure;
#[allow(dead_code, reason = "the fleet's judge asks more of it")]
#[path = "fleet/kernel.rs"]
mod kernel;
#[allow(dead_code, reason = "the bench of batches asks more of it")]
#[path = "apply/node.rs"]
mod node;
#[allow(dead_code, reason = "the bench of batches asks more of it")]
#[path = "apply/nodes.rs"]
mod nodes;

use clap::Parser;
use figure::{Figures, median};
use nodes::Nodes;

/// How often each figure is measured; the median is printed.
const RUNS: usize = 5;

#[derive(Debug, Parser)]
struct Options {
    /// How many nodes the store has.
    #[arg(long, default_value_t = 1000)]
    nodes: u64,
    /// Writes the figures there.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let mut nodes = Nodes::full(options.nodes);
    let containers = (nodes.len() * nodes.containers()) as f64;
    let mut figures = Figures::new("query", options.json);
    figures.say("memory of a container in the store", nodes.held().store as f64 / containers, "bytes");
    let ticks: Vec<f64> = (0..RUNS).map(|_| nodes.tick().apply.as_nanos() as f64 / containers).collect();
    figures.say("a sample stored", median(&ticks), "ns");
    for seconds in [15, 60] {
        for (is_in_order, order) in [(true, "in order"), (false, "in no order")] {
            let rates: Vec<f64> = (0..RUNS).map(|_| nodes.rate(seconds, is_in_order)).collect();
            figures.say(format!("a rate over {seconds} s, containers {order}"), median(&rates), "ns");
        }
    }
    figures.finish();
}
