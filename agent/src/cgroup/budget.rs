//! How many descriptors may be kept, and who keeps how many.
//!
//! A kept descriptor makes a reading several times cheaper. Where the limit of open files does not allow it for all
//! cgroups, the first ones keep theirs and the others open their files for each reading.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors left for everything else: streams, listeners, watches, logs, and the ones a reading on demand needs.
pub const RESERVE: usize = 128;

/// What is needed seldom may take one part in so many of all descriptors, so that it leaves the others room.
const SELDOM_SHARE: usize = 4;

/// The shared account of kept descriptors. Clones are the same account.
#[derive(Clone, Debug)]
pub struct Descriptors(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: usize,
    used: AtomicUsize,
    kept: AtomicUsize,
    on_demand: AtomicUsize,
}

impl Descriptors {
    /// Raises the process's soft limit of open files to the hard one and budgets with what came of it.
    #[must_use]
    pub fn raised() -> Self {
        let limit = getrlimit(Resource::Nofile);
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
            // The soft limit stays, and the budget is smaller: no reason to fail.
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
        let now = getrlimit(Resource::Nofile).current;
        Self::with_limit(now.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX)))
    }

    /// Budgets as if the process might open `limit` files.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        let zero = || AtomicUsize::new(0);
        Self(Arc::new(Account { limit, used: zero(), kept: zero(), on_demand: zero() }))
    }

    /// Files the process may open.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Cgroups that keep their descriptors.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.0.kept.load(Relaxed)
    }

    /// Cgroups whose files are opened for each reading.
    #[must_use]
    pub fn on_demand(&self) -> usize {
        self.0.on_demand.load(Relaxed)
    }

    /// Asks to keep `count` descriptors for one cgroup, and `seldom` more while there are plenty; the answer holds until
    /// the lease is dropped.
    pub(crate) fn lease(&self, count: usize, seldom: usize) -> Lease {
        let most = self.0.limit.saturating_sub(RESERVE);
        let takes = |count: usize, most: usize| {
            let take = |used: usize| used.checked_add(count).filter(|&sum| sum <= most);
            self.0.used.fetch_update(Relaxed, Relaxed, take).is_ok()
        };
        let with_seldom = takes(count + seldom, most / SELDOM_SHARE);
        let count = if with_seldom {
            count + seldom
        } else if takes(count, most) {
            count
        } else {
            0
        };
        let lease = Lease { account: Arc::clone(&self.0), count, with_seldom };
        lease.cgroups().fetch_add(1, Relaxed);
        lease
    }
}

/// One cgroup's share of the budget.
#[derive(Debug)]
pub(crate) struct Lease {
    account: Arc<Account>,
    /// None for a cgroup that is read on demand.
    count: usize,
    with_seldom: bool,
}

impl Lease {
    /// Whether the descriptors may be kept.
    pub(crate) fn keeps(&self) -> bool {
        self.count > 0
    }

    /// Whether those that are needed seldom may be kept too.
    pub(crate) fn keeps_seldom(&self) -> bool {
        self.with_seldom
    }

    fn cgroups(&self) -> &AtomicUsize {
        if self.keeps() { &self.account.kept } else { &self.account.on_demand }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.count, Relaxed);
        self.cgroups().fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_until_only_the_reserve_is_left() {
        let descriptors = Descriptors::with_limit(RESERVE + 7);

        let leases: Vec<Lease> = (0..4).map(|_| descriptors.lease(3, 0)).collect();

        assert_eq!(leases.iter().map(Lease::keeps).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!((descriptors.kept(), descriptors.on_demand()), (2, 2));
    }

    #[test]
    fn what_is_needed_seldom_is_kept_while_there_are_plenty() {
        let descriptors = Descriptors::with_limit(RESERVE + 40);
        let leases: Vec<Lease> = (0..12).map(|_| descriptors.lease(3, 2)).collect();
        assert_eq!(leases.iter().filter(|lease| lease.keeps_seldom()).count(), 2, "ten of forty");
        assert_eq!((descriptors.kept(), descriptors.on_demand()), (12, 0));
    }

    #[test]
    fn a_dropped_lease_makes_room_for_another() {
        let descriptors = Descriptors::with_limit(RESERVE + 3);
        let first = descriptors.lease(3, 0);
        assert!(!descriptors.lease(3, 0).keeps());

        drop(first);

        assert!(descriptors.lease(3, 0).keeps());
        assert_eq!((descriptors.kept(), descriptors.on_demand()), (0, 0));
    }

    #[test]
    fn a_limit_below_the_reserve_keeps_nothing() {
        assert!(!Descriptors::with_limit(64).lease(1, 0).keeps());
    }

    #[test]
    fn raising_gives_the_hard_limit() {
        let hard =
            getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
        assert_eq!(Descriptors::raised().limit(), hard);
    }
}
