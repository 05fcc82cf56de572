//! What discovery does with a directory, by what its path says.

use kubevitals::sample::{CgroupPath, Subject};

use super::Scope;
use crate::cgroup::path::Class;

/// What is to be done with a directory.
#[derive(Debug)]
pub(super) enum Role {
    /// Reported; what is below belongs to it.
    Leaf(Subject),
    /// Watched and listed, and reported if it is a subject.
    Parent(Option<Subject>),
    /// Outside of Kubernetes, and everything was asked for: watched, listed and reported under its path.
    Other,
    /// Outside of Kubernetes: looked into for `kubepods`, no more.
    Search,
}

impl Role {
    /// `None` for a directory that does not matter.
    pub(super) fn of(class: Class, scope: Scope) -> Option<Self> {
        match class {
            Class::Root | Class::Qos(_) => Some(Self::Parent(None)),
            Class::Pod { uid, qos } => Some(Self::Parent(Some(Subject::Pod { uid, qos }))),
            Class::Container { pod, id, qos } => Some(Self::Leaf(Subject::Container { pod, id, qos })),
            Class::Search if scope == Scope::All => Some(Self::Other),
            Class::Search => Some(Self::Search),
            Class::Inside | Class::Other => None,
        }
    }

    /// Children matter.
    pub(super) fn is_listed(&self) -> bool {
        !matches!(self, Self::Leaf(_))
    }

    /// Children matter, and come and go.
    pub(super) fn is_watched(&self) -> bool {
        matches!(self, Self::Parent(_) | Self::Other)
    }

    /// What to report it as.
    pub(super) fn subject(self, path: &CgroupPath) -> Option<Subject> {
        match self {
            Self::Leaf(subject) => Some(subject),
            Self::Parent(subject) => subject,
            Self::Other => Some(Subject::Cgroup { path: path.clone() }),
            Self::Search => None,
        }
    }
}
