//! What discovery is asked for, and how far it goes.

/// What to discover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Pods and containers.
    Kubepods,
    /// Those, and every other cgroup that is not inside a Kubernetes pod.
    All,
}

/// How far discovery goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Levels below the root of the tree. The deepest containers known stand at the ninth (Kubernetes without root,
    /// below a user's service); the default has one to spare.
    pub max_depth: usize,
    /// Directories held at once, and directories looked into by one search for `kubepods`.
    pub max_cgroups: usize,
    /// What to discover.
    pub scope: Scope,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: 10, max_cgroups: kubevitals::limits::MAX_SERIES, scope: Scope::Kubepods }
    }
}

/// Levels of a `kubepods` tree below its root: quality-of-service class, pod, container.
pub(super) const LEVELS_BELOW_KUBEPODS: usize = 3;
