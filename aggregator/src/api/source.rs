//! The border between the API and the store: what the API asks for, and what it is told.
//!
//! Answers are finished numbers; how they come about is the store's business. Lists are visited, not returned,
//! so that each answer is encoded and dropped before the next one is made.

use std::{fmt, sync::Arc, time::Duration};

use kubevitals::sample::WallTime;

/// The labels of a pod or node, sorted by key; each key occurs once.
#[derive(Clone, Default, PartialEq, Eq)]
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
    /// The node's name.
    pub name: Arc<str>,
    /// The node's labels.
    pub labels: Labels,
    /// The window's end.
    pub timestamp: WallTime,
    /// The span over which CPU was measured.
    pub window: Duration,
    /// The numbers.
    pub usage: Usage,
}

/// One container's numbers, within its pod's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerAnswer {
    /// The container's name within the pod.
    pub name: Arc<str>,
    /// The numbers.
    pub usage: Usage,
}

/// One pod's numbers: all its containers, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAnswer {
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub name: Arc<str>,
    /// The node it runs on.
    pub node: Arc<str>,
    /// The pod's labels.
    pub labels: Labels,
    /// The window's end.
    pub timestamp: WallTime,
    /// The span over which CPU was measured.
    pub window: Duration,
    /// In a stable order.
    pub containers: Vec<ContainerAnswer>,
}

/// What is known of a pod before anything is computed; filters look at this.
#[derive(Clone, Copy, Debug)]
pub struct PodRef<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub name: &'a str,
    /// The node it runs on.
    pub node: &'a str,
    /// The pod's labels.
    pub labels: &'a Labels,
}

/// What is known of a node before anything is computed; filters look at this.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    /// The node's name.
    pub name: &'a str,
    /// The node's labels.
    pub labels: &'a Labels,
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

/// Where the API gets its answers. Calls may compute, but never wait for the network.
pub trait Source: Send + Sync + 'static {
    /// One node.
    fn node(&self, name: &str) -> Lookup<NodeAnswer>;

    /// Every wanted node that has numbers, sorted by name.
    fn nodes(&self, wanted: &dyn Fn(&NodeRef<'_>) -> bool, visit: &mut dyn FnMut(&NodeAnswer));

    /// One pod.
    fn pod(&self, namespace: &str, name: &str) -> Lookup<PodAnswer>;

    /// Every wanted pod of one namespace (or of all) that has numbers, sorted by namespace and name.
    fn pods(
        &self,
        namespace: Option<&str>,
        wanted: &dyn Fn(&PodRef<'_>) -> bool,
        visit: &mut dyn FnMut(&PodAnswer),
    );

    /// Every machine, sorted by name. Only the core API of `standalone` asks.
    fn node_infos(&self) -> Vec<NodeInfo>;

    /// One machine. Only the core API of `standalone` asks.
    fn node_info(&self, name: &str) -> Option<NodeInfo>;
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
