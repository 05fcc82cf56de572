//! The agent's pages for scrapers: what stands in `/metrics/resource` is what a kubelet says and what the kernel
//! counts, and whoever reads a kubelet's page reads it; `/metrics/vitals` is the kernel's files.
//!
//! Real agents over cgroups of this machine, the built aggregator, a stand-in for kube-apiserver. Needs root and
//! version 1 controllers; `KUBEVITALS_SKIP=root` leaves these tests out.
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
#[path = "support/kubelet.rs"]
mod kubelet;
#[path = "support/program.rs"]
mod program;

#[path = "checklist/rig.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod rig;

#[path = "exporter/fallback.rs"]
mod fallback;
#[path = "exporter/read.rs"]
mod read;
#[path = "exporter/reader.rs"]
mod reader;
#[path = "exporter/shape.rs"]
mod shape;
#[path = "exporter/stage.rs"]
mod stage;
#[path = "exporter/vitals.rs"]
mod vitals;
