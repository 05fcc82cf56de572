//! Trust, consumers and polls, end to end: a stand-in for kube-apiserver, the built aggregator, and agents, all over
//! real TLS.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "support/apiserver/mod.rs"]
mod apiserver;

#[path = "checklist/stand_in.rs"]
mod stand_in;
