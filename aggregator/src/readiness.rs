//! When a replica may get requests: when what it would answer is about as complete as what the others answer. Pure.
//!
//! A new replica knows nothing until the agents have found it, and a rolling update must never send requests to one that
//! knows a tenth of the cluster. So it waits until the names are there and every node is heard; or nearly every node,
//! and nobody came lately, because some nodes have no agent or are down; but never longer than a bound, because an API
//! group that does not answer harms a cluster more than one that does not know everything. Ready once, it stays so.

use std::time::{Duration, Instant};

/// Longest wait.
const BOUND: Duration = Duration::from_secs(30);

/// So many hundredths of the nodes are nearly every node.
const NEARLY: usize = 90;

/// Nobody came for this long: agents resolve names every five seconds.
const QUIET: Duration = Duration::from_secs(5);

/// Longest wait where it is not known which nodes there are.
const BOUND_WITHOUT_NODES: Duration = Duration::from_secs(10);

/// What a replica knows at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether pods and nodes were read.
    pub is_synced: bool,
    /// How many nodes there are; `None` where nobody tells.
    pub nodes: Option<usize>,
    /// How many of them were heard: their history is stored, so that they have numbers.
    pub heard: usize,
}

/// The wait of one replica.
#[derive(Debug)]
pub struct Readiness {
    started: Instant,
    most_heard: usize,
    /// When a node was heard for the first time, last.
    newcomer: Instant,
}

impl Readiness {
    /// Waits from now on.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { started: now, most_heard: 0, newcomer: now }
    }

    /// Whether the wait is over; to be asked about once a second.
    pub fn is_over(&mut self, seen: Seen, now: Instant) -> bool {
        if seen.heard > self.most_heard {
            self.most_heard = seen.heard;
            self.newcomer = now;
        }
        let waited = now.saturating_duration_since(self.started);
        let Some(nodes) = seen.nodes else {
            return seen.heard > 0 || waited >= BOUND_WITHOUT_NODES;
        };
        let all = seen.heard >= nodes;
        let nearly = seen.heard.saturating_mul(100) >= nodes.saturating_mul(NEARLY);
        let quiet = now.saturating_duration_since(self.newcomer) >= QUIET;
        seen.is_synced && (all || nearly && quiet) || waited >= BOUND
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Asks every second; the second at which the wait was over.
    fn ready_at(seen: impl Fn(u64) -> Seen) -> u64 {
        let begun = Instant::now();
        let mut readiness = Readiness::new(begun);
        let is_over = |second: &u64| readiness.is_over(seen(*second), begun + Duration::from_secs(*second));
        (0..1000).find(is_over).unwrap()
    }

    fn of(nodes: usize, heard: usize) -> Seen {
        Seen { is_synced: true, nodes: Some(nodes), heard }
    }

    #[test]
    fn every_node_is_waited_for_and_no_longer() {
        assert_eq!(ready_at(|second| of(10, if second < 4 { 9 } else { 10 })), 4);
        assert_eq!(ready_at(|_| of(0, 0)), 0, "a cluster without nodes");
    }

    #[test]
    fn names_are_waited_for_too() {
        assert_eq!(ready_at(|second| Seen { is_synced: second >= 7, ..of(3, 3) }), 7);
        assert_eq!(ready_at(|_| Seen { is_synced: false, ..of(3, 3) }), 30);
    }

    #[test]
    fn nearly_every_node_is_enough_when_nobody_came_lately() {
        let joining = |second: u64| of(100, usize::try_from(90 + second.min(3)).unwrap());
        assert_eq!(ready_at(joining), 3 + 5);
        assert_eq!(ready_at(|_| of(10, 9)), 5, "one of ten is down");
        assert_eq!(ready_at(|_| of(100, 89)), 30, "many have no agent");
        assert_eq!(ready_at(|_| of(10, 1)), 30, "a tenth is never enough before the bound");
    }

    #[test]
    fn where_nobody_tells_of_nodes_the_first_agent_is_enough() {
        let unknown = |heard| Seen { is_synced: true, nodes: None, heard };
        assert_eq!(ready_at(|second| unknown(usize::from(second >= 2))), 2);
        assert_eq!(ready_at(|_| unknown(0)), 10);
    }

    proptest! {
        #[test]
        fn nobody_is_ready_early_with_less_than_nine_tenths_nor_late(
            nodes in 0_usize..200,
            heard in proptest::collection::vec(0_usize..200, 40),
            is_synced in any::<bool>(),
        ) {
            let at = |second: u64| heard[usize::try_from(second).unwrap().min(39)];
            let ready = ready_at(|second| Seen { is_synced, nodes: Some(nodes), heard: at(second) });
            prop_assert!(ready <= 30);
            prop_assert!(ready == 30 || is_synced && at(ready) * 100 >= nodes * 90);
        }
    }
}
