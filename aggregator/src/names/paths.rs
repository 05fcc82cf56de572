//! Names made of cgroup paths, for machines without Kubernetes and for tests.
//!
//! A pod below a kubepods tree is served in namespace `kubepods` under its UID; any other cgroup as `place.rs`
//! says. A pod is there while one of its containers is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kubevitals::{
    chain::{Announcement, Decoder, Tick},
    sample::{BootTime, Qos, SeriesId, Subject},
};

use super::place::{path_labels, place};
use crate::{
    api::source::Labels,
    directory::{ContainerRecord, Directory, NodeRecord, Noted, PodRecord, Uid},
    store::node::CounterRef,
};

/// Namespace of Kubernetes pods, whose own is not known.
const KUBEPODS: &str = "kubepods";

/// So many characters of a container's id name it; the runtimes' own tools show as many.
const SHORT_ID: usize = 12;

/// Names of all nodes.
#[derive(Debug)]
pub struct PathNames {
    /// With several nodes, cgroups of the same path need the node in their pod's name.
    many_nodes: bool,
    nodes: Mutex<HashMap<Arc<str>, NodeNames>>,
}

#[derive(Debug)]
struct NodeNames {
    node: Arc<str>,
    last_tick: BootTime,
    series: HashMap<SeriesId, PodKey>,
    pods: BTreeMap<PodKey, Pod>,
}

/// Namespace and name.
type PodKey = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Pod {
    uid: Uid,
    labels: Labels,
    containers: Vec<(SeriesId, ContainerRecord)>,
    previous: Option<(Box<[ContainerRecord]>, BootTime)>,
}

/// Where one series belongs.
struct Named {
    key: PodKey,
    uid: Uid,
    labels: Labels,
    container: ContainerRecord,
}

impl PathNames {
    /// Names for one machine, or for `many_nodes`.
    #[must_use]
    pub fn new(many_nodes: bool) -> Self {
        Self { many_nodes, nodes: Mutex::default() }
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<Arc<str>, NodeNames>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over everything that is live in a chain.
    pub(super) fn resync(&self, directory: &Directory, node: &str, tick: &Tick, chain: &Decoder) {
        let mut nodes = self.nodes();
        let node: Arc<str> = Arc::from(node);
        if directory.node(&node).is_none() {
            let labels = Labels::from_iter([("kubernetes.io/hostname", Arc::clone(&node))]);
            directory.put_node(NodeRecord {
                name: Arc::clone(&node),
                labels,
                created: tick.wall,
                kubelet: None,
            });
        }
        let mut names = NodeNames::new(&node);
        names.last_tick = tick.time;
        let before = nodes.remove(&node).unwrap_or_else(|| NodeNames::new(&node));
        for announcement in chain.announcements() {
            if let Some(named) = self.name(&node, &announcement) {
                names.add(announcement.series, named);
            }
        }
        for (key, pod) in &mut names.pods {
            let held = before.pods.get(key).filter(|held| held.counters() != pod.counters());
            pod.previous = held.map(|held| (held.records(), just_before(tick)));
        }
        for (key, pod) in &before.pods {
            if !names.pods.contains_key(key) {
                directory.remove_pod(&key.0, &key.1, &pod.uid);
            }
        }
        names.pods.iter().for_each(|(key, pod)| directory.put_pod(pod.record(key, &node)));
        nodes.insert(node, names);
    }

    /// Takes over what one tick changed.
    pub(super) fn changed(&self, directory: &Directory, node: &str, tick: &Tick) {
        let mut nodes = self.nodes();
        let Some(names) = nodes.get_mut(node) else { return };
        let young = tick.time.since(names.last_tick) * 2;
        names.last_tick = tick.time;
        if tick.announced.is_empty() && tick.ended.is_empty() {
            return;
        }
        let node = Arc::clone(&names.node);
        let mut touched: BTreeMap<PodKey, Box<[ContainerRecord]>> = BTreeMap::new();
        for farewell in &tick.ended {
            if let Some(key) = names.series.remove(&farewell.series) {
                names.touch(&key, &mut touched);
                names.remove(&key, farewell.series);
            }
        }
        for announcement in &tick.announced {
            if let Some(named) = self.name(&node, announcement) {
                names.touch(&named.key, &mut touched);
                names.add(announcement.series, named);
            }
        }
        for (key, before) in touched {
            names.publish(directory, &key, &node, before, just_before(tick), young);
        }
    }

    /// Forgets a node and its pods.
    pub(super) fn forget(&self, directory: &Directory, node: &str) {
        let Some(names) = self.nodes().remove(node) else {
            return;
        };
        for (key, pod) in &names.pods {
            directory.remove_pod(&key.0, &key.1, &pod.uid);
        }
        directory.remove_node(node);
    }

    /// The names of a series; `None` for what is no container.
    fn name(&self, node: &str, announcement: &Announcement) -> Option<Named> {
        match &announcement.subject {
            Subject::Node | Subject::Pod { .. } | Subject::Unknown => None,
            Subject::Container { pod, id, qos } => {
                let mut labels = vec![("kubevitals.io/pod-uid".to_owned(), pod.to_string())];
                labels.extend(qos.map(|qos: Qos| ("kubevitals.io/qos".to_owned(), qos.as_str().to_owned())));
                let id_text = id.to_string();
                let name = id_text.get(..SHORT_ID).unwrap_or(&id_text);
                let container = ContainerRecord::new(Arc::from(name), CounterRef::Container(id.clone()));
                let key = (Arc::from(KUBEPODS), Arc::from(pod.as_str()));
                Some(Named { key, uid: pod.as_str().into(), labels: Labels::from_iter(labels), container })
            }
            Subject::Cgroup { path } => {
                let place = place(path);
                let pod = if self.many_nodes { format!("{}-{node}", place.pod) } else { place.pod };
                let container =
                    ContainerRecord::new(Arc::from(place.container), CounterRef::Cgroup(path.clone()));
                Some(Named {
                    key: (Arc::from(place.namespace), Arc::from(pod)),
                    labels: Labels::from_iter(path_labels(&place.unit)),
                    uid: place.unit.into(),
                    container,
                })
            }
        }
    }
}

/// What a tick replaces was so until just before it; its own readings belong to what it brings.
fn just_before(tick: &Tick) -> BootTime {
    BootTime(tick.time.0.saturating_sub(1))
}

impl NodeNames {
    fn new(node: &Arc<str>) -> Self {
        Self { node: Arc::clone(node), last_tick: BootTime(0), series: HashMap::new(), pods: BTreeMap::new() }
    }

    fn add(&mut self, series: SeriesId, named: Named) {
        let Named { key, uid, labels, container } = named;
        self.series.insert(series, key.clone());
        let pod = self.pods.entry(key).or_insert_with(|| Pod {
            uid,
            labels,
            containers: Vec::new(),
            previous: None,
        });
        // The same container may be announced anew, under another number.
        pod.containers.retain(|(_, held)| held.counter != container.counter);
        pod.containers.push((series, container));
        pod.containers.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    }

    fn remove(&mut self, key: &PodKey, series: SeriesId) {
        if let Some(pod) = self.pods.get_mut(key) {
            pod.containers.retain(|(held, _)| *held != series);
        }
    }

    /// Notes a pod that is about to change, with its containers as they were.
    fn touch(&self, key: &PodKey, touched: &mut BTreeMap<PodKey, Box<[ContainerRecord]>>) {
        touched
            .entry(key.clone())
            .or_insert_with(|| self.pods.get(key).map(Pod::records).unwrap_or_default());
    }

    fn publish(
        &mut self,
        directory: &Directory,
        key: &PodKey,
        node: &Arc<str>,
        before: Box<[ContainerRecord]>,
        time: BootTime,
        young: Duration,
    ) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        if pod.containers.is_empty() {
            directory.remove_pod(&key.0, &key.1, &pod.uid);
            self.pods.remove(key);
            return;
        }
        // A set that came less than two ticks ago has made no picture; the one before it stays.
        let is_young = pod.previous.as_ref().is_some_and(|(_, until)| time.since(*until) < young);
        if !before.is_empty() && !is_young {
            pod.previous = Some((before, time));
        }
        directory.put_pod(pod.record(key, node));
    }
}

impl Pod {
    fn records(&self) -> Box<[ContainerRecord]> {
        self.containers.iter().map(|(_, container)| container.clone()).collect()
    }

    fn counters(&self) -> Vec<&CounterRef> {
        self.containers.iter().map(|(_, container)| &container.counter).collect()
    }

    fn record(&self, key: &PodKey, node: &Arc<str>) -> PodRecord {
        PodRecord {
            uid: self.uid.clone(),
            namespace: Arc::clone(&key.0),
            name: Arc::clone(&key.1),
            node: Arc::clone(node),
            labels: self.labels.clone(),
            owner: None,
            created: Noted::default(),
            ready: Noted::default(),
            containers: self.records(),
            previous: self.previous.clone().map(Box::new),
        }
    }
}
