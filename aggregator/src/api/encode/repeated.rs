//! What consecutive objects of a list have in common.
//!
//! Lists go by name, so the pods of one application follow each other, and all that is said of them between their name and
//! their numbers is the same: namespace, creation time and labels are half of a pod's bytes. They are made once and copied.

use super::item::Item;
use crate::api::source::Labels;

/// What an object's metadata has after its name, as it was made for the object before.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    namespace: String,
    labels: Option<Labels>,
    bytes: Vec<u8>,
}

impl Repeated {
    /// The same bytes if it is the same for this object, or else what `write` makes.
    pub(super) fn of(&mut self, item: Item<'_>, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let namespace = item.namespace().unwrap_or_default();
        let is_same = self.labels.as_ref().is_some_and(|labels| labels.is(item.labels()));
        if !is_same || self.namespace != namespace {
            self.bytes.clear();
            write(&mut self.bytes);
            namespace.clone_into(&mut self.namespace);
            self.labels = Some(item.labels().clone());
        }
        &self.bytes
    }

    /// What was made or found last.
    pub(super) fn last(&self) -> &[u8] {
        &self.bytes
    }
}
