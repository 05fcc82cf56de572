//! Nodes that take turns, so that each finds what the aggregator holds of it as a second of others' work leaves it: in
//! memory, not in the processor's cache.

use std::{hint::black_box, time::Duration};

use kubevitals::{chain::Buffers, sample::BootTime};
use kubevitals_aggregator::{
    store::{Limits, Store},
    usage::{Window, usage},
};

use crate::node::{Costs, Node, thread_time};

/// Ticks before the first that counts: all rings have come round.
const WARM: usize = 130;

/// Nodes with all that chains and store hold of them after two minutes.
pub(crate) struct Nodes {
    all: Vec<Node>,
    buffers: Buffers,
    held: Costs,
}

impl Nodes {
    pub(crate) fn full(count: u64) -> Self {
        let limits = Limits { containers: 1_000_000, nodes: 20_000, kept: Duration::from_secs(60) };
        let store = Store::new(limits);
        let all = (0..count).map(|nth| Node::new(nth, &store)).collect();
        let mut nodes = Self { all, buffers: Buffers::default(), held: Costs::default() };
        for _ in 0..WARM {
            nodes.tick();
        }
        nodes
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Series of a node.
    pub(crate) fn series(&self) -> usize {
        self.all[0].series()
    }

    /// Containers of a node, sandboxes among them.
    pub(crate) fn containers(&self) -> usize {
        self.all[0].containers.len()
    }

    /// What all ticks have cost.
    pub(crate) fn held(&self) -> Costs {
        self.held
    }

    /// One batch of every node, made before time is taken.
    pub(crate) fn tick(&mut self) -> Costs {
        let batches: Vec<_> = self.all.iter_mut().map(Node::batch).collect();
        let mut costs = Costs::default();
        for (node, batch) in self.all.iter_mut().zip(&batches) {
            costs += node.take(batch, &mut self.buffers);
        }
        self.held += costs;
        costs
    }

    /// Nanoseconds to find a container's counter and to make its rate over so many seconds: node by node, or nodes and
    /// their containers in no order.
    pub(crate) fn rate(&self, seconds: u64, is_in_order: bool) -> f64 {
        let window = Window {
            length: Duration::from_secs(seconds),
            shortest: Duration::from_millis(250),
            until: BootTime(u64::MAX),
            not_before: None,
        };
        let containers = self.containers();
        let all = self.len() * containers;
        let before = thread_time();
        for nth in 0..all {
            // The factor shares no divisor with their number, so that each is visited once.
            let nth = if is_in_order { nth } else { nth * 7_654_321 % all };
            let node = &self.all[nth / containers];
            let state = node.shard.read();
            black_box(usage(state.ring(&node.containers[nth % containers]).unwrap(), &window).unwrap());
        }
        thread_time().saturating_sub(before).as_nanos() as f64 / all as f64
    }
}
