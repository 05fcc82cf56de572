//! What is said of nodes, into the directory.

use std::{collections::HashSet, sync::Arc};

use kube::{Resource, runtime::watcher::Event};
use prometheus_client::metrics::gauge::Gauge;

use crate::directory::{Directory, NodeRecord};

/// Keeps the directory's nodes as the cluster's are.
pub(super) struct Nodes {
    directory: Arc<Directory>,
    known: Gauge,
    /// Names in the list that is being read.
    listed: HashSet<Arc<str>>,
}

impl Nodes {
    pub(super) fn new(directory: Arc<Directory>, known: Gauge) -> Self {
        Self { directory, known, listed: HashSet::new() }
    }

    /// Takes over one event, with what is to be known of a node.
    pub(super) fn take<K: Resource>(&mut self, event: Event<K>, record: impl Fn(&K) -> Option<NodeRecord>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(node) => {
                if let Some(record) = record(&node) {
                    self.listed.insert(Arc::clone(&record.name));
                    self.put(record);
                }
            }
            Event::InitDone => self.keep_listed(),
            Event::Apply(node) => record(&node).into_iter().for_each(|record| self.put(record)),
            Event::Delete(node) => {
                if let Some(name) = &node.meta().name {
                    self.remove(name);
                }
            }
        }
    }

    fn put(&self, record: NodeRecord) {
        match self.directory.node(&record.name) {
            Some(held) if *held == record => return,
            Some(_) => {}
            None => {
                self.known.inc();
            }
        }
        self.directory.put_node(record);
    }

    fn remove(&self, name: &str) {
        if self.directory.node(name).is_some() {
            self.directory.remove_node(name);
            self.known.dec();
        }
    }

    /// Removes what a complete list did not name.
    fn keep_listed(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        for node in self.directory.nodes() {
            if !listed.contains(&node.name) {
                self.remove(&node.name);
            }
        }
    }
}
