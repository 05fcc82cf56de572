//! Where each value is read: the result of detection, as the readers use it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;

use super::file::Directory;

/// How a node's cgroups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// One tree per controller.
    V1,
    /// One tree for all.
    V2,
    /// Version 1 controllers with a version 2 tree beside them; read as version 1, like the kubelet does.
    Hybrid,
}

impl Hierarchy {
    /// For people and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        }
    }
}

/// Whose file names and units a tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `memory.usage_in_bytes`, `cpuacct.usage`.
    V1,
    /// `memory.current`, `cpu.stat`.
    V2,
}

impl Version {
    /// For people and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// The root of one hierarchy, held open.
#[derive(Clone, Debug)]
pub struct Tree(Arc<OpenTree>);

#[derive(Debug)]
struct OpenTree {
    directory: PathBuf,
    version: Version,
    root: Directory,
}

impl Tree {
    /// Takes `directory` for the root of a hierarchy. Whether it is one is not asked: see
    /// [`detect`](super::detect()).
    pub fn open(directory: &Path, version: Version) -> Result<Self, Errno> {
        let root = Directory::open(directory)?;
        Ok(Self(Arc::new(OpenTree { directory: directory.to_owned(), version, root })))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Whose names and units its files have.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The root directory itself.
    pub(crate) fn root(&self) -> &Directory {
        &self.0.root
    }

    /// Whether both are one tree.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.directory == other.0.directory
    }
}

/// Which tree has which values. A cgroup has the same path in all of them.
#[derive(Clone, Debug)]
pub struct Mounts {
    /// How the node is set up.
    pub(crate) hierarchy: Hierarchy,
    /// CPU time: v1's `cpuacct`.
    pub(crate) cpu: Tree,
    /// Throttling: v1's `cpu`; absent when that controller is not mounted.
    pub(crate) throttling: Option<Tree>,
    /// Memory, and the tree in which cgroups are discovered.
    pub(crate) memory: Tree,
    /// How many tasks there are: v1's `pids`; absent when that controller is not mounted, and on version 2, which has
    /// another way to say it.
    pub(crate) tasks: Option<Tree>,
}

impl Mounts {
    /// Everything in one version 2 tree.
    #[must_use]
    pub fn unified(tree: Tree) -> Self {
        let throttling = Some(tree.clone());
        Self { hierarchy: Hierarchy::V2, cpu: tree.clone(), throttling, memory: tree, tasks: None }
    }

    /// How the node is set up.
    #[must_use]
    pub fn hierarchy(&self) -> Hierarchy {
        self.hierarchy
    }

    /// Where CPU time is read.
    #[must_use]
    pub fn cpu(&self) -> &Tree {
        &self.cpu
    }

    /// Where throttling is read.
    #[must_use]
    pub fn throttling(&self) -> Option<&Tree> {
        self.throttling.as_ref()
    }

    /// Where memory is read and cgroups are discovered.
    #[must_use]
    pub fn memory(&self) -> &Tree {
        &self.memory
    }

    /// Whether CPU time and memory are read in the same directory.
    pub(crate) fn share_directory(&self) -> bool {
        self.cpu.is(&self.memory)
    }
}
