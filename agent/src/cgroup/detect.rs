//! Finds out where the kernel mounted its cgroups, once at the start.
//!
//! Decided by what is mounted at or below one directory (`/sys/fs/cgroup`, or the host's bound to another place),
//! never by `/proc/cgroups`, which newer kernels leave incomplete. A version 2 tree beside version 1 controllers is
//! left alone, as the kubelet does, with one exception: Linux 6.12 and later can be built without version 1's memory
//! controller. There memory exists in the version 2 tree alone and is read from it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::mounts::{Hierarchy, Mounts, Tree, Version};

mod mountinfo;

use mountinfo::{FileSystem, Mount};

/// Why this machine's cgroups cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The list of mounts, or the directory to look in, could not be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No cgroup file system there.
    #[error("no cgroup file system is mounted at or below {root}, says {mountinfo}", root = root.display(), mountinfo = mountinfo.display())]
    NoCgroups {
        /// Where they should be.
        root: PathBuf,
        /// What was asked.
        mountinfo: PathBuf,
    },
    /// Version 1 without a controller that is needed.
    #[error("the {controller} controller is not mounted at or below {root}", root = root.display())]
    NoController {
        /// The one that is missing.
        controller: &'static str,
        /// Where it should be.
        root: PathBuf,
    },
    /// Memory is nowhere to be had.
    #[error("the memory controller is neither mounted at or below {root} nor listed in {controllers}", root = root.display(), controllers = controllers.display())]
    NoMemory {
        /// Where it should be mounted.
        root: PathBuf,
        /// The version 2 tree's list of controllers.
        controllers: PathBuf,
    },
}

/// Looks where cgroups are mounted at or below `cgroup_root`, as `<proc_root>/self/mountinfo` has it.
pub fn detect(cgroup_root: &Path, proc_root: &Path) -> Result<Mounts, DetectError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| DetectError::Unreadable { path, source }
    };
    let list = proc_root.join("self/mountinfo");
    let text = fs::read(&list).map_err(unreadable(&list))?;
    // The kernel's list has no symbolic links in it.
    let root = fs::canonicalize(cgroup_root).map_err(unreadable(cgroup_root))?;
    let has_memory = |directory: &Path| {
        fs::read_to_string(directory.join(CONTROLLERS))
            .is_ok_and(|text| text.split_ascii_whitespace().any(|controller| controller == "memory"))
    };
    decide(&mountinfo::parse(&text), &root, &list, has_memory)?.open()
}

/// A version 2 tree's list of controllers.
const CONTROLLERS: &str = "cgroup.controllers";

/// Directory and version of each tree that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decision {
    hierarchy: Hierarchy,
    cpu: (PathBuf, Version),
    throttling: Option<(PathBuf, Version)>,
    memory: (PathBuf, Version),
    tasks: Option<(PathBuf, Version)>,
}

impl Decision {
    fn open(self) -> Result<Mounts, DetectError> {
        let open = |(path, version): (PathBuf, Version)| {
            Tree::open(&path, version)
                .map_err(|errno: Errno| DetectError::Unreadable { path, source: errno.into() })
        };
        Ok(Mounts {
            hierarchy: self.hierarchy,
            cpu: open(self.cpu)?,
            throttling: self.throttling.map(open).transpose()?,
            memory: open(self.memory)?,
            tasks: self.tasks.map(open).transpose()?,
        })
    }
}

/// Chooses among `mounts` those at or below `root`. `has_memory` tells whether a version 2 tree has the memory
/// controller; `list` is where the mounts were read, for the error.
fn decide(
    mounts: &[Mount],
    root: &Path,
    list: &Path,
    has_memory: impl Fn(&Path) -> bool,
) -> Result<Decision, DetectError> {
    let below: Vec<&Mount> = mounts.iter().filter(|mount| mount.point.starts_with(root)).collect();
    // What was mounted last at the very root hides everything that was mounted below it before.
    let at_root = below.iter().rfind(|mount| mount.point == root);
    let unified = match at_root {
        Some(mount) if mount.kind == FileSystem::Cgroup2 => return decide_v2(root, root, has_memory),
        _ => below.iter().find(|mount| mount.kind == FileSystem::Cgroup2).map(|mount| mount.point.as_path()),
    };
    // Of two mounts of one controller the first counts, as for the kubelet.
    let controller = |name: &str| {
        let mount = below.iter().find(|mount| mount.has_controller(name))?;
        Some((mount.point.clone(), Version::V1))
    };
    let any_v1 = below.iter().any(|mount| matches!(mount.kind, FileSystem::Cgroup { .. }));
    match (any_v1, unified) {
        (false, None) => Err(DetectError::NoCgroups { root: root.to_owned(), mountinfo: list.to_owned() }),
        (false, Some(tree)) => decide_v2(tree, root, has_memory),
        (true, unified) => {
            let missing = |controller| DetectError::NoController { controller, root: root.to_owned() };
            let memory = match (controller("memory"), unified) {
                (Some(memory), _) => memory,
                (None, Some(tree)) => memory_of_v2(tree, root, has_memory)?,
                (None, None) => return Err(missing("memory")),
            };
            Ok(Decision {
                hierarchy: if unified.is_some() { Hierarchy::Hybrid } else { Hierarchy::V1 },
                cpu: controller("cpuacct").ok_or_else(|| missing("cpuacct"))?,
                throttling: controller("cpu"),
                memory,
                tasks: controller("pids"),
            })
        }
    }
}

fn decide_v2(tree: &Path, root: &Path, has_memory: impl Fn(&Path) -> bool) -> Result<Decision, DetectError> {
    let all = memory_of_v2(tree, root, has_memory)?;
    let throttling = Some(all.clone());
    Ok(Decision { hierarchy: Hierarchy::V2, cpu: all.clone(), throttling, memory: all, tasks: None })
}

fn memory_of_v2(
    tree: &Path,
    root: &Path,
    has_memory: impl Fn(&Path) -> bool,
) -> Result<(PathBuf, Version), DetectError> {
    if has_memory(tree) {
        Ok((tree.to_owned(), Version::V2))
    } else {
        Err(DetectError::NoMemory { root: root.to_owned(), controllers: tree.join(CONTROLLERS) })
    }
}

#[cfg(test)]
mod tests;
