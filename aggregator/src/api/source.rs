//! The border between the API and the store: what the API asks for, and what it is told.
//!
//! Answers are finished numbers; how they come about is the store's business. Lists are visited, not returned,
//! so that each answer is encoded and dropped before the next one is made; and they are visited in pieces, so that a
//! list of everything is as long as its reader takes it and never in memory.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use kubevitals::sample::WallTime;

use super::select::{Field, FieldSelector, LabelSelector};
pub use crate::directory::{ContainerRecord, Labels, NodeRecord, PodRecord, read_ahead};
use crate::usage::PerContainer;

/// What one node, or one container, used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU over the window: nanoseconds of CPU time per second.
    pub cpu_nanocores: u64,
    /// Working set at the window's end, bytes.
    pub memory_bytes: u64,
}

/// One node's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswer {
    /// Which node.
    pub node: Arc<NodeRecord>,
    /// The window's end.
    pub timestamp: WallTime,
    /// The span over which CPU was measured.
    pub window: Duration,
    /// The numbers.
    pub usage: Usage,
}

/// One pod's numbers: all its containers, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAnswer {
    /// Which pod.
    pub pod: Arc<PodRecord>,
    /// Whether the numbers are those of the containers that ran before ([`PodRecord::previous`]).
    pub held: bool,
    /// The window's end.
    pub timestamp: WallTime,
    /// The span over which CPU was measured.
    pub window: Duration,
    /// One for each container, in their order.
    pub usages: PerContainer<Usage>,
}

impl PodAnswer {
    /// The containers by name, in a stable order.
    #[must_use]
    pub fn containers(&self) -> impl ExactSizeIterator<Item = (&str, Usage)> + Clone {
        let records: &[ContainerRecord] = match self.pod.previous.as_deref() {
            Some((previous, _)) if self.held => previous,
            _ => &self.pod.containers,
        };
        records.iter().zip(&self.usages).map(|(record, usage)| (record.name.as_ref(), *usage))
    }
}

/// Which pods are asked for.
#[derive(Clone, Copy, Debug)]
pub struct PodSelection<'a> {
    /// Of this namespace alone.
    pub namespace: Option<&'a str>,
    /// With such labels.
    pub labels: &'a LabelSelector,
    /// With such fields.
    pub fields: &'a FieldSelector,
}

impl PodSelection<'_> {
    /// Whether a pod of the right namespace is asked for.
    #[must_use]
    pub fn matches(&self, pod: &PodRecord) -> bool {
        let field = |field| match field {
            Field::Name => pod.name.as_ref(),
            Field::Namespace => pod.namespace.as_ref(),
            Field::NodeName => pod.node.as_ref(),
        };
        self.fields.matches(field) && self.labels.matches(&pod.labels)
    }
}

/// Which nodes are asked for.
#[derive(Clone, Copy, Debug)]
pub struct NodeSelection<'a> {
    /// With such labels.
    pub labels: &'a LabelSelector,
    /// With such fields.
    pub fields: &'a FieldSelector,
}

impl NodeSelection<'_> {
    /// Whether a node is asked for. It has no namespace.
    #[must_use]
    pub fn matches(&self, node: &NodeRecord) -> bool {
        let field = |field| if field == Field::Name { node.name.as_ref() } else { "" };
        self.fields.matches(field) && self.labels.matches(&node.labels)
    }
}

/// A place in the list of pods: after the pod of this namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodPlace {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl PodPlace {
    /// After this pod.
    #[must_use]
    pub fn of(pod: &PodRecord) -> Self {
        Self { namespace: Arc::clone(&pod.namespace), name: Arc::clone(&pod.name) }
    }
}

/// The outcome of asking for one object by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It exists and has numbers.
    Found(T),
    /// It exists, and there are no numbers to serve now.
    NoSample,
    /// There is no such object.
    Unknown,
}

impl<T> Lookup<T> {
    /// Whether there are numbers.
    #[must_use]
    pub fn is_found(&self) -> bool {
        matches!(self, Self::Found(_))
    }
}

/// What a machine is, for the core API of `standalone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node's name.
    pub name: Arc<str>,
    /// The node's labels.
    pub labels: Labels,
    /// Online CPUs.
    pub cpus: u32,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
    /// When it was first seen.
    pub created: WallTime,
}

/// Where the API gets its answers. Calls may compute, but never wait for the network, and return in milliseconds.
pub trait Source: Send + Sync + 'static {
    /// One node.
    fn node(&self, name: &str) -> Lookup<NodeAnswer>;

    /// Visits the wanted nodes that have numbers, by name, from `after` on, until `visit` breaks. Returns the place
    /// to go on from; `None` when all were visited.
    fn nodes(
        &self,
        wanted: &NodeSelection<'_>,
        after: Option<&str>,
        visit: &mut dyn FnMut(&NodeAnswer) -> ControlFlow<()>,
    ) -> Option<Arc<str>>;

    /// One pod.
    fn pod(&self, namespace: &str, name: &str) -> Lookup<PodAnswer>;

    /// Visits the wanted pods that have numbers, by namespace and name, from `after` on, until `visit` breaks or
    /// enough were looked at for one call. Returns the place to go on from; `None` when all were visited. `visit` is called
    /// while nodes are locked: it neither waits nor asks the source.
    fn pods(
        &self,
        wanted: &PodSelection<'_>,
        after: Option<&PodPlace>,
        visit: &mut dyn FnMut(&PodAnswer) -> ControlFlow<()>,
    ) -> Option<PodPlace>;

    /// At most so many pods are in a list of one namespace, or of all.
    fn pods_at_most(&self, namespace: Option<&str>) -> usize;

    /// The namespaces that have pods, sorted. Only the core API of `standalone` asks.
    fn namespaces(&self) -> Vec<Arc<str>>;

    /// Every machine, sorted by name. Only the core API of `standalone` asks.
    fn node_infos(&self) -> Vec<NodeInfo>;

    /// One machine. Only the core API of `standalone` asks.
    fn node_info(&self, name: &str) -> Option<NodeInfo>;
}
