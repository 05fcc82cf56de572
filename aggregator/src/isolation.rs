//! Whether this replica lost sight of the cluster: it knows nodes, and hears of none of them. Pure.
//!
//! Such a replica will soon have nothing to serve, while others may have everything: the network between it and the agents is
//! cut, or was until a moment ago. It is no place to send requests to until the agents are back. Not for ever: agents
//! that were removed do not come back, and an API group that does not answer harms a cluster more than an empty list.

use std::time::{Duration, Instant};

/// After so long without any agent nobody waits for them any longer.
const GIVE_UP: Duration = Duration::from_secs(60);

/// From the first agent's return on, the others have so long.
const RETURN: Duration = Duration::from_secs(10);

/// Where it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Some agent is heard, or there is none to be heard.
    #[default]
    None,
    /// None of so many nodes is heard, since a moment.
    Lost {
        /// Since when.
        since: Instant,
        /// How many were known.
        nodes: usize,
    },
    /// The agents are coming back, since a moment.
    Returning {
        /// Since when.
        since: Instant,
        /// How many were known.
        nodes: usize,
    },
    /// They did not come back in time.
    GivenUp,
}

impl Isolation {
    /// What follows from `heard` of `known` nodes having been heard lately.
    #[must_use]
    pub fn next(self, now: Instant, known: usize, heard: usize) -> Self {
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        match self {
            Self::None if known > 0 && heard == 0 => Self::Lost { since: now, nodes: known },
            Self::Lost { nodes, .. } | Self::Returning { nodes, .. } if enough(heard, nodes) => Self::None,
            Self::Lost { nodes, .. } if heard > 0 => Self::Returning { since: now, nodes },
            Self::Lost { since, .. } if is_over(since, GIVE_UP) => Self::GivenUp,
            Self::Returning { nodes, .. } if heard == 0 => Self::Lost { since: now, nodes },
            Self::Returning { since, .. } if is_over(since, RETURN) => Self::None,
            Self::GivenUp if heard > 0 => Self::None,
            same => same,
        }
    }

    /// Whether requests are better sent elsewhere.
    #[must_use]
    pub fn is_isolated(self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Returning { .. })
    }
}

/// Nine of ten: a node may have gone for good meanwhile.
fn enough(heard: usize, nodes: usize) -> bool {
    heard > 0 && heard.saturating_mul(10) >= nodes.saturating_mul(9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// States after each look, one a second.
    fn looks(looks: &[(usize, usize)]) -> Vec<bool> {
        let (mut state, start) = (Isolation::default(), Instant::now());
        let seconds = (0_u64..).map(|second| start + Duration::from_secs(second));
        let states = looks.iter().zip(seconds).map(|(&(known, heard), now)| {
            state = state.next(now, known, heard);
            state.is_isolated()
        });
        states.collect()
    }

    #[test]
    fn a_replica_without_nodes_or_with_some_is_not_isolated() {
        assert_eq!(looks(&[(0, 0), (10, 1), (10, 10), (10, 3)]), [false; 4]);
    }

    #[test]
    fn one_that_lost_all_waits_until_nearly_all_are_back() {
        let seen = looks(&[(10, 10), (10, 0), (10, 0), (10, 1), (10, 8), (10, 9), (10, 1)]);
        assert_eq!(seen, [false, true, true, true, true, false, false]);
    }

    #[test]
    fn it_waits_for_stragglers_ten_seconds() {
        let mut all = vec![(10, 0)];
        all.extend([(10, 5); 11]);
        let seen = looks(&all);
        assert_eq!(seen.iter().filter(|&&isolated| isolated).count(), 11, "{seen:?}");
        assert_eq!(seen.last(), Some(&false));
    }

    #[test]
    fn after_a_minute_alone_it_serves_what_it_has() {
        let seen = looks(&[(10, 0); 62]);
        assert!(seen[59] && !seen[60] && !seen[61], "{seen:?}");
    }

    #[test]
    fn agents_that_come_after_that_do_not_make_it_wait_again() {
        let mut all = vec![(10, 0); 61];
        all.extend([(10, 1), (10, 2)]);
        assert_eq!(looks(&all)[61..], [false, false]);
    }
}
