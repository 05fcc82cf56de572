//! Agents that prove who they are, and those that lie: the built programs before a stand-in for kube-apiserver.
//!
//! A witness streams all the time; whatever another agent does, none of its batches is lost.
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
#[path = "support/cgroups.rs"]
mod cgroups;
#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/program.rs"]
mod program;

#[path = "checklist/rig.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod rig;

#[path = "identity/names.rs"]
mod names;
#[path = "identity/nodes.rs"]
mod nodes;
#[path = "identity/placement.rs"]
mod placement;
#[path = "identity/refused.rs"]
mod refused;
#[path = "identity/rivals.rs"]
mod rivals;
#[path = "identity/rotation.rs"]
mod rotation;
#[path = "identity/witness.rs"]
mod witness;
