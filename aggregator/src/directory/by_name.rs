//! A pod's record among those of its namespace: in their order, and found by its name, which is not held again for that.

use std::{borrow::Borrow, cmp::Ordering, sync::Arc};

use super::record::PodRecord;

/// A record, found by its name.
#[derive(Debug, Clone)]
pub(super) struct ByName(pub(super) Arc<PodRecord>);

impl ByName {
    pub(super) fn into_record(self) -> Arc<PodRecord> {
        self.0
    }
}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}
