//! Finding what is selected, step by step in a stable order: nodes by name, pods by namespace and name.
//!
//! A step looks at a bounded number of records and holds the directory's lock for microseconds; nothing is copied but
//! references. What begins to exist or ends between two steps is found or not; all else is found exactly once.

use std::sync::Arc;

use super::selection::{Level, Selection};
use crate::{
    api::source::PodPlace,
    directory::{Directory, NodeRecord, PodRecord, Scope},
};

/// So many names are looked up one by one rather than found by a look at all.
const LOOKED_UP: usize = 1000;

/// A place in the order, after the node or pod of this name; nodes have no namespace.
pub type Place = PodPlace;

/// Something selected. At the level of containers it is their pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A node.
    Node(Arc<NodeRecord>),
    /// A pod.
    Pod(Arc<PodRecord>),
}

impl Found {
    /// Its place in the order.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Node(node) => Place { namespace: Arc::from(""), name: Arc::clone(&node.name) },
            Self::Pod(pod) => place(pod),
        }
    }
}

/// Some of what is selected, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Perhaps none, even if it is not the last step.
    pub found: Vec<Found>,
    /// Where to go on; `None` at the end.
    pub next: Option<Place>,
}

/// The next step after a place.
#[must_use]
pub fn step(directory: &Directory, selection: &Selection, after: Option<&Place>) -> Step {
    match selection.level() {
        Level::Nodes => nodes(directory, selection, after),
        Level::Pods | Level::Containers => pods(directory, selection, after),
    }
}

fn nodes(directory: &Directory, selection: &Selection, after: Option<&Place>) -> Step {
    let after = after.map(|place| place.name.as_ref());
    let (records, next) = if selection.names().is_empty() {
        let records = directory.nodes_after(after);
        let next = records.last().map(|last| Arc::clone(&last.name));
        (records, next)
    } else {
        let names = selection.names().iter().filter(|name| after.is_none_or(|after| name.as_ref() > after));
        (names.filter_map(|name| directory.node(name)).collect(), None)
    };
    Step {
        found: records.into_iter().filter(|node| selection.has_node(node)).map(Found::Node).collect(),
        next: next.map(|name| Place { namespace: Arc::from(""), name }),
    }
}

fn pods(directory: &Directory, selection: &Selection, after: Option<&Place>) -> Step {
    if let Some(mut records) = looked_up(directory, selection) {
        records.retain(|pod| selection.has_pod(pod) && after.is_none_or(|after| place(pod) > *after));
        records.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        return Step { found: records.into_iter().map(Found::Pod).collect(), next: None };
    }
    let namespaces = selection.namespaces();
    if namespaces.is_empty() {
        return page(directory, selection, None, after);
    }
    let begin = after.map_or(0, |place| namespaces.partition_point(|one| *one < place.namespace));
    let mut found = Vec::new();
    for namespace in namespaces.iter().skip(begin) {
        let step = page(directory, selection, Some(namespace), after);
        found.extend(step.found);
        if step.next.is_some() {
            return Step { found, next: step.next };
        }
        // Small namespaces go together, but one that has many pods ends the step.
        if let Some(last) = found.last().filter(|_| found.len() >= LOOKED_UP) {
            let next = Some(last.place());
            return Step { found, next };
        }
    }
    Step { found, next: None }
}

/// The pods that are asked for one by one, if they are, in no order.
fn looked_up(directory: &Directory, selection: &Selection) -> Option<Vec<Arc<PodRecord>>> {
    if !selection.uids().is_empty() {
        let pods = selection.uids().iter().filter_map(|uid| directory.pod_by_uid(uid));
        return Some(pods.collect());
    }
    let (namespaces, names) = (selection.namespaces(), selection.names());
    let count = namespaces.len() * names.len();
    if count == 0 || count > LOOKED_UP {
        return None;
    }
    let pairs = namespaces.iter().flat_map(|namespace| names.iter().map(move |name| (namespace, name)));
    Some(pairs.filter_map(|(namespace, name)| directory.pod(namespace, name)).collect())
}

/// One page of one namespace, or of all.
fn page(
    directory: &Directory,
    selection: &Selection,
    namespace: Option<&str>,
    after: Option<&Place>,
) -> Step {
    let name = match selection.names() {
        [one] => Some(one.as_ref()),
        _ => None,
    };
    let scope = Scope { namespace, labels: selection.labels(), name };
    let page = directory.page_of(&scope, &|pod| selection.has_pod(pod), after);
    Step { found: page.records.into_iter().map(Found::Pod).collect(), next: page.next }
}

fn place(pod: &PodRecord) -> Place {
    Place { namespace: Arc::clone(&pod.namespace), name: Arc::clone(&pod.name) }
}

#[cfg(test)]
mod tests;
