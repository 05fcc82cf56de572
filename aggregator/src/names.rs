//! Where names come from. The store knows containers by id and cgroups by path; the API speaks of pods.

pub mod paths;
mod place;

use kubevitals::chain::{Decoder, Tick};

use self::paths::PathNames;
use crate::directory::Directory;

/// A source of names. It fills the [`Directory`].
#[derive(Debug)]
pub enum Names {
    /// Kubernetes: pods and nodes are watched, and what agents announce changes no name.
    Cluster,
    /// No Kubernetes: pods are made of the cgroup paths that agents announce.
    Paths(PathNames),
}

impl Names {
    /// A tick was stored. `first` is the first one of a stream: only then does everything live count, not just
    /// what changed.
    pub fn ticked(&self, directory: &Directory, node: &str, tick: &Tick, chain: &Decoder, first: bool) {
        match self {
            Self::Cluster => {}
            Self::Paths(paths) if first => paths.resync(directory, node, tick, chain),
            Self::Paths(paths) => paths.changed(directory, node, tick),
        }
    }

    /// Whether it is known independently of agents what belongs to which node, so that they can be held to it and told.
    #[must_use]
    pub fn are_authoritative(&self) -> bool {
        matches!(self, Self::Cluster)
    }

    /// The store has forgotten a node.
    pub fn forgotten(&self, directory: &Directory, node: &str) {
        match self {
            Self::Cluster => {}
            Self::Paths(paths) => paths.forget(directory, node),
        }
    }
}
