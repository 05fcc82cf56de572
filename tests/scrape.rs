//! Who may scrape an agent: the built programs, before a stand-in for kube-apiserver where the cluster is asked.
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
#[path = "support/program.rs"]
mod program;

#[path = "scrape/client.rs"]
mod client;
#[path = "checklist/rig.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod rig;

#[path = "scrape/cluster.rs"]
mod cluster;
#[path = "scrape/files.rs"]
mod files;
#[path = "scrape/flags.rs"]
mod flags;
