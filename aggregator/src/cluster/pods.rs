//! What is said of pods, into the directory.
//!
//! When other containers run in a pod than before, the former ones are noted beside them, so that the pod's last
//! whole picture can be shown until the new ones are measured.

use std::{collections::HashSet, sync::Arc};

use kube::runtime::watcher::Event;
use kubevitals::sample::BootTime;
use prometheus_client::metrics::gauge::Gauge;

use super::pod::Pod;
use crate::{
    directory::{ContainerRecord, Directory, PodRecord, Uid},
    store::Store,
};

/// Keeps the directory's pods as the cluster's are.
pub(super) struct Pods {
    directory: Arc<Directory>,
    store: Arc<Store>,
    known: Gauge,
    /// UIDs of the pods that were known before the list that is being read, and have not come in it yet. `None` until
    /// something of the list was read: lists that fail at once cost nothing.
    unlisted: Option<HashSet<Uid>>,
}

impl Pods {
    pub(super) fn new(directory: Arc<Directory>, store: Arc<Store>, known: Gauge) -> Self {
        Self { directory, store, known, unlisted: None }
    }

    /// Takes over one event.
    pub(super) fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.unlisted = None,
            Event::InitApply(pod) => {
                let Self { unlisted, directory, .. } = self;
                let unlisted = unlisted.get_or_insert_with(|| known(directory));
                if let Some((.., uid)) = pod.identity() {
                    unlisted.remove(&uid);
                }
                self.apply(pod);
            }
            Event::InitDone => self.remove_unlisted(),
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.remove_object(&pod),
        }
    }

    fn apply(&self, pod: Pod) {
        match pod {
            Pod { record: Some(record), mirror_of, .. } => self.put(record, mirror_of),
            pod => self.remove_object(&pod),
        }
    }

    fn put(&self, mut record: PodRecord, mirror_of: Option<Uid>) {
        let held = self.directory.pod(&record.namespace, &record.name);
        // A pod made anew under the same name takes nothing over.
        let same = |held: &&PodRecord| held.uid == record.uid && held.node == record.node;
        if let Some(held) = held.as_deref().filter(same) {
            record.previous = self.previous(held, &record);
        }
        if held.as_deref() == Some(&record) {
            return;
        }
        if held.is_none() {
            self.known.inc();
        }
        self.directory.put_pod_of(record, mirror_of);
    }

    /// The containers before those of `record`. A former set of which one was never measured makes no picture,
    /// so the one before it stays: a container that restarts twice does not hide its pod.
    fn previous(
        &self,
        held: &PodRecord,
        record: &PodRecord,
    ) -> Option<Box<(Box<[ContainerRecord]>, BootTime)>> {
        if held.containers == record.containers {
            return held.previous.clone();
        }
        match self.last_measured(held) {
            Some(until) => Some(Box::new((held.containers.clone(), until))),
            None => held.previous.clone(),
        }
    }

    /// When the containers of a pod were last measured, by the node's clock; `None` unless all of them were.
    fn last_measured(&self, held: &PodRecord) -> Option<BootTime> {
        let shard = self.store.shard(&held.node)?;
        let state = shard.read();
        let newest = |container: &ContainerRecord| Some(state.ring(&container.counter)?.newest()?.time);
        let times: Option<Vec<BootTime>> = held.containers.iter().map(newest).collect();
        // A tick's readings come a little after its beginning; all of the last one belong to the former set.
        let latest = times?.into_iter().max()?;
        Some(latest.max(state.last_tick()))
    }

    fn remove_object(&self, pod: &Pod) {
        if let Some((namespace, name, uid)) = pod.identity() {
            self.remove(namespace, name, &uid);
        }
    }

    fn remove(&self, namespace: &str, name: &str, uid: &Uid) {
        let held = self.directory.pod(namespace, name);
        if held.is_some_and(|held| held.uid == *uid) {
            self.directory.remove_pod(namespace, name, uid);
            self.known.dec();
        }
    }

    /// Removes what a complete list did not name.
    fn remove_unlisted(&mut self) {
        // An empty list names nobody.
        let unlisted = self.unlisted.take().unwrap_or_else(|| known(&self.directory));
        for gone in self.directory.pods(|held| unlisted.contains(&held.uid)) {
            self.remove(&gone.namespace, &gone.name, &gone.uid);
        }
    }
}

/// The UIDs of all pods that are known. Before a first list there are none, so that nothing is noted that would leave gaps
/// between the names in memory.
fn known(directory: &Directory) -> HashSet<Uid> {
    directory.pods(|_| true).iter().map(|pod| pod.uid.clone()).collect()
}

#[cfg(test)]
mod tests;
