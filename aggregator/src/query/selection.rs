//! Which nodes, pods or containers are asked for: read once, checked whole, and compared by what it means.
//!
//! Two selections that name the same in another order are equal and have one hash, so that they can share what is
//! computed for them. How what is selected is found is [`super::walk`]'s business.

use std::sync::Arc;

use kubevitals::wire;

use super::faults::Faults;
use crate::{
    api::select::{Field, LabelSelector},
    directory::{NodeRecord, Owner, PodRecord, Uid},
};

/// Most namespaces of one selection: each is asked about by itself.
pub const MOST_NAMESPACES: usize = 100;
/// Most names, UIDs and container names, of each.
pub const MOST_NAMES: usize = 1000;
/// Longest label selector, bytes. The API takes what fits into the head of a request; a watch holds its selector for
/// hours.
pub const LONGEST_SELECTOR: usize = 64 << 10;

/// Longest name of a namespace or container (a DNS label) and of anything else, bytes.
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 253;

/// The label by which a `ReplicaSet` tells its pods from those of its siblings.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What one item of an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Nodes.
    Nodes,
    /// Pods, each the sum of its running containers.
    Pods,
    /// The containers of pods.
    Containers,
}

/// A checked selection; equal to any other that asks for the same in other words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    level: Level,
    labels: LabelSelector,
    /// All of them sorted and distinct.
    namespaces: Box<[Arc<str>]>,
    names: Box<[Arc<str>]>,
    uids: Box<[Uid]>,
    containers: Box<[Arc<str>]>,
    node: Option<Arc<str>>,
    owner: Option<Wanted>,
}

/// A controller that is asked for; what is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Wanted {
    kind: Box<str>,
    name: Box<str>,
    uid: Box<str>,
}

impl Selection {
    /// Everything of one level.
    #[must_use]
    pub fn all(level: Level) -> Self {
        let none = || Box::from([]);
        Self {
            level,
            labels: LabelSelector::default(),
            namespaces: none(),
            names: none(),
            uids: Box::default(),
            containers: none(),
            node: None,
            owner: None,
        }
    }

    /// What a request's field `selection` says; `None` when something of it is wrong, and then `faults` holds all that
    /// is. An absent selection is all pods.
    pub fn read(given: Option<wire::Selection>, faults: &mut Faults) -> Option<Self> {
        let given = given.unwrap_or_default();
        let level = level(given.level, faults);
        let labels = labels(&given.label_selector, faults);
        let namespaces = list("namespaces", &given.namespaces, MOST_NAMESPACES, is_label, faults);
        let names = list("names", &given.names, MOST_NAMES, is_subdomain, faults);
        let uids = list("uids", &given.uids, MOST_NAMES, is_text, faults);
        let containers = list("containers", &given.containers, MOST_NAMES, is_label, faults);
        let node = Some(given.node.as_str()).filter(|node| !node.is_empty());
        if node.is_some_and(|node| !is_subdomain(node)) {
            faults.add("selection.node", "no name of a node");
        }
        let node = node.map(Arc::from);
        let owner = given.owner.map(|owner| read_owner(owner, faults));
        if level == Some(Level::Nodes) {
            let given = [
                ("namespaces", namespaces.is_empty()),
                ("node", node.is_none()),
                ("owner", owner.is_none()),
                ("uids", uids.is_empty()),
            ];
            for (field, _) in given.into_iter().filter(|(_, is_empty)| !is_empty) {
                faults.add(format!("selection.{field}"), "not at LEVEL_NODES");
            }
        }
        if !containers.is_empty() && level.is_some_and(|level| level != Level::Containers) {
            faults.add("selection.containers", "only at LEVEL_CONTAINERS");
        }
        Some(Self { level: level?, labels: labels?, namespaces, names, uids, containers, node, owner })
            .filter(|_| faults.is_empty())
    }

    /// What one item is about.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// The namespaces that are named, sorted; none means all of them.
    #[must_use]
    pub fn namespaces(&self) -> &[Arc<str>] {
        &self.namespaces
    }

    /// The names of pods, or of nodes, sorted; none means any.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The UIDs of pods, sorted; none means any.
    #[must_use]
    pub fn uids(&self) -> &[Uid] {
        &self.uids
    }

    /// The names of containers, sorted; none means any.
    #[must_use]
    pub fn containers(&self) -> &[Arc<str>] {
        &self.containers
    }

    /// The condition on labels.
    #[must_use]
    pub fn labels(&self) -> &LabelSelector {
        &self.labels
    }

    /// The conditions that a list of the API could have as its field selector.
    pub fn fields(&self) -> impl Iterator<Item = (Field, &str)> {
        let only = match self.names.as_ref() {
            [one] => Some((Field::Name, one.as_ref())),
            _ => None,
        };
        only.into_iter().chain(self.node.as_deref().map(|node| (Field::NodeName, node)))
    }

    /// Whether a pod is selected, or containers of it may be.
    #[must_use]
    pub fn has_pod(&self, pod: &PodRecord) -> bool {
        self.level != Level::Nodes
            && is_among(&self.namespaces, &pod.namespace)
            && is_among(&self.names, &pod.name)
            && (self.uids.is_empty() || self.uids.binary_search(&pod.uid).is_ok())
            && self.node.as_ref().is_none_or(|node| *node == pod.node)
            && self.owner.as_ref().is_none_or(|wanted| wanted.is_of(pod))
            && self.labels.matches(&pod.labels)
    }

    /// Whether a container of a selected pod is selected.
    #[must_use]
    pub fn has_container(&self, name: &str) -> bool {
        is_among(&self.containers, name)
    }

    /// Whether a node is selected.
    #[must_use]
    pub fn has_node(&self, node: &NodeRecord) -> bool {
        self.level == Level::Nodes && is_among(&self.names, &node.name) && self.labels.matches(&node.labels)
    }
}

impl Wanted {
    fn is_of(&self, pod: &PodRecord) -> bool {
        let Some(owner) = pod.owner.as_deref() else { return false };
        if &*self.kind == "Deployment" {
            return self.is_deployment_of(owner, pod);
        }
        let is = |wanted: &str, held: &str| wanted.is_empty() || wanted == held;
        is(&self.kind, &owner.kind) && is(&self.name, &owner.name) && is(&self.uid, &owner.uid)
    }

    /// A `ReplicaSet` of a Deployment is named after it and the hash of its template, which its pods have as a label.
    fn is_deployment_of(&self, owner: &Owner, pod: &PodRecord) -> bool {
        let deployment = || {
            let hash = pod.labels.get(TEMPLATE_HASH).filter(|hash| !hash.is_empty())?;
            owner.name.strip_suffix(hash)?.strip_suffix('-').filter(|name| !name.is_empty())
        };
        let is = |name: &str| self.name.is_empty() || &*self.name == name;
        &*owner.kind == "ReplicaSet" && deployment().is_some_and(is)
    }
}

/// Whether it is one of those asked for; where none is, any is.
fn is_among(sorted: &[Arc<str>], name: &str) -> bool {
    sorted.is_empty() || sorted.binary_search_by(|held| held.as_ref().cmp(name)).is_ok()
}

fn level(given: i32, faults: &mut Faults) -> Option<Level> {
    match wire::Level::try_from(given) {
        Ok(wire::Level::Unspecified | wire::Level::Pods) => Some(Level::Pods),
        Ok(wire::Level::Nodes) => Some(Level::Nodes),
        Ok(wire::Level::Containers) => Some(Level::Containers),
        Err(_) => {
            faults.add("selection.level", format_args!("{given} is not known"));
            None
        }
    }
}

fn labels(given: &str, faults: &mut Faults) -> Option<LabelSelector> {
    const FIELD: &str = "selection.label_selector";
    if given.len() > LONGEST_SELECTOR {
        faults.add(FIELD, format_args!("longer than {LONGEST_SELECTOR} bytes"));
        return None;
    }
    faults.take(FIELD, LabelSelector::parse(given).map_err(|error| error.0))
}

/// Sorted and distinct.
fn list<T: for<'a> From<&'a str> + Ord>(
    field: &str,
    given: &[String],
    most: usize,
    is_good: impl Fn(&str) -> bool,
    faults: &mut Faults,
) -> Box<[T]> {
    if given.len() > most {
        faults.add(format!("selection.{field}"), format_args!("more than {most}"));
        return Box::default();
    }
    for (position, _) in given.iter().enumerate().filter(|(_, text)| !is_good(text)) {
        faults.add(format!("selection.{field}[{position}]"), "nothing can have this name");
    }
    let mut all: Vec<T> = given.iter().map(|text| text.as_str().into()).collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

fn read_owner(given: wire::Owner, faults: &mut Faults) -> Wanted {
    let wire::Owner { kind, name, uid } = given;
    let is_good = |text: &str| text.is_empty() || is_text(text);
    for (field, text) in [("kind", &kind), ("name", &name), ("uid", &uid)] {
        if !is_good(text) {
            faults.add(format!("selection.owner.{field}"), "nothing can have this name");
        }
    }
    if kind.is_empty() && name.is_empty() && uid.is_empty() {
        faults.add("selection.owner", "a kind, a name or a uid is needed");
    }
    if kind == "Deployment" && !uid.is_empty() {
        faults.add("selection.owner.uid", "pods do not say the uid of their Deployment");
    }
    Wanted { kind: kind.into(), name: name.into(), uid: uid.into() }
}

/// A DNS label, as namespaces and containers have for their names.
pub(super) fn is_label(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= LONGEST_LABEL
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.bytes().all(is_inside)
}

/// A DNS subdomain, as pods and nodes have for their names.
pub(super) fn is_subdomain(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    text.len() <= LONGEST_NAME
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.bytes().all(is_inside)
}

/// A UID, or what else stands in an owner reference: short, and without blanks.
fn is_text(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
