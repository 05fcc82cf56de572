//! Which pods of a namespace may have a label: the pods for each pair of key and value.
//!
//! Pairs are known by a hash alone, so a look-up may find a pod too many and never one too few; whoever asks
//! compares the labels anyway. That keeps the index small: most of a cluster's pairs are on a few pods only.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;

use super::record::PodRecord;

/// Pods by their labels.
#[derive(Debug, Default)]
pub(super) struct LabelIndex(HashMap<u64, Holders, FixedState>);

/// Those that have a label, sorted by name, each once. Labels such as the one with a pod's own name are on one pod each.
#[derive(Debug)]
enum Holders {
    One(Arc<PodRecord>),
    Many(Vec<Arc<PodRecord>>),
}

impl Holders {
    fn as_slice(&self) -> &[Arc<PodRecord>] {
        match self {
            Self::One(held) => std::slice::from_ref(held),
            Self::Many(held) => held,
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.as_slice().binary_search_by(|held| held.name.as_ref().cmp(name))
    }

    /// Adds a pod, in the place of what has its name.
    fn put(&mut self, record: &Arc<PodRecord>) {
        let (place, record) = (self.place(&record.name), Arc::clone(record));
        match (&mut *self, place) {
            (Self::One(held), Ok(_)) => *held = record,
            (Self::One(held), Err(place)) => {
                let mut both = vec![Arc::clone(held)];
                both.insert(place, record);
                *self = Self::Many(both);
            }
            (Self::Many(held), Ok(place)) => {
                if let Some(held) = held.get_mut(place) {
                    *held = record;
                }
            }
            (Self::Many(held), Err(place)) => {
                // Most lists are short, and together they are long: room for twice as many would be room for nobody.
                if held.len() == held.capacity() {
                    held.reserve_exact(2 + held.len() / 8);
                }
                held.insert(place, record);
            }
        }
    }

    /// Whether none is left.
    fn remove(&mut self, name: &str) -> bool {
        let place = self.place(name);
        match self {
            Self::One(_) => place.is_ok(),
            Self::Many(held) => {
                if let Ok(place) = place {
                    held.remove(place);
                }
                held.is_empty()
            }
        }
    }
}

impl LabelIndex {
    /// Adds a pod, in the place of one of the same name that had the same labels.
    pub(super) fn put(&mut self, record: &Arc<PodRecord>) {
        for (key, value) in record.labels.iter() {
            self.0
                .entry(pair(key, value))
                .and_modify(|held| held.put(record))
                .or_insert_with(|| Holders::One(Arc::clone(record)));
        }
    }

    pub(super) fn remove(&mut self, record: &PodRecord) {
        for (key, value) in record.labels.iter() {
            let pair = pair(key, value);
            if self.0.get_mut(&pair).is_some_and(|held| held.remove(&record.name)) {
                self.0.remove(&pair);
            }
        }
    }

    /// The pods that may have the label `key` with one of `values`, a list for each value.
    pub(super) fn candidates<'a>(
        &self,
        key: &str,
        values: impl Iterator<Item = &'a str>,
    ) -> Vec<&[Arc<PodRecord>]> {
        values.filter_map(|value| self.0.get(&pair(key, value)).map(Holders::as_slice)).collect()
    }
}

fn pair(key: &str, value: &str) -> u64 {
    use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
    // Known to no peer's advantage: two pairs of one hash cost a comparison.
    let mut hasher = FixedState::default().build_hasher();
    key.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Labels;

    fn pod(name: &str, uid: &str, labels: &Labels) -> Arc<PodRecord> {
        Arc::new(PodRecord { labels: labels.clone(), ..PodRecord::bare("a", name, uid, "n") })
    }

    fn found(index: &LabelIndex, key: &str, values: &[&'static str]) -> Vec<String> {
        let lists = index.candidates(key, values.iter().copied());
        lists.into_iter().flatten().map(|record| format!("{} {}", record.name, record.uid)).collect()
    }

    #[test]
    fn a_pod_is_found_by_each_of_its_labels_as_it_is_now_until_it_is_removed() {
        let mut index = LabelIndex::default();
        let labels = Labels::from_iter([("app", "web"), ("tier", "front")]);
        for (name, uid) in [("web-2", "1"), ("web-1", "1"), ("web-3", "1"), ("web-2", "2")] {
            index.put(&pod(name, uid, &labels));
        }
        assert_eq!(found(&index, "app", &["web"]), ["web-1 1", "web-2 2", "web-3 1"]);
        assert_eq!(found(&index, "tier", &["front", "back"]), ["web-1 1", "web-2 2", "web-3 1"]);
        assert!(found(&index, "app", &["front"]).is_empty());
        for name in ["web-2", "web-1", "nosuch"] {
            index.remove(&pod(name, "1", &labels));
        }
        assert_eq!(found(&index, "app", &["web"]), ["web-3 1"]);
        index.remove(&pod("web-3", "1", &labels));
        assert!(index.0.is_empty(), "nothing is kept of what is gone");
    }

    #[test]
    fn the_only_pod_with_a_label_is_replaced_by_its_successor() {
        let (mut index, labels) = (LabelIndex::default(), Labels::from_iter([("app", "web")]));
        index.put(&pod("web-1", "old", &labels));
        index.put(&pod("web-1", "new", &labels));
        assert_eq!(found(&index, "app", &["web"]), ["web-1 new"]);
    }
}
