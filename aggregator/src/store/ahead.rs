//! Has the processor read side by side what is about to be asked of the counters of several nodes.
//!
//! A list goes through pods by name, so each one's counters lie somewhere else in memory, behind half a dozen steps of
//! which each is found by the one before. Asked one after the other, each step of each container waits for memory by
//! itself, which was nearly half of a long list's time. Here each step is taken for all of them before the next one, so that
//! they wait together. A lock that is taken or let go of would end that, so all are taken first.
//!
//! What is found is not used: whoever asks afterwards finds it in the caches.

use std::{hint::black_box, sync::RwLockReadGuard, time::Duration};

use super::{
    Shard, Store,
    counters::Slot,
    node::{CounterRef, NodeState},
};

impl Store {
    /// Reads ahead what makes the rates of these counters, each lot with its node, over such a window. Waits for no lock of
    /// a node, and holds those that are free for some microseconds: a dozen pods at a time are enough.
    pub fn read_ahead<'a, C>(&self, coming: impl Iterator<Item = (&'a str, C)>, window: Duration)
    where
        C: Iterator<Item = &'a CounterRef> + Clone,
    {
        let shards = self.shards();
        let found: Vec<(&Shard, C)> =
            coming.filter_map(|(node, counters)| Some((shards.get(node)?.as_ref(), counters))).collect();
        see(found.iter().map(|(shard, _)| shard.node.len() as u64));
        // To wait for one while others are held could be to wait for oneself.
        let held: Vec<(RwLockReadGuard<'_, NodeState>, C)> = found
            .into_iter()
            .filter_map(|(shard, counters)| Some((shard.state.try_read().ok()?, counters)))
            .collect();
        see(held.iter().map(|(state, _)| state.look_around()));
        let slots: Vec<(&NodeState, &CounterRef, Slot)> = held
            .iter()
            .flat_map(|(state, counters)| counters.clone().map(move |counter| (&**state, counter)))
            .filter_map(|(state, counter)| Some((state, counter, state.likely_slot(counter)?)))
            .collect();
        see(slots.iter().map(|(state, counter, slot)| state.look_at(*slot, counter) as u64));
        see(slots.iter().map(|(state, _, slot)| state.look_back(*slot, window)));
    }
}

/// Does what it takes to know the numbers, which say nothing.
fn see(numbers: impl Iterator<Item = u64>) {
    black_box(numbers.fold(0, |sum, number| sum ^ number));
}
