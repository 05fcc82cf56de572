//! When the next tick is due. Pure: the caller brings the clock.

use std::time::Duration;

use kubevitals::sample::BootTime;

/// A sampler that has not ticked for this many intervals, or this long, is stuck.
const STUCK_TICKS: u32 = 5;
const STUCK: Duration = Duration::from_secs(10);

/// How old the last tick may be before the sampler counts as stuck.
#[must_use]
pub fn stuck_after(interval: Duration) -> Duration {
    STUCK.max(interval * STUCK_TICKS)
}

/// A drift-free beat: every tick lies a whole number of intervals after the first.
#[derive(Debug)]
pub struct Pace {
    interval: u64,
    next: u64,
}

impl Pace {
    /// Ticks every `interval` at a phase that follows from `node`, so that the nodes of a cluster do not all
    /// send at the same moment. The first tick lies within one interval after `now`.
    #[must_use]
    pub fn new(interval: Duration, node: &str, now: BootTime) -> Self {
        let interval = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let phase = fnv1a(node.as_bytes()) % interval;
        let into = now.0 % interval;
        let wait = if phase > into { phase - into } else { phase + (interval - into) };
        Self { interval, next: now.0.saturating_add(wait) }
    }

    /// When the next tick is due.
    #[must_use]
    pub fn due(&self) -> BootTime {
        BootTime(self.next)
    }

    /// The due tick was done and it is now `now`: plans the next one and tells how many could not be kept.
    pub fn advance(&mut self, now: BootTime) -> u64 {
        let late = now.0.saturating_sub(self.next) / self.interval;
        self.next = self.next.saturating_add(self.interval.saturating_mul(late + 1));
        late
    }
}

/// FNV-1a, 64 bit: stable between versions, unlike the standard library's hasher.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ticks_do_not_drift_when_each_is_a_little_late() {
        let mut pace = Pace::new(SECOND, "n1", BootTime(10_000_000));
        let first = pace.due().0;
        for n in 1..=1000 {
            assert_eq!(pace.advance(BootTime(pace.due().0 + 900)), 0);
            assert_eq!(pace.due().0, first + n * 1_000_000);
        }
    }

    #[test]
    fn a_stall_is_counted_and_not_caught_up() {
        let mut pace = Pace::new(SECOND, "n1", BootTime(0));
        let first = pace.due().0;
        assert_eq!(pace.advance(BootTime(first + 10_400_000)), 10);
        assert_eq!(pace.due().0, first + 11_000_000);
    }

    #[test]
    fn nodes_are_spread_over_the_interval() {
        let phases: std::collections::BTreeSet<u64> = (0..100)
            .map(|n| Pace::new(SECOND, &format!("node-{n}"), BootTime(0)).due().0 / 100_000)
            .collect();
        assert!(phases.len() >= 9, "{phases:?}");
    }

    proptest! {
        #[test]
        fn the_next_tick_lies_ahead_and_within_one_interval(
            interval in 200_000_u64..60_000_000, now in 0_u64..1 << 50, node in ".{0,20}", late in 0_u64..1 << 40,
        ) {
            let mut pace = Pace::new(Duration::from_micros(interval), &node, BootTime(now));
            prop_assert!(pace.due().0 > now && pace.due().0 <= now + interval);
            let then = pace.due().0 + late;
            pace.advance(BootTime(then));
            prop_assert!(pace.due().0 > then && pace.due().0 <= then + interval);
        }
    }
}
