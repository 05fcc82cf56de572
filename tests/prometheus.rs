//! What scrapers get, judged by the programs that read it in the field: Prometheus and promtool of Debian, and the
//! parser of `OpenMetrics` text of Prometheus' Python client. `tests/prometheus/prepare` brings them.
//!
//! Real agents over cgroups of this machine, the built aggregator, a stand-in for kube-apiserver. Needs root and
//! version 1 controllers. `KUBEVITALS_SKIP=root` or `KUBEVITALS_SKIP=prometheus` leave these tests out.
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

#[path = "query/caller.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod caller;
#[path = "checklist/rig.rs"]
#[allow(dead_code, reason = "a part of it is used here")]
mod rig;
#[path = "exporter/stage.rs"]
mod stage;

#[path = "prometheus/lint.rs"]
mod lint;
#[path = "prometheus/protected.rs"]
mod protected;
#[path = "prometheus/rates.rs"]
mod rates;
#[path = "prometheus/restart.rs"]
mod restart;
#[path = "prometheus/server.rs"]
mod server;
#[path = "prometheus/tools.rs"]
mod tools;
