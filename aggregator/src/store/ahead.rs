//! Has the processor read side by side what is about to be asked of the counters of several nodes.
//!
//! A list goes through pods by name, so each one's counters lie somewhere else in memory, behind half a dozen steps of
//! which each is found by the one before. Asked one after the other, each step of each container waits for memory by
//! itself, which was nearly half of a long list's time. Here each step is taken for all of them before the next one, so that
//! they wait together. A lock that is taken or let go of would end that, so all are taken first.
//!
//! What is found on the way is not used: whoever asks afterwards finds it in the caches.

use std::{
    hint::black_box,
    sync::{Arc, RwLockReadGuard},
    time::Duration,
};

use super::{
    Shard, Store,
    counters::Slot,
    node::{CounterRef, LastPlace, NodeState},
};

impl Store {
    /// Reads ahead what makes the rates of these counters, each lot with its node, over such a window; then has `look` asked
    /// about all nodes, in their order. `None` when a node was just being written: to wait for one while others are held
    /// could be to wait for oneself. Holds all nodes for as long as `look` takes: a dozen pods at a time are enough.
    pub fn look_together<'a, C, T>(
        &self,
        coming: impl Iterator<Item = (&'a str, C)>,
        window: Duration,
        look: impl FnOnce(&[Option<&NodeState>]) -> T,
    ) -> Option<T>
    where
        C: Iterator<Item = (&'a CounterRef, &'a LastPlace)>,
    {
        let shards = self.shards();
        let (found, counters): (Vec<Option<&Arc<Shard>>>, Vec<C>) =
            coming.map(|(node, counters)| (shards.get(node), counters)).unzip();
        see(found.iter().flatten().map(|shard| shard.node.len() as u64));
        let found: Vec<Option<Arc<Shard>>> = found.into_iter().map(Option::<&_>::cloned).collect();
        drop(shards);
        let held: Vec<Option<RwLockReadGuard<'_, NodeState>>> =
            found.iter().map(|shard| shard.as_ref()?.try_read()).collect();
        let states: Vec<Option<&NodeState>> = held.iter().map(Option::as_deref).collect();
        see(states.iter().flatten().map(|state| state.look_around()));
        let slots: Vec<(&NodeState, Slot)> = states
            .iter()
            .zip(counters)
            .filter_map(|(state, counters)| Some(((*state)?, counters)))
            .flat_map(|(state, counters)| counters.map(move |counter| (state, counter)))
            .filter_map(|(state, (counter, last))| Some((state, state.likely_slot(counter, last)?)))
            .collect();
        see(slots.iter().map(|(state, slot)| state.look_at(*slot)));
        see(slots.iter().map(|(state, slot)| state.look_back(*slot, window)));
        let is_held = found.iter().zip(&states).all(|(shard, state)| shard.is_some() == state.is_some());
        is_held.then(|| look(&states))
    }
}

/// Does what it takes to know the numbers, which say nothing.
fn see(numbers: impl Iterator<Item = u64>) {
    black_box(numbers.fold(0, |sum, number| sum ^ number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Limits;

    #[test]
    fn all_nodes_are_looked_at_in_their_order_unless_one_is_being_written() {
        let store = Store::new(Limits { containers: 10, nodes: 10, kept: Duration::from_secs(60) });
        let (a, b) = (store.shard_or_new("a").unwrap(), store.shard_or_new("b").unwrap());
        let (counter, last) = (CounterRef::Node, LastPlace::default());
        let seen = || {
            let coming = ["b", "gone", "a", "b"].map(|node| (node, std::iter::once((&counter, &last))));
            store.look_together(coming.into_iter(), Duration::from_secs(15), |states| {
                let is = |state: &NodeState, shard: &Shard| std::ptr::eq(state, &raw const *shard.read());
                states
                    .iter()
                    .map(|state| state.map(|state| (is(state, &a), is(state, &b))))
                    .collect::<Vec<_>>()
            })
        };
        let expected = vec![Some((false, true)), None, Some((true, false)), Some((false, true))];
        assert_eq!(seen(), Some(expected.clone()));
        let writing = a.write();
        assert_eq!(seen(), None);
        drop(writing);
        assert_eq!(seen(), Some(expected));
    }
}
