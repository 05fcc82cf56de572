//! What the agent of a node knew last, for a kubelet that takes over from it; and when it does.

use std::{sync::Arc, time::Duration};

use kubevitals::sample::{BootTime, Sample, WallTime};

use super::history::{History, Point, Reading, Witness, is_same_counter};
use crate::store::{
    Shard,
    node::{CounterRef, NodeState},
    ring::Samples,
};

/// An agent that is replaced is silent for a few seconds; only one that is silent for longer is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(5);

/// So many ticks are missed before an agent is taken for lost.
const TICKS: u32 = 3;

/// A kubelet's time of a reading, and an agent's, are this far from the moment itself at most.
const BESIDE: u64 = 1_000_000;

/// Whether the node's kubelet is to be polled, going by its agent: `silent` since its last batch, none before the
/// first. Pure.
///
/// What the agent said is served for `stale` after its last batch. Kubelets read their counters every 10 to 20 s, so
/// polling begins so early that a reading from after the last batch is there before that: after 5 s or three ticks,
/// or, where ticks are long, at the latest when half of the time is over.
#[must_use]
pub fn is_polled(silent: Option<Duration>, interval: Duration, stale: Duration) -> bool {
    let lost = LOST_AFTER.max(interval * TICKS).min((stale / 2).max(interval * 3 / 2));
    silent.is_none_or(|silent| silent >= lost)
}

/// The samples of a node's agent, if it ever had one.
#[derive(Debug)]
pub struct AgentSamples(Option<Arc<Shard>>);

impl AgentSamples {
    /// Those of a shard.
    #[must_use]
    pub fn of(shard: Option<Arc<Shard>>) -> Self {
        Self(shard)
    }

    /// Whether the agent had a rate of this counter that ended later than `time`.
    #[must_use]
    pub fn served_after(&self, counter: &CounterRef, time: WallTime) -> bool {
        let Some(shard) = &self.0 else { return false };
        let state = shard.read();
        let newest = state.ring(counter).filter(|ring| ring.len() > 1).and_then(Samples::newest);
        newest.is_some_and(|newest| state.wall(newest.time) > time)
    }

    /// Hands the newest sample of a counter to its history, if there is one that counts: one from later than
    /// `newest` is of a clock that was set back since.
    pub(super) fn join(
        &self,
        counter: &CounterRef,
        reading: &Reading,
        newest: WallTime,
        history: &mut History,
    ) {
        let Some(shard) = &self.0 else { return };
        let state = shard.read();
        let Some(ring) = state.ring(counter) else { return };
        let Some(witness) = witness(&state, ring, reading.point.time) else { return };
        if witness.newest.time <= newest {
            history.take_agents(witness.newest, is_same_counter(reading, &witness));
        }
    }
}

fn witness(state: &NodeState, ring: Samples<'_>, at: WallTime) -> Option<Witness> {
    let newest = ring.newest()?;
    let boot = state.boot(at);
    let cpu = |sample: Sample| sample.cpu;
    Some(Witness {
        newest: Point {
            time: state.wall(newest.time),
            cpu: newest.cpu,
            memory_bytes: newest.working_set.bytes(),
        },
        before: ring.at_or_before(BootTime(boot.0.saturating_sub(BESIDE))).map(cpu),
        after: ring.at_or_after(BootTime(boot.0.saturating_add(BESIDE))).map(cpu),
        cpus: state.session().map_or(0, |session| session.cpus),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STALE: Duration = Duration::from_secs(30);

    fn polled(silent: u64, interval: u64) -> bool {
        is_polled(Some(Duration::from_secs(silent)), Duration::from_secs(interval), STALE)
    }

    #[test]
    fn an_agent_that_is_replaced_within_seconds_is_not_lost() {
        assert!(!polled(4, 1));
        assert!(polled(5, 1));
        assert!(!polled(14, 5) && polled(15, 5));
        assert!(is_polled(None, Duration::from_secs(1), STALE), "one that never came is lost");
    }

    proptest! {
        #[test]
        fn a_live_agent_is_never_polled_over_and_a_lost_one_is_in_time(interval in 1_u64..60_000, stale in 3_000_u64..600_000) {
            let (interval, stale) = (Duration::from_millis(interval), Duration::from_millis(stale));
            prop_assert!(!is_polled(Some(interval), interval, stale));
            let half = (stale / 2).max(interval * 3 / 2);
            prop_assert!(is_polled(Some(half), interval, stale));
        }
    }
}
