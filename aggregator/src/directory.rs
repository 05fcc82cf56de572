//! Who is who: pods and nodes by name, with the containers that make up each pod.
//!
//! Written by whatever knows names (`names.rs`), read by the API. A reader takes shared records out and lets go
//! of the lock before it computes anything, and takes so few at a time that no writer waits for long.

mod by_name;
mod followers;
mod index;
mod record;
mod shared;
mod uid;
mod uids;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

pub use self::{
    record::{AddressType, ContainerRecord, KubeletRecord, Labels, NodeRecord, Noted, Owner, PodRecord},
    uid::Uid,
    uids::Whose,
};

use self::{by_name::ByName, followers::Followers, index::LabelIndex, shared::Shared, uids::Uids};
use crate::api::{
    select::{Field, LabelSelector},
    source::{PodPlace, PodSelection},
};

/// Most pods of a page, and most that are looked at for it under the lock.
const PAGE: usize = 128;
const LOOKED_AT: usize = 4096;

/// The pods of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    pods: BTreeSet<ByName>,
    labels: LabelIndex,
}

/// All pods, by name and by UID.
#[derive(Debug, Default)]
struct Pods {
    namespaces: BTreeMap<Arc<str>, Namespace>,
    uids: Uids,
}

/// Some pods of a list, in order.
#[derive(Debug)]
pub struct Page {
    /// The pods that are wanted.
    pub records: Vec<Arc<PodRecord>>,
    /// Where to go on; `None` at the end.
    pub next: Option<PodPlace>,
}

/// Has the processor read side by side what is about to be said of each pod. In a large cluster nothing of it is in its
/// caches, and what is read one after the other waits for memory each time.
pub fn read_ahead(records: &[Arc<PodRecord>]) {
    let read = |sum: usize, record: &Arc<PodRecord>| sum ^ record.read_ahead();
    std::hint::black_box(records.iter().fold(0, read));
}

/// Where to look for pods.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// In this namespace alone.
    pub namespace: Option<&'a str>,
    /// Among those that may have such labels.
    pub labels: &'a LabelSelector,
    /// In each namespace for this name alone.
    pub name: Option<&'a str>,
}

/// A look for some pods, bounded in what it finds and in what it looks at.
struct Looking<'a> {
    scope: &'a Scope<'a>,
    wanted: &'a dyn Fn(&PodRecord) -> bool,
    records: Vec<Arc<PodRecord>>,
    left: usize,
}

impl Looking<'_> {
    /// Looks at one pod; whether that was the last for now.
    fn at(&mut self, record: &Arc<PodRecord>) -> bool {
        if (self.wanted)(record) {
            self.records.push(Arc::clone(record));
        }
        self.left = self.left.saturating_sub(1);
        self.left == 0 || self.records.len() >= PAGE
    }
}

impl Namespace {
    /// What was there under the same name.
    fn put(&mut self, record: &Arc<PodRecord>) -> Option<Arc<PodRecord>> {
        let before = self.pods.replace(ByName(Arc::clone(record))).map(ByName::into_record);
        // Most changes of a pod are not of its labels.
        if let Some(before) = before.as_ref().filter(|before| before.labels != record.labels) {
            self.labels.remove(before);
        }
        self.labels.put(record);
        before
    }

    fn get(&self, name: &str) -> Option<&Arc<PodRecord>> {
        self.pods.get(name).map(|ByName(record)| record)
    }

    fn remove(&mut self, name: &str, uid: &Uid) -> Option<Arc<PodRecord>> {
        self.get(name).filter(|record| record.uid == *uid)?;
        let ByName(record) = self.pods.take(name)?;
        self.labels.remove(&record);
        Some(record)
    }

    /// Looks at the pods whose names come after `from`; the name of the last one when there may be more.
    fn collect(&self, looking: &mut Looking<'_>, from: Option<&str>) -> Option<Arc<str>> {
        if let Some(name) = looking.scope.name {
            let record = self.get(name).filter(|record| from.is_none_or(|from| from < record.name.as_ref()));
            return record.and_then(|record| looking.at(record).then(|| Arc::clone(&record.name)));
        }
        if let Some(lists) = self.candidates(looking.scope.labels) {
            return collect_listed(looking, &lists, from);
        }
        let begin = from.map_or(Bound::Unbounded, Bound::Excluded);
        let mut records = self.pods.range::<str, _>((begin, Bound::Unbounded)).map(|ByName(record)| record);
        fetch(records.clone().take(PAGE));
        records.find(|record| looking.at(record)).map(|record| Arc::clone(&record.name))
    }

    /// The pods that the most selective requirement leaves; `None` when no requirement names values.
    fn candidates(&self, labels: &LabelSelector) -> Option<Vec<&[Arc<PodRecord>]>> {
        let lists = labels.required_values().map(|(key, values)| self.labels.candidates(key, values));
        lists.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>())
    }
}

/// Looks at the pods of several lists sorted by name; the name of the last one when there may be more.
fn collect_listed(
    looking: &mut Looking<'_>,
    lists: &[&[Arc<PodRecord>]],
    from: Option<&str>,
) -> Option<Arc<str>> {
    let mut from: Option<&str> = from;
    loop {
        // The first names of all lists together are among the first of each.
        let mut records: Vec<&Arc<PodRecord>> = Vec::new();
        for list in lists {
            let begin = list.partition_point(|held| from.is_some_and(|from| held.name.as_ref() <= from));
            records.extend(list.iter().skip(begin).take(PAGE));
        }
        records.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        records.dedup_by(|one, other| one.name == other.name);
        records.truncate(PAGE);
        let last = *records.last()?;
        if let Some(record) = records.into_iter().find(|record| looking.at(record)) {
            return Some(Arc::clone(&record.name));
        }
        from = Some(last.name.as_ref());
    }
}

/// Has the processor read these records side by side, before one after the other is counted as held by one more: that
/// cannot begin before the one before it is done, and in a large cluster each would be a wait for memory.
fn fetch<'a>(records: impl Iterator<Item = &'a Arc<PodRecord>>) {
    std::hint::black_box(records.fold(0, |sum, record| sum ^ Arc::strong_count(record)));
}

/// The records.
#[derive(Debug, Default)]
pub struct Directory {
    pods: RwLock<Pods>,
    shared: Mutex<Shared>,
    nodes: RwLock<BTreeMap<Arc<str>, Arc<NodeRecord>>>,
    /// Counts what [`node_set`](Self::node_set) says.
    node_set: AtomicU64,
    followers: Followers,
}

impl Directory {
    fn read_pods(&self) -> RwLockReadGuard<'_, Pods> {
        self.pods.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_pods(&self) -> RwLockWriteGuard<'_, Pods> {
        self.pods.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or replaces a pod that its node knows by the same UID as the API.
    pub fn put_pod(&self, record: PodRecord) {
        self.put_pod_of(record, None);
    }

    /// Adds or replaces a pod; the mirror of a static pod with the UID under which its node knows it.
    pub fn put_pod_of(&self, record: PodRecord, mirror_of: Option<Uid>) {
        let record = self.shared.lock().unwrap_or_else(PoisonError::into_inner).share(record);
        let record = Arc::new(record);
        let before = {
            let mut pods = self.write_pods();
            let before = pods.namespaces.entry(Arc::clone(&record.namespace)).or_default().put(&record);
            let other = before.filter(|before| before.uid != record.uid);
            if let Some(other) = &other {
                pods.uids.remove(&other.uid);
            }
            pods.uids.put(Arc::clone(&record), mirror_of);
            other
        };
        self.followers.tell(&record.node);
        if let Some(other) = before.filter(|other| other.node != record.node) {
            self.followers.tell(&other.node);
        }
    }

    /// Removes a pod, unless another has taken its name.
    pub fn remove_pod(&self, namespace: &str, name: &str, uid: &Uid) {
        let removed = {
            let mut pods = self.write_pods();
            let Some(held) = pods.namespaces.get_mut(namespace) else {
                return;
            };
            let removed = held.remove(name, uid);
            if held.pods.is_empty() {
                pods.namespaces.remove(namespace);
            }
            if removed.is_some() {
                pods.uids.remove(uid);
            }
            removed
        };
        if let Some(removed) = removed {
            self.followers.tell(&removed.node);
        }
    }

    /// A pod by its UID in the API.
    #[must_use]
    pub fn pod_by_uid(&self, uid: &Uid) -> Option<Arc<PodRecord>> {
        self.read_pods().uids.get(uid).cloned()
    }

    /// Whose pod it is that `node` announces as `uid`.
    #[must_use]
    pub fn whose(&self, uid: &Uid, node: &str) -> Whose {
        self.read_pods().uids.whose(uid, node)
    }

    /// Told from now on whenever a pod of `node` was added, changed or removed.
    #[must_use]
    pub fn follow(&self, node: &str) -> watch::Receiver<()> {
        self.followers.follow(node)
    }

    /// One pod.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Arc<PodRecord>> {
        self.read_pods().namespaces.get(namespace)?.get(name).cloned()
    }

    /// Every pod for which `wanted` says so, by namespace and name; for upkeep, not for requests.
    #[must_use]
    pub fn pods(&self, wanted: impl Fn(&PodRecord) -> bool) -> Vec<Arc<PodRecord>> {
        let pods = self.read_pods();
        let records =
            pods.namespaces.values().flat_map(|namespace| &namespace.pods).map(|ByName(record)| record);
        records.filter(|record| wanted(record)).cloned().collect()
    }

    /// The namespaces that have pods, sorted.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        self.read_pods().namespaces.keys().cloned().collect()
    }

    /// How many pods there are, in one namespace or in all.
    #[must_use]
    pub fn count(&self, namespace: Option<&str>) -> usize {
        let pods = self.read_pods();
        match namespace {
            Some(name) => pods.namespaces.get(name).map_or(0, |namespace| namespace.pods.len()),
            None => pods.namespaces.values().map(|namespace| namespace.pods.len()).sum(),
        }
    }

    /// The next of the wanted pods, by namespace and name.
    #[must_use]
    pub fn page(&self, wanted: &PodSelection<'_>, after: Option<&PodPlace>) -> Page {
        let scope = Scope {
            namespace: wanted.namespace.or_else(|| wanted.fields.required(Field::Namespace)),
            labels: wanted.labels,
            name: wanted.fields.required(Field::Name),
        };
        self.page_of(&scope, &|pod| wanted.matches(pod), after)
    }

    /// The next pods in `scope` for which `wanted` says so, by namespace and name. It is asked under the lock.
    #[must_use]
    pub fn page_of(
        &self,
        scope: &Scope<'_>,
        wanted: &dyn Fn(&PodRecord) -> bool,
        after: Option<&PodPlace>,
    ) -> Page {
        let pods = self.read_pods();
        let single = scope.namespace;
        let begin = match (single, after) {
            (Some(one), _) => Bound::Included(one),
            (None, Some(place)) => Bound::Included(place.namespace.as_ref()),
            (None, None) => Bound::Unbounded,
        };
        let namespaces = pods
            .namespaces
            .range::<str, _>((begin, Bound::Unbounded))
            .take_while(|(name, _)| single.is_none_or(|single| single == name.as_ref()));
        let mut looking = Looking { scope, wanted, records: Vec::new(), left: LOOKED_AT };
        for (name, namespace) in namespaces {
            let from = after.filter(|place| place.namespace == *name).map(|place| place.name.as_ref());
            if let Some(last) = namespace.collect(&mut looking, from) {
                let next = Some(PodPlace { namespace: Arc::clone(name), name: last });
                return Page { records: looking.records, next };
            }
        }
        Page { records: looking.records, next: None }
    }

    /// Adds or replaces a node.
    pub fn put_node(&self, record: NodeRecord) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let created = record.created;
        let before = nodes.insert(Arc::clone(&record.name), Arc::new(record));
        if before.is_none_or(|before| before.created != created) {
            self.node_set.fetch_add(1, Ordering::Release);
        }
    }

    /// Removes a node; its pods stay until they are removed themselves.
    pub fn remove_node(&self, name: &str) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.node_set.fetch_add(1, Ordering::Release);
    }

    /// A number that is another one whenever nodes came or went, or one was made anew; what else of them changes does not
    /// matter. Each batch of an agent asks, so that its node is looked for only then.
    #[must_use]
    pub fn node_set(&self) -> u64 {
        self.node_set.load(Ordering::Acquire)
    }

    /// One node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<NodeRecord>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The next nodes by name; at most one page of them.
    #[must_use]
    pub fn nodes_after(&self, after: Option<&str>) -> Vec<Arc<NodeRecord>> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        nodes
            .range::<str, _>((begin, Bound::Unbounded))
            .take(PAGE)
            .map(|(_, record)| Arc::clone(record))
            .collect()
    }

    /// All nodes, by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<NodeRecord>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use kubevitals::sample::WallTime;
    use proptest::prelude::*;

    use super::*;
    use crate::api::select::FieldSelector;

    fn pod(namespace: &str, name: &str, uid: &str) -> PodRecord {
        PodRecord::bare(namespace, name, uid, "n")
    }

    /// Everything that is wanted, page by page.
    fn listed(directory: &Directory, namespace: Option<&str>, labels: &str, fields: &str) -> Vec<String> {
        let labels = LabelSelector::parse(labels).unwrap();
        let fields = FieldSelector::parse(fields, Field::OF_PODS).unwrap();
        let wanted = PodSelection { namespace, labels: &labels, fields: &fields };
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = directory.page(&wanted, after.as_ref());
            names.extend(page.records.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    }

    #[test]
    fn the_set_of_nodes_changes_when_one_comes_or_goes_or_is_made_anew() {
        let directory = Directory::default();
        let mut seen = vec![directory.node_set()];
        let mut put = |created: u64, port: Option<u16>| {
            let kubelet =
                port.map(|port| Box::new(KubeletRecord { port: Some(port), ..KubeletRecord::default() }));
            let labels = Labels::default();
            directory.put_node(NodeRecord { name: "n".into(), labels, created: WallTime(created), kubelet });
            seen.push(directory.node_set());
        };
        put(1, None);
        put(1, Some(7));
        put(2, Some(7));
        directory.remove_node("n");
        seen.push(directory.node_set());
        let changed: Vec<bool> = seen.windows(2).map(|two| two[0] != two[1]).collect();
        assert_eq!(changed, [true, false, true, true]);
    }

    #[test]
    fn pods_are_listed_by_namespace_and_name() {
        let directory = Directory::default();
        for (namespace, name) in [("b", "x"), ("a", "z"), ("a-b", "q"), ("a", "y")] {
            directory.put_pod(pod(namespace, name, "1"));
        }
        assert_eq!(listed(&directory, None, "", ""), ["a/y", "a/z", "a-b/q", "b/x"]);
        assert_eq!(listed(&directory, Some("a"), "", ""), ["a/y", "a/z"]);
        assert!(listed(&directory, Some("none"), "", "").is_empty());
        assert_eq!(listed(&directory, None, "", "metadata.namespace=a,metadata.name=z"), ["a/z"]);
        assert!(listed(&directory, Some("b"), "", "metadata.namespace=a").is_empty());
    }

    #[test]
    fn a_changed_pod_is_found_by_its_new_labels_alone() {
        let directory = Directory::default();
        let labelled =
            |value: &str| PodRecord { labels: [("app", value)].into_iter().collect(), ..pod("a", "x", "1") };
        directory.put_pod(labelled("old"));
        directory.put_pod(labelled("new"));
        assert!(listed(&directory, None, "app=old", "").is_empty());
        assert_eq!(listed(&directory, None, "app=new", ""), ["a/x"]);
    }

    proptest! {
        #[test]
        fn the_index_and_the_pages_find_what_a_look_at_every_pod_finds(
            pods in proptest::collection::vec(("[ab]", "[a-d]{1,4}", "[xyz]", "[xyz]"), 0..600),
            selector in "(k=[xyz]|k in \\([xyz],[xyz]\\)|k=[xyz],m=[xyz]|k!=[xyz]|m,k in \\(x,y,z\\)|!m)",
            namespace in proptest::option::of("[abc]"),
        ) {
            let directory = Directory::default();
            for (namespace, name, k, m) in &pods {
                let labels = [("k", k.as_str()), ("m", m.as_str())].into_iter().collect();
                directory.put_pod(PodRecord { labels, ..pod(namespace, name, "1") });
            }
            let labels = LabelSelector::parse(&selector).unwrap();
            let all = directory.pods(|pod| {
                labels.matches(&pod.labels) && namespace.as_deref().is_none_or(|name| name == pod.namespace.as_ref())
            });
            let expected: Vec<String> = all.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
            prop_assert_eq!(listed(&directory, namespace.as_deref(), &selector, ""), expected);
        }
    }

    #[test]
    fn a_late_removal_does_not_take_the_successor() {
        let directory = Directory::default();
        directory.put_pod(pod("a", "x", "new"));
        directory.remove_pod("a", "x", &"old".into());
        assert!(directory.pod("a", "x").is_some());
        directory.remove_pod("a", "x", &"new".into());
        assert!(directory.pod("a", "x").is_none());
    }
}
