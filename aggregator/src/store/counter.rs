//! What is kept of one cgroup beside its samples: whose it is, what else was read of it, and when it was made.

use std::num::NonZero;

use kubevitals::{
    chain::Announcement,
    sample::{BootTime, Detail, Details, PackedDetails, SeriesId, WallTime},
};

use super::subject::CounterRef;

/// One counter of a node.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) name: CounterRef,
    pub(super) inode: u64,
    birth: Option<NonZero<u64>>,
    ended: Option<NonZero<u64>>,
    details: PackedDetails,
    pub(super) series: SeriesId,
    /// A new agent process has not named it yet; if its first tick does not either, it has ended.
    pub(super) unconfirmed: bool,
}

const _: () = assert!(size_of::<Option<Counter>>() == 96, "one is kept for every container");

/// What an announcement says of a counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) series: SeriesId,
    pub(super) inode: u64,
    pub(super) birth: Option<WallTime>,
}

impl From<&Announcement> for Announced {
    fn from(announcement: &Announcement) -> Self {
        let &Announcement { series, inode, birth, .. } = announcement;
        Self { series, inode, birth }
    }
}

impl Counter {
    /// One of which nothing was read yet.
    pub(super) fn new(name: CounterRef, announced: Announced) -> Self {
        let Announced { series, inode, birth } = announced;
        let birth = birth.and_then(|birth| NonZero::new(birth.0));
        let details = PackedDetails::default();
        Self { name, inode, birth, ended: None, details, series, unconfirmed: false }
    }

    /// Looks at what is asked first: whose it is. The number says nothing.
    pub(super) fn look(&self) -> u64 {
        u64::from(self.name == CounterRef::Node) ^ self.inode
    }

    /// Goes on as another series.
    pub(super) fn resume(&mut self, announced: Announced) {
        self.series = announced.series;
        self.birth = announced.birth.and_then(|birth| NonZero::new(birth.0)).or(self.birth);
        (self.ended, self.unconfirmed) = (None, false);
    }

    /// Has no more samples from `time` on, which is not the begin of a boot.
    pub(super) fn end(&mut self, time: BootTime) {
        (self.ended, self.unconfirmed) = (NonZero::new(time.0), false);
    }

    /// When it ended; none while it is live.
    pub(super) fn ended(&self) -> Option<BootTime> {
        self.ended.map(|time| BootTime(time.get()))
    }

    /// When its cgroup was made, if the agent knows.
    pub(super) fn birth(&self) -> Option<WallTime> {
        self.birth.map(|time| WallTime(time.get()))
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
