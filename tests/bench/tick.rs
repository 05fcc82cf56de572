//! What the agent costs: a sweep over real cgroups against the floor and other ways to read, and the whole program.
//!
//! `cargo build --release --workspace && cargo bench -p kubevitals --bench tick` as root, with version 1 controllers;
//! the part `guest` needs what `tests/guest/prepare` makes. `-- --help` names the parts and their sizes. The floor is
//! the same reads in a bare loop over kept descriptors, parsing nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and prints what it measured"
)]

#[path = "../support/api.rs"]
mod api;
#[path = "tick/base.rs"]
mod base;
#[path = "../support/cgroups.rs"]
mod cgroups;
#[path = "figure.rs"]
mod figure;
#[path = "tick/ground.rs"]
mod ground;
#[path = "../support/guest.rs"]
mod guest;
#[path = "tick/in_guest.rs"]
mod in_guest;
#[path = "tick/instructions.rs"]
mod instructions;
#[path = "tick/measure.rs"]
mod measure;
#[path = "tick/processor.rs"]
mod processor;
#[path = "../support/program.rs"]
mod program;
#[path = "tick/sweep.rs"]
mod sweep;
#[path = "tick/ways.rs"]
mod ways;
#[path = "tick/whole.rs"]
mod whole;
#[path = "tick/worker.rs"]
mod worker;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use figure::Figures;

#[derive(Debug, Parser)]
struct Options {
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    parts: Vec<Part>,
    /// Containers of a node, two to a pod.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 250, 1000])]
    sizes: Vec<usize>,
    /// Sweeps of each way, one a second.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// How long the whole agent is watched, seconds, and how often.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Run while tests have cgroups of their own on this machine, which the agent sees too.
    #[arg(long)]
    beside_others: bool,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Cargo says it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A sweep over version 1 cgroups of this machine.
    Sweep,
    /// Instructions of a sweep, with valgrind.
    Instructions,
    /// The agent's program: CPU.
    Agent,
    /// Both programs at rest: memory, start-up, size.
    Idle,
    /// The base files of version 2 cgroups of this machine.
    Base,
    /// A sweep over version 2 cgroups in a guest.
    Guest,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(worker::WORD) => return worker::run(),
        Some(instructions::WORD) => return instructions::sweeps(&arguments[2..]),
        // In a guest this program stands in for the agent, which is started with the first word.
        Some("run") => loop {
            std::thread::park();
        },
        Some(in_guest::WORD) => return in_guest::inside(),
        _ => {}
    }
    let options = Options::parse();
    let mut figures = Figures::new("tick", options.json.clone());
    for part in &options.parts {
        match part {
            Part::Sweep => sweep::run(&options, &mut figures),
            Part::Instructions => instructions::run(&options, &mut figures),
            Part::Agent => processor::run(&options, &mut figures),
            Part::Idle => whole::run(&options, &mut figures),
            Part::Base => base::run(&options, &mut figures),
            Part::Guest => in_guest::run(&mut figures),
        }
    }
    figures.finish();
}
