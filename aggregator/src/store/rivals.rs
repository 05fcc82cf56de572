//! Which of several agents speaks for a node. Pure.
//!
//! Two agents are there for seconds while a `DaemonSet` surges, and for long when a pod was left behind. The one whose pod
//! was made last wins, whoever came first. Where that is not known, or both are of one pod, whoever came last wins; and
//! an agent that lost does not win back while the winner streams, so that two of them do not take the node from each
//! other for ever.

use std::{collections::VecDeque, time::Duration};

use kubevitals::sample::WallTime;

/// Losers remembered. More agents than this on one node are no set-up.
const LOSERS: usize = 8;

/// Who wants to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The agent process.
    pub instance: u64,
    /// When its pod was made, if that is known.
    pub created: Option<WallTime>,
}

/// Why a stream does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rivalry {
    /// The same agent process is streaming already, by another address of ours.
    SameProcess,
    /// An agent that is newer, or won before, is streaming.
    NewerAgent,
}

/// Who spoke last, and who lost to it.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    holder: Option<Claim>,
    losers: VecDeque<u64>,
}

impl Rivals {
    /// Whether `claim` takes the node over; `lively` when the holder streams. Then it is the holder from now on.
    pub(super) fn contest(&mut self, claim: Claim, lively: bool) -> bool {
        if let Some(holder) = self.holder.filter(|holder| lively && holder.instance != claim.instance) {
            let wins = match (claim.created, holder.created) {
                (Some(new), Some(old)) if new != old => new > old,
                _ => !self.losers.contains(&claim.instance),
            };
            if !wins {
                return false;
            }
            self.losers.push_back(holder.instance);
            if self.losers.len() > LOSERS {
                self.losers.pop_front();
            }
        }
        self.losers.retain(|loser| *loser != claim.instance);
        self.holder = Some(claim);
        true
    }
}

/// How long a stream without a tick counts as lively: a little more than a tick.
pub(super) fn patience(interval: Duration) -> Duration {
    interval * 3 / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(instance: u64, created: Option<u64>) -> Claim {
        Claim { instance, created: created.map(WallTime) }
    }

    #[test]
    fn the_newest_pod_wins_whoever_came_first() {
        let mut rivals = Rivals::default();
        assert!(rivals.contest(claim(1, Some(10)), false));
        assert!(rivals.contest(claim(2, Some(20)), true));
        assert!(!rivals.contest(claim(1, Some(10)), true));
        assert!(!rivals.contest(claim(3, Some(15)), true));
        assert!(rivals.contest(claim(1, Some(10)), false), "the newer one is gone");
    }

    #[test]
    fn without_ages_the_newest_stream_wins_and_the_loser_does_not_win_back() {
        for created in [None, Some(10)] {
            let mut rivals = Rivals::default();
            assert!(rivals.contest(claim(1, created), false));
            assert!(rivals.contest(claim(2, created), true));
            assert!(!rivals.contest(claim(1, created), true));
            assert!(rivals.contest(claim(2, created), true), "its own stream again");
            assert!(rivals.contest(claim(3, created), true), "a process that started anew");
            assert!(!rivals.contest(claim(2, created), true));
        }
    }

    proptest! {
        /// However two or three live agents come back, after each was refused or took over once nothing changes any more.
        #[test]
        fn rivals_settle(
            ages in proptest::collection::vec(proptest::option::of(0_u64..3), 2..4),
            order in proptest::collection::vec(0_usize..3, 20..60),
        ) {
            let mut rivals = Rivals::default();
            let mut taken = 0;
            for index in order {
                let index = index % ages.len();
                let claim = claim(index as u64 + 1, ages[index]);
                if rivals.holder.is_some_and(|holder| holder.instance == claim.instance) {
                    continue;
                }
                taken += usize::from(rivals.contest(claim, true));
            }
            prop_assert!(taken <= 2 * ages.len() + 1, "{taken} changes");
        }
    }
}
