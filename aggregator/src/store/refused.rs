//! Counters of a node for which there was no place, by name and by series.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kubevitals::sample::SeriesId;

use super::{counter::Announced, subject::CounterRef};

/// Those refused, as they were announced last.
#[derive(Debug, Default)]
pub(super) struct RefusedCounters {
    by_name: HashMap<CounterRef, Announced, RandomState>,
    by_series: HashMap<SeriesId, CounterRef, RandomState>,
}

impl RefusedCounters {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether this one is among them.
    pub(super) fn contains(&self, name: &CounterRef) -> bool {
        self.by_name.contains_key(name)
    }

    /// Any of them.
    pub(super) fn first(&self) -> Option<(CounterRef, Announced)> {
        self.by_name.iter().next().map(|(name, announced)| (name.clone(), *announced))
    }

    /// Adds one; it takes the place of one of the same name.
    pub(super) fn insert(&mut self, name: CounterRef, announced: Announced) {
        self.remove(&name);
        self.by_series.insert(announced.series, name.clone());
        self.by_name.insert(name, announced);
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, name: &CounterRef) {
        if let Some(announced) = self.by_name.remove(name) {
            self.by_series.remove(&announced.series);
        }
    }

    /// Takes the one of this series out.
    pub(super) fn remove_series(&mut self, series: SeriesId) {
        if let Some(name) = self.by_series.remove(&series) {
            self.by_name.remove(&name);
        }
    }

    /// Takes all out.
    pub(super) fn clear(&mut self) {
        self.by_name.clear();
        self.by_series.clear();
    }
}
