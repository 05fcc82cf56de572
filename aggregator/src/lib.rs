//! The aggregator: agents' batches to the bytes of metrics.k8s.io.
//!
//! In reading order:
//! - [`ingest`]: one stream per agent, checked and stored; [`gate`]: who may speak.
//! - [`store`]: one shard per node, one ring per container; [`directory`], [`names`] and [`cluster`]: who is who.
//! - [`kubelet`]: the kubelets of nodes without an agent.
//! - [`usage`] and [`picture`]: samples to the numbers of a container and of a pod; pure.
//! - [`view`]: what the API is told; [`api`], [`core_v1`], [`auth`]: the API; [`https`], [`tls`], [`ca`]: its connections.
//! - [`explain`]: why something is or is not there; [`check`]: the same, from kube-apiserver to the kernel, as a command.
//! - [`isolation`]: whether this replica lost sight of all agents; pure.
//! - [`pipeline`], [`serve`], [`shutdown`], [`standalone`], [`kubeconfig`]: the parts put together.
//! - [`config`], [`metrics`], [`admin`]: flags, own metrics, probes.

pub mod admin;
pub mod api;
pub mod auth;
pub mod ca;
pub mod check;
pub mod cluster;
pub mod config;
pub mod core_v1;
pub mod directory;
pub mod explain;
pub mod gate;
pub mod https;
pub mod ingest;
pub mod isolation;
pub mod kubeconfig;
pub mod kubelet;
pub mod metrics;
pub mod names;
pub mod picture;
pub mod pipeline;
pub mod query;
pub mod readiness;
pub mod serve;
pub mod shutdown;
pub mod standalone;
pub mod store;
pub mod usage;
pub mod view;

mod causes;

/// Certificates, served and shown: what agents with an exporter have too.
pub use kubevitals_agent::tls;
