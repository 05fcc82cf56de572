//! The query service as its callers see it: the built aggregator before a stand-in for kube-apiserver, asked by plain
//! tonic clients, by the client library, by a generated Python client, and by clients that do what no client should.
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

#[path = "query/caller.rs"]
mod caller;
#[path = "query/consumer.rs"]
mod consumer;
#[path = "query/explain.rs"]
mod explain;
#[path = "query/hostile.rs"]
mod hostile_queries;
#[path = "query/library.rs"]
mod library;
#[path = "query/lists.rs"]
mod lists;
#[path = "query/open.rs"]
mod open_services;
#[path = "query/python.rs"]
mod python;
#[path = "query/rights.rs"]
mod rights;
#[path = "query/standalone.rs"]
mod standalone;
