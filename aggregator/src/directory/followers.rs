//! Who wants to know when the pods of a node change: the node's stream.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::RandomState;
use tokio::sync::watch;

/// Fewer are not worth a look for those that nobody follows any more.
const FEW: usize = 256;

/// Followers by node.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<Followed>);

#[derive(Debug, Default)]
struct Followed {
    nodes: HashMap<Arc<str>, watch::Sender<()>, RandomState>,
    /// With so many it is time for a look.
    full: usize,
}

impl Followers {
    /// Told from now on.
    pub(super) fn follow(&self, node: &str) -> watch::Receiver<()> {
        let mut followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = followed.nodes.get(node) {
            return sender.subscribe();
        }
        if followed.nodes.len() >= followed.full.max(FEW) {
            followed.nodes.retain(|_, sender| sender.receiver_count() > 0);
            followed.full = followed.nodes.len() * 2;
        }
        followed.nodes.entry(Arc::from(node)).or_default().subscribe()
    }

    /// Something of the node's pods changed.
    pub(super) fn tell(&self, node: &str) {
        let followed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = followed.nodes.get(node) {
            sender.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_followers_of_the_node_are_told_and_nothing_is_kept_of_those_gone() {
        let followers = Followers::default();
        let (one, other) = (followers.follow("n1"), followers.follow("n2"));
        followers.tell("n1");
        assert!(one.has_changed().unwrap() && !other.has_changed().unwrap());
        for n in 0..FEW * 10 {
            drop(followers.follow(&format!("passing-{n}")));
        }
        assert!(followers.0.lock().unwrap().nodes.len() <= FEW + 2);
        followers.tell("n2");
        assert!(other.has_changed().unwrap());
    }
}
