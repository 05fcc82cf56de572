//! A whole estate on this machine: two aggregators and five agents, each in a network namespace of its own, a stand-in
//! API server, a name server, and a Service that leads to whichever aggregator is ready. One node runs real pods by
//! containerd and runc, the others have trees of files whose every counter is known exactly.
//!
//! While parts are killed, stopped, cut off or set wrong, three clients ask twenty times a second each: one through the
//! aggregation layer, one at each aggregator. Every answer is kept and judged afterwards by what the makers of the
//! counters wrote down: failed requests, gaps, wrong numbers, times that go back (`--no-capture` shows the count).
//! `KUBEVITALS_LONG=1` waits as long as clusters do. Needs root, version 1 controllers, containerd, runc and
//! busybox-static; `KUBEVITALS_SKIP=root` leaves these tests out.
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
#[path = "support/containerd.rs"]
mod containerd;
#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/netns.rs"]
mod netns;
#[path = "support/program.rs"]
mod program;

#[path = "estate/answers.rs"]
mod answers;
#[path = "estate/counters.rs"]
mod counters;
#[path = "estate/grounds.rs"]
mod grounds;
#[path = "estate/judge.rs"]
mod judge;
#[path = "estate/ledger.rs"]
mod ledger;
#[path = "estate/names.rs"]
mod names;
#[path = "estate/parts.rs"]
mod parts;
#[path = "estate/polling.rs"]
mod polling;
#[path = "estate/real_pods.rs"]
mod real_pods;
#[path = "estate/service.rs"]
mod service;

#[path = "estate/agreement.rs"]
mod agreement;
#[path = "estate/clocks.rs"]
mod clocks;
#[path = "estate/control_plane.rs"]
mod control_plane;
#[path = "estate/crowd.rs"]
mod crowd;
#[path = "estate/kills.rs"]
mod kills;
#[path = "estate/links.rs"]
mod links;
#[path = "estate/resolution.rs"]
mod resolution;
#[path = "estate/stops.rs"]
mod stops;
