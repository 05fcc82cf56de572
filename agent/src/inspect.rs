//! One look at this node for people: what is found, what it uses, and what is left out and why.
//!
//! Two readings some time apart, and then it is over; nothing is kept or sent. The parts with `Serialize` are the
//! JSON output: their field names are stable and carry units, and a value that was not measured is not there.

mod collect;
mod table;

use std::{collections::BTreeMap, io, path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{
    cgroup::{DetectError, ReadError, Scope},
    node::NodeMemory,
};

pub use self::{collect::look, table::table};

/// What to look at.
#[derive(Clone, Debug)]
pub struct LookOptions {
    /// Where cgroups are mounted.
    pub cgroup_root: PathBuf,
    /// Where the process file system is mounted.
    pub proc_root: PathBuf,
    /// Which cgroups.
    pub scope: Scope,
    /// How the node's memory is computed.
    pub node_memory: NodeMemory,
    /// Time between the two readings: what CPU use is measured over.
    pub interval: Duration,
}

impl Default for LookOptions {
    fn default() -> Self {
        Self {
            cgroup_root: PathBuf::from("/sys/fs/cgroup"),
            proc_root: PathBuf::from("/proc"),
            scope: Scope::Kubepods,
            node_memory: NodeMemory::default(),
            interval: Duration::from_secs(1),
        }
    }
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The cgroup mounts are not usable.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The node's own counters cannot be read.
    #[error("node counters: {0}")]
    Node(#[from] ReadError),
    /// Discovery could not begin.
    #[error("watch cgroups: {0}")]
    Discover(#[from] io::Error),
    /// The node's CPU counter or the clock did not advance as they must.
    #[error("the node's CPU counter or the clock went back between two readings")]
    NoRate,
}

/// Everything one look saw.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    /// `v1`, `v2` or `hybrid` (read as v1).
    pub hierarchy: &'static str,
    /// Where CPU time is read.
    pub cpu_tree: TreeLook,
    /// Where memory is read and cgroups are discovered.
    pub memory_tree: TreeLook,
    /// Where throttling is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttling_tree: Option<TreeLook>,
    /// Whether every cgroup was asked for, not only pods and containers.
    pub all_cgroups: bool,
    /// Whether a pod or container was found at all, readable or not.
    pub kubepods_found: bool,
    /// The node's own totals.
    pub node: NodeLook,
    /// By UID.
    pub pods: Vec<PodLook>,
    /// Other cgroups that have processes of their own, by path; only when all were asked for.
    pub cgroups: Vec<CgroupLook>,
    /// What was found and not measured, by path.
    pub skipped: Vec<Skipped>,
    /// Other cgroups that only group cgroups, and are therefore not listed.
    pub cgroups_without_processes: usize,
    /// Cgroups beyond the limits on depth and number.
    pub over_limit: u32,
    /// Directories that could not be read or whose name is not text.
    pub unreadable_directories: u32,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, Serialize)]
pub struct TreeLook {
    /// Where.
    pub directory: String,
    /// `v1` or `v2`: whose files.
    pub version: &'static str,
}

/// The node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeLook {
    /// CPUs online.
    pub cpus: u32,
    /// `MemTotal`.
    pub memory_total_bytes: u64,
    /// `cgroup` or `proc stat`.
    pub cpu_source: &'static str,
    /// `cgroup`, `memory.stat` or `meminfo`.
    pub memory_source: &'static str,
    /// How long reading the root's `memory.stat` took.
    pub memory_stat_read_us: u64,
    /// What it uses.
    pub usage: UsageLook,
}

/// One pod.
#[derive(Clone, Debug, Serialize)]
pub struct PodLook {
    /// As the cgroup spells it; of a static pod the hash.
    pub uid: String,
    /// As in the pod's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<&'static str>,
    /// Its cgroup; absent when only its containers were found (mixed cgroup drivers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What its cgroup uses; absent when that was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageLook>,
    /// Its containers and its sandbox, by id.
    pub containers: Vec<ContainerLook>,
}

/// One container, or a pod's sandbox.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerLook {
    /// The runtime's id.
    pub id: String,
    /// Its cgroup.
    pub path: String,
    /// What it uses.
    pub usage: UsageLook,
}

/// One cgroup outside of Kubernetes.
#[derive(Clone, Debug, Serialize)]
pub struct CgroupLook {
    /// Where.
    pub path: String,
    /// What it uses.
    pub usage: UsageLook,
}

/// What two readings say.
#[derive(Clone, Debug, Serialize)]
pub struct UsageLook {
    /// The difference over the window, thousandths of one CPU.
    pub cpu_millicores: f64,
    /// The exact difference of the CPU counter.
    pub cpu_delta_ns: u64,
    /// The counter itself, at the second reading.
    pub cpu_total_ns: u64,
    /// Time between the two readings of this counter.
    pub window_us: u64,
    /// At the second reading.
    pub working_set_bytes: u64,
    /// The optional values the kernel gives, by name with unit.
    pub details: BTreeMap<&'static str, u64>,
}

/// What was found and not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which cgroup.
    pub path: String,
    /// In a word: `no_processes`, `missing`, `gone`, `malformed`, `failed`, `counter_went_back`, `no_time_passed`.
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

#[cfg(test)]
mod tests;
