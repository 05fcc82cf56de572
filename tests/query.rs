//! The query service, by the built programs, before a stand-in for kube-apiserver.
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

#[path = "checklist/rig.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod rig;

#[path = "query/consumer.rs"]
mod consumer;
#[path = "query/explain.rs"]
mod explain;
#[path = "query/library.rs"]
mod library;
#[path = "query/python.rs"]
mod python;
