//! Trust, consumers and polls, end to end: a stand-in for kube-apiserver, the built aggregator, and agents, all over
//! real TLS.
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

#[path = "checklist/rig.rs"]
mod rig;
#[path = "checklist/stand_in.rs"]
mod stand_in;
#[path = "checklist/wire.rs"]
mod wire;

#[path = "checklist/access.rs"]
mod access;
#[path = "checklist/agents.rs"]
mod agents;
#[path = "checklist/anonymous.rs"]
mod anonymous;
#[path = "checklist/authority.rs"]
mod authority;
#[path = "checklist/bearer.rs"]
mod bearer;
#[path = "checklist/certificates.rs"]
mod certificates;
#[path = "checklist/consumers.rs"]
mod consumers;
#[path = "checklist/front_proxy.rs"]
mod front_proxy;
#[path = "checklist/index.rs"]
mod index;
#[path = "checklist/requests.rs"]
mod requests;
#[path = "checklist/serving.rs"]
mod serving;
