//! Both built programs over real cgroups of this machine: kernel bytes in, API bytes out.
//!
//! Each test makes cgroups below a name of its own, runs an agent and one or more aggregators (or `standalone`), and
//! compares what the API serves with what the kernel says, as cgroups-rs and plain file reads tell it. What is
//! promised in seconds is measured and printed (`--no-capture` shows it). Needs root and version 1 controllers;
//! `KUBEVITALS_SKIP=root` leaves these tests out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "support/api.rs"]
mod api;
#[path = "support/cgroups.rs"]
mod cgroups;
#[path = "support/program.rs"]
mod program;

#[path = "end_to_end/accuracy.rs"]
mod accuracy;
#[path = "end_to_end/churn.rs"]
mod churn;
#[path = "end_to_end/lifecycle.rs"]
mod lifecycle;
#[path = "end_to_end/many.rs"]
mod many;
#[path = "end_to_end/refusals.rs"]
mod refusals;
#[path = "end_to_end/replicas.rs"]
mod replicas;
#[path = "end_to_end/restarts.rs"]
mod restarts;
#[path = "end_to_end/standalone.rs"]
mod standalone;
