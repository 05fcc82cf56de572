//! The kubelet fallback, end to end: stand-in kubelets over real TLS, a stand-in for kube-apiserver, agents, and the
//! built aggregator between them.
//!
//! What is promised is measured and printed (`--no-capture` shows it).
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
#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/kubelet.rs"]
mod kubelet;
#[path = "support/program.rs"]
mod program;
#[allow(dead_code, reason = "made for another test target, this one uses a part of it")]
#[path = "checklist/rig.rs"]
mod rig;

#[path = "fallback/alone.rs"]
mod alone;
#[path = "fallback/change_over.rs"]
mod change_over;
#[path = "fallback/faults.rs"]
mod faults;
