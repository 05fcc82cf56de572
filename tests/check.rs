//! `kubevitals-aggregator check` on broken set-ups: the built program, against a built `serve` and a stand-in API
//! server. Each test breaks one thing of a cluster in which all is well, and looks at the diagnosis.
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

#[path = "check/screen.rs"]
mod screen;
#[path = "check/world.rs"]
mod world;

#[path = "check/agents.rs"]
mod agents;
#[path = "check/api_server.rs"]
mod api_server;
#[path = "check/group.rs"]
mod group;
#[path = "check/pods.rs"]
mod pods;
#[path = "check/service.rs"]
mod service;
