//! The real kubectl of many versions, through a stand-in kube-apiserver and its front proxy, against the built
//! aggregator.
//!
//! Every row of the tables below is one call: what it prints, on which screen, and how it ends, and since which version
//! kubectl has it. Versions come from Debian's suites (`tests/kubectl/prepare` unpacks them below `target/`) and from
//! what else is installed. `KUBEVITALS_SKIP=kubectl` leaves these tests out.
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

#[path = "kubectl/bench.rs"]
mod bench;
#[path = "kubectl/discovery.rs"]
mod discovery;
#[path = "kubectl/get.rs"]
mod get;
#[path = "kubectl/row.rs"]
mod row;
#[path = "kubectl/top.rs"]
mod top;
#[path = "kubectl/versions.rs"]
mod versions;
