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

use std::{hint::black_box, sync::Arc, time::Duration};

use clap::Parser;
use figure::{Figures, median};
use kubevitals::{chain::Buffers, sample::BootTime};
use kubevitals_aggregator::{
    store::{Limits, Store},
    usage::{Window, usage},
};
use node::{Costs, Node};
use rustix::time::{ClockId, clock_gettime};

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

/// Ticks before the first that counts: all rings have come round.
const WARM: usize = 130;

fn main() {
    let options = Options::parse();
    let limits = Limits { containers: 1_000_000, nodes: 20_000, kept: Duration::from_secs(60) };
    let store = Arc::new(Store::new(limits));
    let mut nodes: Vec<Node> = (0..options.nodes).map(|nth| Node::new(nth, &store)).collect();
    let (mut held, mut buffers) = (Costs::default(), Buffers::default());
    for _ in 0..WARM {
        held += tick(&mut nodes, &mut buffers);
    }
    let ticks: Vec<Costs> = (0..options.ticks).map(|_| tick(&mut nodes, &mut buffers)).collect();
    for &tick in &ticks {
        held += tick;
    }
    let mut figures = Figures::new("apply", options.json);
    let batches = nodes.len() as f64;
    let micros = |of: fn(&Costs) -> Duration| {
        median(&ticks.iter().map(|tick| of(tick).as_secs_f64() * 1e6 / batches).collect::<Vec<_>>())
    };
    figures.say("decode a batch", micros(|tick| tick.decode), "us");
    figures.say("store a batch", micros(|tick| tick.apply), "us");
    figures.judge("decode and store a batch", micros(|tick| tick.decode + tick.apply), "us", 10.0);
    let allocations = ticks.iter().map(|tick| tick.allocations).sum::<u64>() as f64;
    figures.say("allocations of a batch", allocations / batches / ticks.len() as f64, "");
    let series = nodes[0].series() as f64;
    figures.say("series of a node", series, "");
    figures.say("chain of a node", held.chain as f64 / batches, "bytes");
    figures.say("store of a node", held.store as f64 / batches, "bytes");
    figures.judge("chain and store of a node", (held.chain + held.store) as f64 / batches, "bytes", 55_000.0);
    figures.say("blocks of memory a node", held.blocks as f64 / batches, "");
    let read = (0..5).map(|_| read(&nodes)).collect::<Vec<_>>();
    figures.judge("a rate over 15 s of a container, in no order", median(&read), "ns", 420.0);
    figures.finish();
}

/// One batch of every node.
fn tick(nodes: &mut [Node], buffers: &mut Buffers) -> Costs {
    let batches: Vec<_> = nodes.iter_mut().map(Node::batch).collect();
    let mut costs = Costs::default();
    for (node, batch) in nodes.iter_mut().zip(&batches) {
        costs += node.take(batch, buffers);
    }
    costs
}

/// Nanoseconds to find a container's counter and to make its rate; nodes and their containers in no order.
fn read(nodes: &[Node]) -> f64 {
    let window = Window {
        length: Duration::from_secs(15),
        shortest: Duration::from_millis(250),
        until: BootTime(u64::MAX),
        not_before: None,
    };
    let before = thread_time();
    let containers = nodes[0].containers.len();
    let all = nodes.len() * containers;
    for nth in 0..all {
        // The factor shares no divisor with their number, so that each is visited once.
        let nth = nth * 7_654_321 % all;
        let node = &nodes[nth / containers];
        let state = node.shard.read();
        black_box(usage(state.ring(&node.containers[nth % containers]).unwrap(), &window).unwrap());
    }
    thread_time().saturating_sub(before).as_nanos() as f64 / all as f64
}

/// What this thread has used: on a busy machine others' work counts less than on a wall clock.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}
