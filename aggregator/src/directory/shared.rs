//! Texts and labels that many records have in common, each held once.
//!
//! The pods of one application have the same labels but for a few: held once they take a fraction of the memory, and a
//! list of everything finds them in the processor's cache.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use foldhash::fast::RandomState;

use super::record::{ContainerRecord, Labels, Owner, PodRecord};

/// What is held in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    texts: Once<Arc<str>>,
    labels: Once<Labels>,
    owners: Once<Arc<Owner>>,
}

impl Shared {
    /// The same record, made of what is held already as far as it is.
    pub(super) fn share(&mut self, record: PodRecord) -> PodRecord {
        PodRecord {
            namespace: self.texts.get(record.namespace),
            node: self.texts.get(record.node),
            labels: self.labels(&record.labels),
            owner: record.owner.as_ref().map(|owner| self.owner(owner)),
            containers: self.containers(record.containers),
            previous: record.previous.map(|former| {
                let (containers, until) = *former;
                Box::new((self.containers(containers), until))
            }),
            ..record
        }
    }

    fn labels(&mut self, labels: &Labels) -> Labels {
        if let Some(held) = self.labels.find(labels) {
            return held;
        }
        let texts = &mut self.texts;
        let pairs = labels.shares().map(|(key, value)| (texts.get(key), texts.get(value)));
        self.labels.get(pairs.collect())
    }

    fn owner(&mut self, owner: &Arc<Owner>) -> Arc<Owner> {
        if let Some(held) = self.owners.find(owner) {
            return held;
        }
        let kind = self.texts.get(Arc::clone(&owner.kind));
        self.owners.get(Arc::new(Owner { kind, ..Owner::clone(owner) }))
    }

    fn containers(&mut self, mut containers: Box<[ContainerRecord]>) -> Box<[ContainerRecord]> {
        for container in &mut containers {
            container.name = self.texts.get(Arc::clone(&container.name));
        }
        containers
    }
}

/// Something that is held by counting its holders.
trait Counted: Clone + Eq + Hash {
    fn holders(&self) -> usize;
}

impl Counted for Arc<str> {
    fn holders(&self) -> usize {
        Self::strong_count(self)
    }
}

impl Counted for Arc<Owner> {
    fn holders(&self) -> usize {
        Self::strong_count(self)
    }
}

impl Counted for Labels {
    fn holders(&self) -> usize {
        Self::holders(self)
    }
}

/// Each value once.
#[derive(Debug)]
struct Once<T> {
    held: HashSet<T, RandomState>,
    /// With so many it is time to look for those that nobody else holds any more.
    full: usize,
}

/// Fewer are not worth a look.
const FEW: usize = 1024;

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { held: HashSet::default(), full: FEW }
    }
}

impl<T: Counted> Once<T> {
    fn find(&self, value: &T) -> Option<T> {
        self.held.get(value).cloned()
    }

    /// The one that is held, which is `value` from now on if none was.
    fn get(&mut self, value: T) -> T {
        if let Some(held) = self.find(&value) {
            return held;
        }
        if self.held.len() >= self.full {
            self.held.retain(|held| held.holders() > 1);
            self.full = FEW.max(self.held.len() * 2);
        }
        self.held.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_are_held_once_and_their_parts_too() {
        let mut shared = Shared::default();
        let labels = |pod: &str| Labels::from_iter([("app", "web"), ("pod", pod)]);
        let (one, same, other) =
            (shared.labels(&labels("a")), shared.labels(&labels("a")), shared.labels(&labels("b")));
        assert_eq!(one, labels("a"));
        assert_eq!(one.holders(), 3, "two of them and what is shared");
        drop(same);
        let value = |labels: &Labels| labels.shares().next().unwrap().1;
        assert!(Arc::ptr_eq(&value(&one), &value(&other)));
    }

    #[test]
    fn what_nobody_holds_any_more_is_let_go() {
        let mut once: Once<Arc<str>> = Once::default();
        let kept: Vec<Arc<str>> = (0..10).map(|n| once.get(Arc::from(format!("kept-{n}")))).collect();
        for n in 0..100 * FEW {
            once.get(Arc::from(format!("passing-{n}")));
        }
        assert!(once.held.len() <= FEW + kept.len(), "{}", once.held.len());
        assert!(kept.iter().all(|text| Arc::ptr_eq(text, &once.find(text).unwrap())));
    }
}
