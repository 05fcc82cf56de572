//! What a node's counters belong to, who speaks for the node, and what a tick changed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use kubevitals::sample::{CgroupPath, ContainerId, Subject};

use super::{counters::Slot, ring::Refused};

/// What a kept counter belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CounterRef {
    /// The node itself.
    Node,
    /// A container of a pod.
    Container(ContainerId),
    /// A cgroup outside Kubernetes.
    Cgroup(CgroupPath),
}

impl CounterRef {
    /// `None` for a pod's own counters and for what is unknown: nothing served is made of them.
    pub(super) fn of(subject: &Subject) -> Option<Self> {
        match subject {
            Subject::Node => Some(Self::Node),
            Subject::Pod { .. } | Subject::Unknown => None,
            Subject::Container { id, .. } => Some(Self::Container(id.clone())),
            Subject::Cgroup { path } => Some(Self::Cgroup(path.clone())),
        }
    }

    /// Whether something is stored of this subject.
    pub(super) fn is_of(subject: &Subject) -> bool {
        !matches!(subject, Subject::Pod { .. } | Subject::Unknown)
    }
}

/// Where a counter was when it was looked for the last time. Whoever holds it finds the counter there without a search, of
/// which each step is a wait for memory in a large cluster. Something else may be there now: the name is compared. It says
/// nothing of its own, so all are equal.
#[derive(Debug)]
pub struct LastPlace(AtomicU32);

impl LastPlace {
    /// Nowhere yet.
    const NONE: u32 = u32::MAX;

    pub(super) fn slot(&self) -> Option<Slot> {
        let index = self.0.load(Ordering::Relaxed);
        (index != Self::NONE).then(|| Slot::new(index))
    }

    pub(super) fn note(&self, slot: Slot) {
        let index = u32::try_from(slot.index()).unwrap_or(Self::NONE);
        // What is written is taken from the other processors' caches.
        if self.0.load(Ordering::Relaxed) != index {
            self.0.store(index, Ordering::Relaxed);
        }
    }
}

impl Default for LastPlace {
    fn default() -> Self {
        Self(AtomicU32::new(Self::NONE))
    }
}

impl Clone for LastPlace {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Ordering::Relaxed)))
    }
}

impl PartialEq for LastPlace {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LastPlace {}

/// Who speaks for a node, and how.
#[derive(Debug, Clone)]
pub struct Session {
    /// The boot to which all times and counters belong.
    pub boot_id: String,
    /// The agent process.
    pub instance: u64,
    /// Its tick.
    pub interval: Duration,
    /// Online CPUs; 0 when unknown.
    pub cpus: u32,
    /// `MemTotal` in bytes; 0 when unknown.
    pub memory_bytes: u64,
    /// The last batch it had made when it connected.
    pub newest_sequence: u64,
    /// The agent's version, as it says; at most 80 characters, none of them a control character.
    pub version: Arc<str>,
}

/// What a tick or snapshot changed, for counting.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Samples stored.
    pub samples: u64,
    /// Samples that did not follow what is stored.
    pub refused_samples: u64,
    /// Containers for which there was no place.
    pub refused_containers: u64,
}

impl Applied {
    /// Counts what became of a sample.
    pub(super) fn count(&mut self, pushed: Result<(), Refused>) {
        match pushed {
            Ok(()) => self.samples += 1,
            // A replay of what is stored already.
            Err(Refused::NotLater) => {}
            Err(Refused::WentBack) => self.refused_samples += 1,
        }
    }
}
