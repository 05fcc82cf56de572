//! Hostile clients against the built aggregator with delegated trust, over real TLS, while a fleet of agents streams.
//!
//! Thousands of requests of many kinds, mixed: none without a valid identity may be let in, none may break the server,
//! its memory stays within bounds, and what it serves stays fresh. Prints what it measured. A minute by default;
//! `KUBEVITALS_LONG=1` sends 20,000 requests. Traffic goes to loopback alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "support/api.rs"]
mod api;
#[path = "support/apiserver/mod.rs"]
mod apiserver;
#[path = "support/chain.rs"]
mod chain;
#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/program.rs"]
mod program;

#[path = "hostile/crowds.rs"]
mod crowds;
#[path = "hostile/field.rs"]
mod field;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/impostors.rs"]
mod impostors;
#[path = "hostile/lines.rs"]
mod lines;
#[path = "hostile/odd_requests.rs"]
mod odd_requests;
#[path = "hostile/run.rs"]
mod run;
#[path = "hostile/tally.rs"]
mod tally;
#[path = "hostile/witness.rs"]
mod witness;
