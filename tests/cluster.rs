//! A whole installation in a whole cluster: kubectl top, the HPA, updates and losses under polling, and the numbers
//! against the node's own counters.
//!
//! Needs a `KUBECONFIG` of a cluster in which Kubevitals is installed and in which one may do everything, and kubectl;
//! nothing else. Each test makes a namespace of its own and removes it, also when it fails. The only objects of others
//! that are touched are Kubevitals' own: its pods are deleted, and its workloads restarted. Every test
//! prints what it measured. `tests/cluster/run` is the way to run them, and says what can be set; the ordinary suite
//! compiles them and leaves them out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking, and says what it measured; what it measures fits in 53 bits"
)]

#[path = "support/forms.rs"]
mod forms;

#[path = "cluster/accuracy.rs"]
mod accuracy;
#[path = "cluster/autoscaler.rs"]
mod autoscaler;
#[path = "cluster/counters.rs"]
mod counters;
#[path = "cluster/disruption.rs"]
mod disruption;
#[path = "cluster/installation.rs"]
mod installation;
#[path = "cluster/kubectl.rs"]
mod kubectl;
#[path = "cluster/metrics.rs"]
mod metrics;
#[path = "cluster/pods.rs"]
mod pods;
#[path = "cluster/poll.rs"]
mod poll;
#[path = "cluster/stage.rs"]
mod stage;
#[path = "cluster/usage.rs"]
mod usage;
#[path = "cluster/wait.rs"]
mod wait;
