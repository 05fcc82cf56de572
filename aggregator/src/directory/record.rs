//! What is known of pods and nodes: records that are replaced, never changed.

use std::{fmt, num::NonZero, sync::Arc};

use kubevitals::sample::{BootTime, ContainerId, WallTime};

use super::uid::Uid;
use crate::store::{LastPlace, node::CounterRef};

/// The labels of a pod or node, sorted by key; each key occurs once.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// The value of `key`, if the label is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(held, _)| held.as_ref().cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value.as_ref())
    }

    /// Keys and values in ascending order of key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// Keys and values to be held elsewhere.
    pub(super) fn shares(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        self.0.iter().cloned()
    }

    /// How many hold these very labels.
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Whether these are the very same, not just equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(K, V)> for Labels {
    /// Sorts by key. When a key occurs twice the first one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.dedup_by(|later, first| later.0 == first.0);
        Self(pairs.into())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A time or none, in the room that a time takes. The Unix epoch itself counts as none: no pod is that old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noted(Option<NonZero<u64>>);

impl Noted {
    /// The time, if there is one.
    #[must_use]
    pub fn time(self) -> Option<WallTime> {
        self.0.map(|time| WallTime(time.get()))
    }
}

impl From<Option<WallTime>> for Noted {
    fn from(time: Option<WallTime>) -> Self {
        Self(time.and_then(|time| NonZero::new(time.0)))
    }
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRecord {
    /// Tells a pod from its successor of the same name.
    pub uid: Uid,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The node it is bound to; only that node's agent is believed about it.
    pub node: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Its controller, if it has one.
    pub owner: Option<Arc<Owner>>,
    /// When it was made in the API.
    pub created: Noted,
    /// When it last became ready.
    pub ready: Noted,
    /// Its running containers, in the order in which they are served.
    pub containers: Box<[ContainerRecord]>,
    /// The containers that ran before, and until when (on the node's clock).
    pub previous: Option<Box<(Box<[ContainerRecord]>, BootTime)>>,
}

const _: () = assert!(size_of::<PodRecord>() == 136, "one is kept for every pod of the cluster");

impl PodRecord {
    /// Its container of this id, if the API says that it runs or ran before.
    pub(crate) fn known_container(&self, id: &ContainerId) -> Option<&ContainerRecord> {
        let former = self.previous.as_deref().into_iter().flat_map(|(containers, _)| containers);
        self.containers
            .iter()
            .chain(former)
            .find(|known| matches!(&known.counter, CounterRef::Container(held) if held == id))
    }

    /// Reads a little of every place in memory where a list looks. The number says nothing.
    pub(super) fn read_ahead(&self) -> usize {
        let first = |text: &str| text.as_bytes().first().copied().map_or(0, usize::from);
        let name = first(&self.name) ^ first(&self.node);
        let labels = self.labels.0.first().map_or(0, |(key, _)| key.len());
        let containers = self.containers.iter().map(|container| container.name.len());
        containers.fold(name ^ labels, |sum, length| sum ^ length)
    }
}

#[cfg(test)]
impl PodRecord {
    /// One of which nothing but this is known.
    pub(crate) fn bare(namespace: &str, name: &str, uid: &str, node: &str) -> Self {
        Self {
            uid: uid.into(),
            namespace: namespace.into(),
            name: name.into(),
            node: node.into(),
            labels: Labels::default(),
            owner: None,
            created: Noted::default(),
            ready: Noted::default(),
            containers: Box::default(),
            previous: None,
        }
    }
}

/// The controller of a pod (`metadata.ownerReferences`, the one with `controller: true`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// For example `ReplicaSet`.
    pub kind: Arc<str>,
    /// Its name; it is in the pod's namespace.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Arc<str>,
}

/// A running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its name in the pod.
    pub name: Arc<str>,
    /// Its counter.
    pub counter: CounterRef,
    /// Where that was found in its node's part of the store.
    pub place: LastPlace,
}

impl ContainerRecord {
    /// One that was not looked for yet.
    #[must_use]
    pub fn new(name: Arc<str>, counter: CounterRef) -> Self {
        Self { name, counter, place: LastPlace::default() }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// When it was made or first seen.
    pub created: WallTime,
    /// Where its kubelet is; none where nobody polls kubelets.
    pub kubelet: Option<Box<KubeletRecord>>,
}

/// Where a node says that its kubelet is. Nothing else of a node's status is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubeletRecord {
    /// In the order of the status.
    pub addresses: Vec<(AddressType, Arc<str>)>,
    /// `status.daemonEndpoints.kubeletEndpoint.Port`.
    pub port: Option<u16>,
    /// Annotation `metrics.k8s.io/resource-metrics-path`.
    pub path: Option<Arc<str>>,
}

/// What an address of a node is (`NodeAddressType` of Kubernetes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// A host name.
    Hostname,
    /// A name in the cluster's DNS.
    InternalDns,
    /// An address within the cluster.
    InternalIp,
    /// A name in public DNS.
    ExternalDns,
    /// An address from outside.
    ExternalIp,
}

impl AddressType {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Hostname, Self::InternalDns, Self::InternalIp, Self::ExternalDns, Self::ExternalIp];

    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hostname => "Hostname",
            Self::InternalDns => "InternalDNS",
            Self::InternalIp => "InternalIP",
            Self::ExternalDns => "ExternalDNS",
            Self::ExternalIp => "ExternalIP",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_the_first_of_a_repeated_key_counts() {
        let labels = Labels::from_iter([("b", "2"), ("a", "1"), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(labels.get("b"), Some("2"));
        assert_eq!(labels.get("c"), None);
    }
}
