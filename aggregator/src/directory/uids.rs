//! Pods by UID: to which node a pod is bound, whatever an agent says.
//!
//! A static pod is known to its node by a hash of its manifest and to the API by its mirror, which has a UID of its own
//! and names the hash. A manifest may set its own UID, and then several nodes have it; so such a UID belongs to a node
//! when that node has a mirror of it.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{record::PodRecord, uid::Uid};

/// Whose pod an announced UID is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// The node's that announced it.
    Own(Arc<PodRecord>),
    /// This other node's.
    Foreign(Arc<str>),
    /// Not known, or not yet.
    Unknown,
}

/// A record, found by its UID.
#[derive(Debug)]
struct ByUid(Arc<PodRecord>);

impl Borrow<Uid> for ByUid {
    fn borrow(&self) -> &Uid {
        &self.0.uid
    }
}

impl Hash for ByUid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.uid.hash(state);
    }
}

impl PartialEq for ByUid {
    fn eq(&self, other: &Self) -> bool {
        self.0.uid == other.0.uid
    }
}

impl Eq for ByUid {}

/// The index. It follows the records of the directory.
#[derive(Debug, Default)]
pub(super) struct Uids {
    pods: HashSet<ByUid, RandomState>,
    /// By the UID that the node knows, then the node; the UID of the mirror in the API.
    mirrors: BTreeMap<Uid, Vec<Mirror>>,
}

#[derive(Debug)]
struct Mirror {
    node: Arc<str>,
    uid: Uid,
}

impl Uids {
    /// Adds or replaces a pod; the mirror of a static pod with the UID under which its node knows it, where that is another.
    pub(super) fn put(&mut self, record: Arc<PodRecord>, mirror_of: Option<Uid>) {
        if let Some(announced) = mirror_of {
            let mirrors = self.mirrors.entry(announced).or_default();
            mirrors.retain(|held| held.uid != record.uid);
            mirrors.push(Mirror { node: Arc::clone(&record.node), uid: record.uid.clone() });
        }
        self.pods.replace(ByUid(record));
    }

    pub(super) fn remove(&mut self, uid: &Uid) {
        if !self.pods.remove(uid) || self.mirrors.is_empty() {
            return;
        }
        // Static pods are few: some to a node of the control plane.
        self.mirrors.retain(|_, mirrors| {
            mirrors.retain(|held| held.uid != *uid);
            !mirrors.is_empty()
        });
    }

    /// A pod by its UID in the API.
    pub(super) fn get(&self, uid: &Uid) -> Option<&Arc<PodRecord>> {
        self.pods.get(uid).map(|ByUid(record)| record)
    }

    /// Whose pod it is that `node` announces as `uid`.
    pub(super) fn whose(&self, uid: &Uid, node: &str) -> Whose {
        // An annotation, which people can write, never overrules a UID, which they cannot.
        if let Some(record) = self.get(uid) {
            return match &record.node {
                own if own.as_ref() == node => Whose::Own(Arc::clone(record)),
                other => Whose::Foreign(Arc::clone(other)),
            };
        }
        let Some(mirrors) = self.mirrors.get(uid) else {
            return Whose::Unknown;
        };
        // Of several mirrors the one made last counts; the others are about to go.
        let own = mirrors.iter().rev().find(|mirror| mirror.node.as_ref() == node);
        match (own.and_then(|own| self.get(&own.uid)), mirrors.first()) {
            (Some(record), _) => Whose::Own(Arc::clone(record)),
            (None, Some(other)) => Whose::Foreign(Arc::clone(&other.node)),
            (None, None) => Whose::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(uids: &mut Uids, uid: &str, node: &str, mirror_of: Option<&str>) {
        let record = PodRecord::bare("a", uid, uid, node);
        uids.put(Arc::new(record), mirror_of.map(Uid::from));
    }

    /// The UID in the API, or the node it belongs to, or nothing.
    fn whose(uids: &Uids, uid: &str, node: &str) -> String {
        match uids.whose(&uid.into(), node) {
            Whose::Own(record) => record.uid.to_string(),
            Whose::Foreign(node) => format!("of {node}"),
            Whose::Unknown => String::new(),
        }
    }

    #[test]
    fn a_uid_belongs_to_the_node_its_pod_is_bound_to() {
        let mut uids = Uids::default();
        put(&mut uids, "u1", "n1", None);
        assert_eq!(whose(&uids, "u1", "n1"), "u1");
        assert_eq!(whose(&uids, "u1", "n2"), "of n1");
        assert_eq!(whose(&uids, "u2", "n1"), "");
        uids.remove(&"u1".into());
        assert_eq!(whose(&uids, "u1", "n2"), "");
    }

    #[test]
    fn a_pod_is_known_as_it_was_told_last() {
        let mut uids = Uids::default();
        put(&mut uids, "u1", "n1", None);
        put(&mut uids, "u1", "n2", None);
        assert_eq!(whose(&uids, "u1", "n1"), "of n2");
        assert_eq!(whose(&uids, "u1", "n2"), "u1");
        assert_eq!(uids.get(&"u1".into()).unwrap().node.as_ref(), "n2");
    }

    #[test]
    fn a_static_pod_is_found_by_its_mirror_on_each_node_that_has_one() {
        let mut uids = Uids::default();
        put(&mut uids, "m1", "n1", Some("hash"));
        assert_eq!(whose(&uids, "hash", "n1"), "m1");
        assert_eq!(whose(&uids, "hash", "n2"), "of n1");
        put(&mut uids, "m2", "n2", Some("hash"));
        assert_eq!(whose(&uids, "hash", "n2"), "m2");
        put(&mut uids, "m3", "n1", Some("hash"));
        assert_eq!(whose(&uids, "hash", "n1"), "m3", "a mirror made anew");
        uids.remove(&"m3".into());
        uids.remove(&"m1".into());
        assert_eq!(whose(&uids, "hash", "n1"), "of n2");
        uids.remove(&"m2".into());
        assert!(uids.mirrors.is_empty() && uids.pods.is_empty());
    }

    #[test]
    fn a_forged_mirror_takes_no_pod_from_its_node() {
        let mut uids = Uids::default();
        put(&mut uids, "u1", "n1", None);
        put(&mut uids, "forged", "n2", Some("u1"));
        assert_eq!(whose(&uids, "u1", "n1"), "u1");
        assert_eq!(whose(&uids, "u1", "n2"), "of n1");
    }
}
