//! What is kept of the agents' samples: one shard per node, one ring per container, all of it bounded.
//!
//! Each shard has one writer, the node's stream, and many readers; both hold its lock for microseconds. No lock
//! here is ever held over an await. Where two are held at once (to forget nodes), it is the map's, then a shard's. A list holds
//! those of some shards, all taken without waiting, and meanwhile waits for locks of the kubelets' pictures alone, under which
//! nobody waits for a shard's.

mod ahead;
mod counter;
mod counters;
mod live;
pub mod node;
mod refused;
pub mod ring;
mod rings;
mod rivals;
mod subject;

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;

use self::node::NodeState;
pub use self::{
    rivals::{Claim, Rivalry},
    subject::LastPlace,
};

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most containers over all nodes. One that comes when all places are taken is refused and counted; those
    /// that are there keep working.
    pub containers: usize,
    /// Most nodes.
    pub nodes: usize,
    /// How far back a ring reaches.
    pub kept: Duration,
}

/// Counts containers against the limit, over all shards.
#[derive(Debug, Clone)]
pub struct Places {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

impl Places {
    /// As many places as `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// Takes one place; false when there is none left.
    fn take(&self) -> bool {
        let free = |taken: usize| (taken < self.limit).then(|| taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }

    /// Gives so many of those back that were taken.
    fn give_back(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// One node's part of the store. Its name and its lock lie side by side, for who looks at the one before the other is taken.
#[derive(Debug)]
#[repr(C)]
pub struct Shard {
    /// The node's name.
    pub node: Arc<str>,
    state: RwLock<NodeState>,
}

impl Shard {
    /// To look.
    pub fn read(&self) -> RwLockReadGuard<'_, NodeState> {
        // A panic in a writer leaves at worst a tick half applied; the next one is checked again.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To look, if nobody has to be waited for.
    fn try_read(&self) -> Option<RwLockReadGuard<'_, NodeState>> {
        match self.state.try_read() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// To change.
    pub fn write(&self) -> RwLockWriteGuard<'_, NodeState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By node name. The hash is seeded at random.
type Shards = HashMap<Arc<str>, Arc<Shard>, RandomState>;

/// All shards.
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    places: Places,
    shards: RwLock<Shards>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, places: Places::new(limits.containers), shards: RwLock::default() }
    }

    fn shards(&self) -> RwLockReadGuard<'_, Shards> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far back samples are kept.
    #[must_use]
    pub fn kept(&self) -> Duration {
        self.limits.kept
    }

    /// The shard of a node.
    #[must_use]
    pub fn shard(&self, node: &str) -> Option<Arc<Shard>> {
        self.shards().get(node).cloned()
    }

    /// The shard of a node, made if need be; `None` when there are too many nodes.
    #[must_use]
    pub fn shard_or_new(&self, node: &str) -> Option<Arc<Shard>> {
        if let Some(shard) = self.shard(node) {
            return Some(shard);
        }
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        if shards.len() >= self.limits.nodes && !shards.contains_key(node) {
            return None;
        }
        let name: Arc<str> = Arc::from(node);
        let shard = shards.entry(Arc::clone(&name)).or_insert_with(|| {
            let state = NodeState::new(self.places.clone(), self.limits.kept);
            Arc::new(Shard { node: name, state: RwLock::new(state) })
        });
        Some(Arc::clone(shard))
    }

    /// All shards, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Shard>> {
        self.shards().values().cloned().collect()
    }

    /// Forgets the nodes for which `gone` says so, and names them. One that somebody holds, such as a stream that is
    /// about to begin, stays.
    pub fn forget(&self, gone: impl Fn(&NodeState) -> bool) -> Vec<Arc<str>> {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<Arc<str>> = shards
            .values()
            .filter(|shard| Arc::strong_count(shard) == 1 && gone(&shard.read()))
            .map(|shard| Arc::clone(&shard.node))
            .collect();
        for name in &names {
            shards.remove(name);
        }
        names
    }

    /// How many containers have a ring.
    #[must_use]
    pub fn containers(&self) -> usize {
        self.places.taken()
    }
}
