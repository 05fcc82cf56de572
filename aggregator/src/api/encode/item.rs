//! What every encoder gets: one answer, and the shape it is to have.

use std::time::Duration;

use kubevitals::sample::WallTime;

use super::{
    format::{Format, MetaVersion, Partial},
    table::IncludeObject,
};
use crate::api::{
    route::Version,
    source::{Labels, NodeAnswer, PodAnswer, Usage},
};

/// What a list contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// `NodeMetrics`.
    Nodes,
    /// `PodMetrics`.
    Pods,
}

impl ListKind {
    /// The kind of one object.
    #[must_use]
    pub fn object(self) -> &'static str {
        match self {
            Self::Nodes => "NodeMetrics",
            Self::Pods => "PodMetrics",
        }
    }

    /// The kind of the list.
    #[must_use]
    pub fn list(self) -> &'static str {
        match self {
            Self::Nodes => "NodeMetricsList",
            Self::Pods => "PodMetricsList",
        }
    }
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A node's.
    Node(&'a NodeAnswer),
    /// A pod's.
    Pod(&'a PodAnswer),
}

impl<'a> Item<'a> {
    /// What a list of such answers contains.
    #[must_use]
    pub fn kind(self) -> ListKind {
        match self {
            Self::Node(_) => ListKind::Nodes,
            Self::Pod(_) => ListKind::Pods,
        }
    }

    pub(super) fn name(self) -> &'a str {
        match self {
            Self::Node(answer) => &answer.node.name,
            Self::Pod(answer) => &answer.pod.name,
        }
    }

    /// None for nodes.
    pub(super) fn namespace(self) -> Option<&'a str> {
        match self {
            Self::Node(_) => None,
            Self::Pod(answer) => Some(&answer.pod.namespace),
        }
    }

    pub(super) fn labels(self) -> &'a Labels {
        match self {
            Self::Node(answer) => &answer.node.labels,
            Self::Pod(answer) => &answer.pod.labels,
        }
    }

    pub(super) fn timestamp(self) -> WallTime {
        match self {
            Self::Node(node) => node.timestamp,
            Self::Pod(pod) => pod.timestamp,
        }
    }

    pub(super) fn window(self) -> Duration {
        match self {
            Self::Node(node) => node.window,
            Self::Pod(pod) => pod.window,
        }
    }

    /// What a row of a table says: the node's numbers, or the sum over the pod's containers.
    ///
    /// Sums of real counters stay far below the end of the range, so saturating there hides nothing.
    pub(super) fn total(self) -> Usage {
        match self {
            Self::Node(node) => node.usage,
            Self::Pod(pod) => {
                let none = Usage { cpu_nanocores: 0, memory_bytes: 0 };
                pod.usages.iter().fold(none, |sum, usage| Usage {
                    cpu_nanocores: sum.cpu_nanocores.saturating_add(usage.cpu_nanocores),
                    memory_bytes: sum.memory_bytes.saturating_add(usage.memory_bytes),
                })
            }
        }
    }
}

/// The shape of a body, whatever its encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) kind: ListKind,
    pub(super) version: Version,
    pub(super) body: Body,
}

/// What objects are turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Object,
    Table(MetaVersion, IncludeObject),
    Partial(MetaVersion),
}

/// `apiVersion` and `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeMeta {
    /// Group and version.
    pub api_version: &'static str,
    /// Kind.
    pub kind: &'static str,
}

impl Shape {
    pub(super) fn new(kind: ListKind, version: Version, format: Format, include: IncludeObject) -> Self {
        let body = match format {
            Format::Object(_) => Body::Object,
            Format::Table(_, version) => Body::Table(version, include),
            Format::Partial(_, _, version) => Body::Partial(version),
        };
        Self { kind, version, body }
    }

    /// Of a body that holds a list.
    pub(super) fn list(self) -> TypeMeta {
        match self.body {
            Body::Object => TypeMeta { kind: self.kind.list(), ..self.object() },
            Body::Table(version, _) => TypeMeta { api_version: version.group_version(), kind: "Table" },
            Body::Partial(_) => TypeMeta { kind: Partial::List.kind(), ..self.partial() },
        }
    }

    /// Of a body that holds one object.
    pub(super) fn one(self) -> TypeMeta {
        match self.body {
            Body::Object => self.object(),
            Body::Table(..) => self.list(),
            Body::Partial(_) => self.partial(),
        }
    }

    /// Of an object with its numbers.
    pub(super) fn object(self) -> TypeMeta {
        TypeMeta { api_version: self.version.group_version(), kind: self.kind.object() }
    }

    /// Of an object's metadata; in the version asked for, which only full objects have none of.
    pub(super) fn partial(self) -> TypeMeta {
        let version = match self.body {
            Body::Table(version, _) | Body::Partial(version) => version,
            Body::Object => MetaVersion::V1,
        };
        TypeMeta { api_version: version.group_version(), kind: Partial::One.kind() }
    }
}
