//! Numbers on which both ends must agree, each with its reason.

/// Most series one agent may have live at once. The kernel's own limit is 65,535 cgroups per controller
/// on v1; a node that has more is not measured in full, and says so.
pub const MAX_SERIES: usize = 65_536;

/// Largest message on the wire, bytes. The largest is a first batch that announces [`MAX_SERIES`] containers
/// of about 150 bytes each.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Most series in one part of a snapshot, so that a part stays near 1 MiB.
pub const SNAPSHOT_PART: usize = 4096;

/// Longest node name, bytes: a DNS subdomain, as Kubernetes demands of nodes.
pub const MAX_NODE_NAME: usize = 253;

/// Longest pod UID, bytes: a DNS label, so that a pod can be served under it. API UIDs have 36 and static pods'
/// hashes 32.
pub const MAX_POD_UID: usize = 63;

/// Longest container id, bytes. Every runtime uses 64 hexadecimal digits.
pub const MAX_CONTAINER_ID: usize = 128;

/// Longest cgroup path, bytes: the kernel's `PATH_MAX`.
pub const MAX_CGROUP_PATH: usize = 4096;

/// Shortest and longest tick, milliseconds. Below 200 ms the kernel's own batching (per-CPU memory charges,
/// scheduler ticks) is larger than what a sample adds; above a minute a window holds no two samples.
pub const INTERVAL_MS: std::ops::RangeInclusive<u64> = 200..=60_000;

/// Memory is carried in pages of this size, bytes: the smallest of any Linux architecture, so that every
/// kernel counter is a whole number of them.
pub const MEMORY_UNIT: u64 = 4096;

/// Largest working set that can be carried, bytes: 16 TiB less one unit.
pub const MAX_MEMORY: u64 = (u32::MAX as u64) * MEMORY_UNIT;

/// Pods in one identity message, so that it stays near 64 KiB.
pub const IDENTITY_PART: usize = 256;

/// Longest namespace and container name, bytes: DNS labels.
pub const MAX_LABEL_NAME: usize = 63;

/// Longest pod name, bytes: a DNS subdomain.
pub const MAX_POD_NAME: usize = 253;
