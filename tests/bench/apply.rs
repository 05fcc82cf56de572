//! What it costs the aggregator to take a batch in: time to decode and to store it, memory that chain and store keep of
//! a node, and what a read of one container costs in so full a store.
//!
//! `cargo bench -p kubevitals --bench apply` prints a line for each figure. Batches are those of the fleet bench's
//! kernels: 1000 nodes of 30 pods, each pod with its own counter, a sandbox and two containers. Nodes take turns and
//! batches are made before time is taken, so each batch finds its node as a second of others' work leaves it: in
//! memory, not in the processor's cache.
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
#[path = "apply/node.rs"]
mod node;
#[allow(dead_code, reason = "the bench of queries asks more of it")]
#[path = "apply/nodes.rs"]
mod nodes;

use std::time::Duration;

use clap::Parser;
use figure::{Figures, median};
use node::Costs;
use nodes::Nodes;

#[derive(Debug, Parser)]
struct Options {
    /// How many nodes take turns.
    #[arg(long, default_value_t = 1000)]
    nodes: u64,
    /// Ticks of every node that are measured, after two minutes in which the rings are filled.
    #[arg(long, default_value_t = 20)]
    ticks: usize,
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
    let ticks: Vec<Costs> = (0..options.ticks).map(|_| nodes.tick()).collect();
    let (held, batches) = (nodes.held(), nodes.len() as f64);
    let mut figures = Figures::new("apply", options.json);
    let micros = |of: fn(&Costs) -> Duration| {
        median(&ticks.iter().map(|tick| of(tick).as_secs_f64() * 1e6 / batches).collect::<Vec<_>>())
    };
    figures.say("decode a batch", micros(|tick| tick.decode), "us");
    figures.say("store a batch", micros(|tick| tick.apply), "us");
    figures.judge("decode and store a batch", micros(|tick| tick.decode + tick.apply), "us", 10.0);
    let allocations = ticks.iter().map(|tick| tick.allocations).sum::<u64>() as f64;
    figures.say("allocations of a batch", allocations / batches / ticks.len() as f64, "");
    figures.say("series of a node", nodes.series() as f64, "");
    figures.say("chain of a node", held.chain as f64 / batches, "bytes");
    figures.say("store of a node", held.store as f64 / batches, "bytes");
    figures.judge("chain and store of a node", (held.chain + held.store) as f64 / batches, "bytes", 50_000.0);
    figures.say("blocks of memory a node", held.blocks as f64 / batches, "");
    let read = (0..5).map(|_| nodes.rate(15, false)).collect::<Vec<_>>();
    figures.judge("a rate over 15 s of a container, in no order", median(&read), "ns", 420.0);
    figures.finish();
}
