//! Which cgroups there are to read, and what changed since the last question.
//!
//! Directories that can hold pods or containers are watched, so that a new container is known at once; a full
//! rescan now and then repairs what watching cannot see: a removed directory that was itself watched tells nothing,
//! the kernel's queue can overflow, watches can run out. Containers themselves are neither watched nor entered.
//!
//! A cgroup is known by its path and inode; under the same path with another inode it is another one. Whether a
//! cgroup has processes, and whether the runtime knows the container, is not asked here.

use std::{collections::BTreeMap, io, ops::Bound::Excluded, os::fd::BorrowedFd};

use kubevitals::sample::{CgroupPath, Subject};

use super::{
    file::{is_gone, relative},
    mounts::{Mounts, Tree},
    path::{Class, classify},
};

mod limits;
mod role;
mod watch;

pub use limits::{Limits, Scope};

use limits::LEVELS_BELOW_KUBEPODS;
use role::Role;
use watch::{Watch, Watches};

/// A cgroup to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: CgroupPath,
    /// What it is.
    pub subject: Subject,
}

/// A difference to what was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A cgroup is there; parents come before children.
    Appeared(Found),
    /// A cgroup is there no longer, or is another one now: then an `Appeared` follows. Children come before
    /// parents.
    Vanished {
        /// Where it was.
        path: CgroupPath,
    },
}

/// Follows the cgroup tree. [`rescan`](Self::rescan) first, then [`drain`](Self::drain) whenever
/// [`descriptor`](Self::descriptor) is readable, and `rescan` again every half minute.
#[derive(Debug)]
pub struct Discovery {
    tree: Tree,
    limits: Limits,
    watches: Watches,
    /// By path, `""` being the root: whatever is reported or watched. The order puts parents before children.
    known: BTreeMap<Box<str>, Known>,
    /// Number of the current rescan.
    scan: u64,
    /// Directories looked into by the current search for `kubepods`.
    searched: usize,
    over_limit: u32,
    skipped: u32,
}

#[derive(Debug)]
struct Known {
    inode: u64,
    /// Its path, if it was reported.
    reported: Option<CgroupPath>,
    watch: Watch,
    /// The rescan that saw it last.
    seen: u64,
}

impl Discovery {
    /// Discovers in the memory tree. Nothing is read before the first [`rescan`](Self::rescan).
    pub fn new(mounts: &Mounts, limits: Limits) -> io::Result<Self> {
        Ok(Self {
            tree: mounts.memory.clone(),
            limits,
            watches: Watches::new()?,
            known: BTreeMap::new(),
            scan: 0,
            searched: 0,
            over_limit: 0,
            skipped: 0,
        })
    }

    /// Readable when there is something to [`drain`](Self::drain). It never is when the kernel gave no inotify
    /// instance (their number per user is limited): then rescans are all there is, and nothing is watched.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.watches.descriptor()
    }

    /// Cgroups that were left out since the last rescan began, because there are too many or they lie too deep.
    #[must_use]
    pub fn over_limit(&self) -> u32 {
        self.over_limit
    }

    /// Directories that were passed over since the last rescan began: unreadable, or with a name that is not text.
    #[must_use]
    pub fn skipped(&self) -> u32 {
        self.skipped
    }

    /// Directories that should be watched and are not: what is new in them is found by the next rescan only.
    #[must_use]
    pub fn unwatched(&self) -> usize {
        self.known.values().filter(|known| known.watch == Watch::Failed).count()
    }

    /// Appends what changed, from the events that are waiting; never blocks.
    pub fn drain(&mut self, changes: &mut Vec<Change>) {
        let events = self.watches.take_events();
        self.skipped = self.skipped.saturating_add(events.odd_names);
        self.searched = 0;
        for path in events.paths {
            // When the parent is unknown by now it was removed; a new one under its path lists its children itself.
            if path.rsplit_once('/').is_some_and(|(parent, _)| self.known.contains_key(parent)) {
                self.visit(&path, None, false, changes);
            }
        }
        if events.overflow {
            self.rescan(changes);
        }
    }

    /// Appends what changed, from the tree as it is now.
    pub fn rescan(&mut self, changes: &mut Vec<Change>) {
        self.scan += 1;
        (self.searched, self.over_limit, self.skipped) = (0, 0, 0);
        let watch = match self.known.get("").map(|root| root.watch) {
            Some(Watch::On(number)) => Watch::On(number),
            _ => self.watches.add(self.tree.directory(), ""),
        };
        let inode = self.tree.root().inode().unwrap_or(0);
        self.known.insert("".into(), Known { inode, reported: None, watch, seen: self.scan });
        self.list("", changes);
        // What the walk did not come across need not be gone: a directory on the way may have been unreadable.
        let unseen = self.known.iter().filter(|(_, known)| known.seen != self.scan);
        for path in unseen.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            if self.known.contains_key(&path) {
                self.visit(&path, None, false, changes);
            }
        }
    }

    /// Compares one directory with what is known of it; `listed` is its inode as its parent lists it. A new one is
    /// entered; `again` enters a known one too.
    fn visit(&mut self, path: &str, listed: Option<u64>, again: bool, changes: &mut Vec<Change>) {
        let Some(role) = self.role(path) else { return };
        // Nearly all of a rescan is known directories, and asking the kernel for each was a fourth of its system calls.
        // An inode that is not the known one is asked for: a file system may list other numbers than it tells.
        let known = self.known.get(path).map(|known| known.inode);
        let inode = match listed
            .filter(|_| listed == known)
            .map_or_else(|| self.inode(path), |inode| Ok(Some(inode)))
        {
            Ok(Some(inode)) => inode,
            Ok(None) => return,
            Err(errno) if is_gone(errno) => return self.forget(path, changes),
            Err(_) => return self.skip(),
        };
        let list = role.is_listed();
        match self.known.get_mut(path) {
            Some(known) if known.inode == inode => {
                known.seen = self.scan;
                if known.watch == Watch::Failed {
                    self.watch(path);
                }
                if again && list {
                    self.list(path, changes);
                }
            }
            _ => {
                self.forget(path, changes);
                if self.remember(path, inode, role, changes) {
                    self.list(path, changes);
                }
            }
        }
    }

    /// Takes a directory for known, watching it before anybody lists it. Says whether its children are wanted.
    fn remember(&mut self, path: &str, inode: u64, role: Role, changes: &mut Vec<Change>) -> bool {
        let (watch, list) = (role.is_watched(), role.is_listed());
        if let Role::Search = role {
            // Known only once something is found in it.
            return list;
        }
        if self.known.len() >= self.limits.max_cgroups {
            self.over_limit = self.over_limit.saturating_add(1);
            return false;
        }
        let Ok(name) = CgroupPath::new(path) else {
            self.skip();
            return false;
        };
        let subject = role.subject(&name);
        let reported = subject.is_some().then(|| name.clone());
        self.known.insert(path.into(), Known { inode, reported, watch: Watch::Unwanted, seen: self.scan });
        if let Some(subject) = subject {
            changes.push(Change::Appeared(Found { path: name, subject }));
        }
        if watch {
            self.watch(path);
        }
        list
    }

    /// Sets the watch of a known directory. If another one took its place meanwhile, the watch may be on that:
    /// it is lifted, and the event of the replacement brings the new one here.
    fn watch(&mut self, path: &str) {
        let on_disk = self.tree.directory().join(path.trim_start_matches('/'));
        let watch = self.watches.add(&on_disk, path);
        let now = self.inode(path).ok().flatten();
        let Some(known) = self.known.get_mut(path) else {
            return;
        };
        known.watch = watch;
        if now != Some(known.inode) {
            self.watches.remove(watch, path);
            known.watch = Watch::Failed;
        }
    }

    /// Visits the children of a directory.
    fn list(&mut self, path: &str, changes: &mut Vec<Change>) {
        let mut names = self.children(path);
        if !self.known.contains_key(path) {
            // A search. Where containers come and go beside other things (mixed cgroup drivers), or where
            // `kubepods` itself stands, it becomes a watched directory, and is listed again behind the watch.
            let of_kubernetes = |(name, _): &(String, Option<u64>)| {
                matches!(classify(&format!("{path}/{name}")), Class::Root | Class::Container { .. })
            };
            if names.iter().any(of_kubernetes)
                && let Ok(Some(inode)) = self.inode(path)
            {
                self.remember(path, inode, Role::Parent(None), changes);
                names = self.children(path);
            }
        }
        for (name, inode) in names {
            self.visit(&format!("{path}/{name}"), inode, true, changes);
        }
    }

    /// Names of the directories in a directory, sorted, with the inodes it lists. One that cannot be read is counted and
    /// taken for empty.
    fn children(&mut self, path: &str) -> Vec<(String, Option<u64>)> {
        let mut names = Vec::new();
        let mut odd = 0_u32;
        let listed = relative(path).and_then(|relative| {
            self.tree.root().for_each_directory(&relative, |name, inode| match name.to_str() {
                Ok(name) => names.push((name.to_owned(), inode)),
                Err(_) => odd = odd.saturating_add(1),
            })
        });
        self.skipped = self.skipped.saturating_add(odd);
        if listed.is_err_and(|errno| !is_gone(errno)) {
            self.skip();
        }
        names.sort_unstable();
        names
    }

    /// Forgets a directory and everything below it.
    fn forget(&mut self, path: &str, changes: &mut Vec<Change>) {
        // '0' follows '/' in the order of bytes, so this is exactly what begins with the path and a slash.
        let below = self
            .known
            .range::<str, _>((Excluded(format!("{path}/").as_str()), Excluded(format!("{path}0").as_str())));
        let mut paths: Vec<Box<str>> = below.map(|(path, _)| path.clone()).collect();
        paths.insert(0, path.into());
        for path in paths.iter().rev() {
            let Some(known) = self.known.remove(path) else {
                continue;
            };
            self.watches.remove(known.watch, path);
            if let Some(path) = known.reported {
                changes.push(Change::Vanished { path });
            }
        }
    }

    /// What to do with the directory at `path`, within the limits; `None` for one that does not matter.
    fn role(&mut self, path: &str) -> Option<Role> {
        let role = Role::of(classify(path), self.limits.scope)?;
        let depth = path.matches('/').count();
        if let Role::Search = role {
            let room = depth + LEVELS_BELOW_KUBEPODS < self.limits.max_depth;
            return (room && self.may_search()).then_some(role);
        }
        if depth > self.limits.max_depth {
            self.over_limit = self.over_limit.saturating_add(1);
            return None;
        }
        Some(role)
    }

    /// Counts one more directory that is looked into for `kubepods`.
    fn may_search(&mut self) -> bool {
        self.searched += 1;
        let may = self.searched <= self.limits.max_cgroups;
        if !may {
            self.over_limit = self.over_limit.saturating_add(1);
        }
        may
    }

    fn inode(&self, path: &str) -> Result<Option<u64>, rustix::io::Errno> {
        self.tree.root().inode_of(relative(path)?.as_c_str())
    }

    fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
