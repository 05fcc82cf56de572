//! Which pods of a namespace may have a label: the names of the pods for each pair of key and value.
//!
//! Pairs are known by a hash alone, so a look-up may name a pod too many and never one too few; whoever asks
//! compares the labels anyway. That keeps the index small: most of a cluster's pairs are on a few pods only.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::FixedState;

use super::record::Labels;

/// The names of pods by their labels.
#[derive(Debug, Default)]
pub(super) struct LabelIndex(HashMap<u64, Names, FixedState>);

/// Sorted and distinct. Labels such as the one with a pod's own name are on one pod each.
#[derive(Debug)]
enum Names {
    One(Arc<str>),
    Many(Vec<Arc<str>>),
}

impl Names {
    fn as_slice(&self) -> &[Arc<str>] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }

    fn add(&mut self, name: &Arc<str>) {
        let Err(place) = self.as_slice().binary_search(name) else { return };
        match self {
            Self::One(held) => {
                let mut names = vec![Arc::clone(held)];
                names.insert(place, Arc::clone(name));
                *self = Self::Many(names);
            }
            Self::Many(names) => names.insert(place, Arc::clone(name)),
        }
    }

    /// Whether none is left.
    fn remove(&mut self, name: &str) -> bool {
        match self {
            Self::One(held) => held.as_ref() == name,
            Self::Many(names) => {
                if let Ok(place) = names.binary_search_by(|held| held.as_ref().cmp(name)) {
                    names.remove(place);
                }
                names.is_empty()
            }
        }
    }
}

impl LabelIndex {
    pub(super) fn add(&mut self, labels: &Labels, name: &Arc<str>) {
        for (key, value) in labels.iter() {
            self.0
                .entry(pair(key, value))
                .and_modify(|names| names.add(name))
                .or_insert_with(|| Names::One(Arc::clone(name)));
        }
    }

    pub(super) fn remove(&mut self, labels: &Labels, name: &str) {
        for (key, value) in labels.iter() {
            let pair = pair(key, value);
            if self.0.get_mut(&pair).is_some_and(|names| names.remove(name)) {
                self.0.remove(&pair);
            }
        }
    }

    /// The pods that may have the label `key` with one of `values`, a list for each value.
    pub(super) fn candidates<'a>(
        &self,
        key: &str,
        values: impl Iterator<Item = &'a str>,
    ) -> Vec<&[Arc<str>]> {
        values.filter_map(|value| self.0.get(&pair(key, value)).map(Names::as_slice)).collect()
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

    fn found(index: &LabelIndex, key: &str, values: &[&'static str]) -> Vec<String> {
        let lists = index.candidates(key, values.iter().copied());
        lists.into_iter().flatten().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pod_is_found_by_each_of_its_labels_until_it_is_removed() {
        let mut index = LabelIndex::default();
        let labels = Labels::from_iter([("app", "web"), ("tier", "front")]);
        for name in ["web-2", "web-1", "web-3", "web-2"] {
            index.add(&labels, &Arc::from(name));
        }
        assert_eq!(found(&index, "app", &["web"]), ["web-1", "web-2", "web-3"]);
        assert_eq!(found(&index, "tier", &["front", "back"]), ["web-1", "web-2", "web-3"]);
        assert!(found(&index, "app", &["front"]).is_empty());
        for name in ["web-2", "web-1", "nosuch"] {
            index.remove(&labels, name);
        }
        assert_eq!(found(&index, "app", &["web"]), ["web-3"]);
        index.remove(&labels, "web-3");
        assert!(index.0.is_empty(), "nothing is kept of what is gone");
    }
}
