//! What is kept of one cgroup beside its samples: whose it is, what else was read of it, and when it was made.

use kubevitals::sample::{BootTime, Detail, Details, PackedDetails, SeriesId, WallTime};

use super::{Place, subject::CounterRef};

/// One counter of a node.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) name: CounterRef,
    pub(super) inode: u64,
    pub(super) series: SeriesId,
    /// When its cgroup was made, if the agent knows.
    pub(super) birth: Option<WallTime>,
    /// When it ended; none while it is live.
    pub(super) ended: Option<BootTime>,
    /// A new agent process has not named it yet; if its first tick does not either, it has ended.
    pub(super) unconfirmed: bool,
    details: PackedDetails,
    /// The node itself takes none.
    _place: Option<Place>,
}

/// What an announcement says of a counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) series: SeriesId,
    pub(super) inode: u64,
    pub(super) birth: Option<WallTime>,
}

impl Counter {
    /// One of which nothing was read yet.
    pub(super) fn new(name: CounterRef, announced: Announced, place: Option<Place>) -> Self {
        let Announced { series, inode, birth } = announced;
        Self {
            name,
            inode,
            series,
            birth,
            ended: None,
            unconfirmed: false,
            details: PackedDetails::default(),
            _place: place,
        }
    }

    /// What was read last; `None` when there is nothing.
    pub(super) fn details(&self) -> Option<Details> {
        (!self.details.is_empty()).then(|| self.details.unpack())
    }

    /// Takes all of them over.
    pub(super) fn describe(&mut self, details: &Details) {
        self.details.set(details);
    }

    /// Takes some of them over.
    pub(super) fn change(&mut self, changes: &[(SeriesId, Detail, Option<u64>)]) {
        let mut details = self.details.unpack();
        for &(_, detail, value) in changes {
            details.set(detail, value);
        }
        self.details.set(&details);
    }
}
