//! inotify watches on directories: which paths were touched, as far as the kernel tells.
//!
//! The kernel says when a child directory comes or goes. It says nothing when a watched cgroup itself is removed, so
//! whoever set a watch also removes it. <https://man7.org/linux/man-pages/man7/inotify.7.html>

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    event::{EventfdFlags, eventfd},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

/// Room for about fifteen events of the longest name, or 170 of a container's, bytes.
const EVENT_BYTES: usize = 16 * 1024;

/// State of one directory's watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// None is needed.
    Unwanted,
    /// The kernel refused, usually because the user has no more watches.
    Failed,
    /// Set, with this number.
    On(i32),
}

/// What happened since the last question.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Children that came or went, in order; repetitions are possible.
    pub(super) paths: Vec<String>,
    /// Children whose name is not UTF-8.
    pub(super) odd_names: u32,
    /// The kernel's queue was full, and events are lost.
    pub(super) overflow: bool,
}

/// All watches of one inotify instance.
#[derive(Debug)]
pub(super) struct Watches {
    inotify: Result<OwnedFd, Never>,
    /// Number to the watched directory's path in the tree.
    paths: HashMap<i32, Box<str>>,
}

/// A descriptor that never becomes readable, for a user who has used up the inotify instances allowed.
#[derive(Debug)]
struct Never(OwnedFd);

impl Watches {
    /// Without an inotify instance every watch fails, and there never is an event.
    pub(super) fn new() -> io::Result<Self> {
        match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
            Ok(inotify) => Ok(Self { inotify: Ok(inotify), paths: HashMap::new() }),
            Err(_) => Self::without_inotify(),
        }
    }

    pub(super) fn without_inotify() -> io::Result<Self> {
        let never = Never(eventfd(0, EventfdFlags::CLOEXEC)?);
        Ok(Self { inotify: Err(never), paths: HashMap::new() })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.inotify {
            Ok(inotify) => inotify.as_fd(),
            Err(Never(descriptor)) => descriptor.as_fd(),
        }
    }

    /// Watches `directory`, called `path` in events.
    pub(super) fn add(&mut self, directory: &Path, path: &str) -> Watch {
        let Ok(inotify) = &self.inotify else {
            return Watch::Failed;
        };
        let what = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(inotify, directory, what) {
            Ok(number) => {
                self.paths.insert(number, path.into());
                Watch::On(number)
            }
            Err(_) => Watch::Failed,
        }
    }

    /// Lifts the watch of `path`. A directory that was renamed has the same watch under its new path; that stays.
    pub(super) fn remove(&mut self, watch: Watch, path: &str) {
        if let (Watch::On(number), Ok(inotify)) = (watch, &self.inotify)
            && self.paths.get(&number).is_some_and(|watched| **watched == *path)
        {
            self.paths.remove(&number);
            // The kernel lifts the watch of a removed directory by itself; then there is nothing to do.
            inotify::remove_watch(inotify, number).ok();
        }
    }

    /// Takes all waiting events.
    pub(super) fn take_events(&mut self) -> Events {
        let mut events = Events::default();
        let Ok(inotify) = &self.inotify else { return events };
        let mut room = [MaybeUninit::<u8>::uninit(); EVENT_BYTES];
        let mut reader = Reader::new(inotify, &mut room);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return events,
                // Not to be read any more: a rescan is due, as if the events were lost.
                Err(_) => {
                    events.overflow = true;
                    return events;
                }
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                events.overflow = true;
            } else if event.events().contains(ReadFlags::ISDIR)
                && let (Some(parent), Some(name)) = (self.paths.get(&event.wd()), event.file_name())
            {
                match name.to_str() {
                    Ok(name) => events.paths.push(format!("{parent}/{name}")),
                    Err(_) => events.odd_names = events.odd_names.saturating_add(1),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn children_that_come_and_go_are_told_by_the_path_in_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let mut watches = Watches::new().unwrap();
        let watch = watches.add(dir.path(), "/pod");
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        fs::remove_dir(dir.path().join("a")).unwrap();

        assert_eq!(watches.take_events().paths, ["/pod/a", "/pod/a"]);

        watches.remove(watch, "/other");
        fs::create_dir(dir.path().join("b")).unwrap();
        assert_eq!(watches.take_events().paths, ["/pod/b"]);
        watches.remove(watch, "/pod");
        fs::create_dir(dir.path().join("c")).unwrap();
        assert!(watches.take_events().paths.is_empty());
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_watched() {
        assert_eq!(Watches::new().unwrap().add(Path::new("/nowhere"), "/x"), Watch::Failed);
    }
}
