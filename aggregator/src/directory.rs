//! Who is who: pods and nodes by name, with the containers that make up each pod.
//!
//! Written by whatever knows names (`names.rs`), read by the API. A reader takes shared records out and lets go
//! of the lock before it computes anything.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kubevitals::sample::{BootTime, WallTime};

use crate::{api::source::Labels, store::node::CounterRef};

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRecord {
    /// Tells a pod from its successor of the same name.
    pub uid: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The node it is bound to; only that node's agent is believed about it.
    pub node: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// When it last became ready.
    pub ready: Option<WallTime>,
    /// Its running containers, in the order in which they are served.
    pub containers: Vec<ContainerRecord>,
    /// The containers that ran before, and until when (on the node's clock).
    pub previous: Option<(Vec<ContainerRecord>, BootTime)>,
}

/// A running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its name in the pod.
    pub name: Arc<str>,
    /// Its counter.
    pub counter: CounterRef,
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
}

type Pods = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<PodRecord>>>;

/// The records.
#[derive(Debug, Default)]
pub struct Directory {
    pods: RwLock<Pods>,
    nodes: RwLock<BTreeMap<Arc<str>, Arc<NodeRecord>>>,
}

impl Directory {
    fn read_pods(&self) -> RwLockReadGuard<'_, Pods> {
        self.pods.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_pods(&self) -> RwLockWriteGuard<'_, Pods> {
        self.pods.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces a pod.
    pub fn put_pod(&self, record: PodRecord) {
        let mut pods = self.write_pods();
        let namespace = pods.entry(Arc::clone(&record.namespace)).or_default();
        namespace.insert(Arc::clone(&record.name), Arc::new(record));
    }

    /// Removes a pod, unless another has taken its name.
    pub fn remove_pod(&self, namespace: &str, name: &str, uid: &str) {
        let mut pods = self.write_pods();
        let Some(names) = pods.get_mut(namespace) else {
            return;
        };
        if names.get(name).is_some_and(|record| record.uid.as_ref() == uid) {
            names.remove(name);
        }
        if names.is_empty() {
            pods.remove(namespace);
        }
    }

    /// One pod.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<PodRecord>> {
        self.read_pods().get(namespace)?.get(name).cloned()
    }

    /// The wanted pods of one namespace or of all, by namespace and name.
    #[must_use]
    pub fn pods(&self, namespace: Option<&str>, wanted: impl Fn(&PodRecord) -> bool) -> Vec<Arc<PodRecord>> {
        let pods = self.read_pods();
        let in_scope: Vec<_> = match namespace {
            Some(namespace) => pods.get(namespace).into_iter().collect(),
            None => pods.values().collect(),
        };
        in_scope.into_iter().flat_map(BTreeMap::values).filter(|record| wanted(record)).cloned().collect()
    }

    /// Adds or replaces a node.
    pub fn put_node(&self, record: NodeRecord) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(Arc::clone(&record.name), Arc::new(record));
    }

    /// Removes a node; its pods stay until they are removed themselves.
    pub fn remove_node(&self, name: &str) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<NodeRecord>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All nodes, by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<NodeRecord>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str, uid: &str) -> PodRecord {
        PodRecord {
            uid: uid.into(),
            namespace: namespace.into(),
            name: name.into(),
            node: "n".into(),
            labels: Labels::default(),
            ready: None,
            containers: Vec::new(),
            previous: None,
        }
    }

    #[test]
    fn pods_are_listed_by_namespace_and_name() {
        let directory = Directory::default();
        for (namespace, name) in [("b", "x"), ("a", "z"), ("a-b", "q"), ("a", "y")] {
            directory.put_pod(pod(namespace, name, "1"));
        }
        let names = |namespace| {
            let pods = directory.pods(namespace, |_| true);
            pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["a/y", "a/z", "a-b/q", "b/x"]);
        assert_eq!(names(Some("a")), ["a/y", "a/z"]);
        assert!(names(Some("none")).is_empty());
    }

    #[test]
    fn a_late_removal_does_not_take_the_successor() {
        let directory = Directory::default();
        directory.put_pod(pod("a", "x", "new"));
        directory.remove_pod("a", "x", "old");
        assert!(directory.pod("a", "x").is_some());
        directory.remove_pod("a", "x", "new");
        assert!(directory.pod("a", "x").is_none());
    }
}
