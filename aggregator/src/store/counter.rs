//! What is kept of one cgroup: its samples, what was read of it beside them, and when it was made.

use kubevitals::sample::{BootTime, Detail, Details, SeriesId, WallTime};

use super::{Place, ring::Ring};

/// One counter of a node.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) inode: u64,
    pub(super) series: SeriesId,
    /// When its cgroup was made, if the agent knows.
    pub(super) birth: Option<WallTime>,
    /// When it ended; none while it is live.
    pub(super) ended: Option<BootTime>,
    pub(super) ring: Ring,
    /// Apart, because agents may leave them out, and lists without them need not pass over them.
    details: Option<Box<Details>>,
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
    pub(super) fn new(announced: Announced, ring: Ring, place: Option<Place>) -> Self {
        let Announced { series, inode, birth } = announced;
        Self { inode, series, birth, ended: None, ring, details: None, _place: place }
    }

    /// What was read last; `None` when there is nothing.
    pub(super) fn details(&self) -> Option<&Details> {
        self.details.as_deref()
    }

    /// Takes all of them over.
    pub(super) fn describe(&mut self, details: &Details) {
        let is_any = details.iter().next().is_some();
        self.details = is_any.then(|| Box::new(*details));
    }

    /// Takes one of them over.
    pub(super) fn set(&mut self, detail: Detail, value: Option<u64>) {
        if self.details.is_some() || value.is_some() {
            self.details.get_or_insert_default().set(detail, value);
        }
    }
}
