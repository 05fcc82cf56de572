//! When a kubelet is polled next. Pure.

use std::time::Duration;

/// The polls that follow the first ones in a hurry are this far apart, at least.
const EAGER: Duration = Duration::from_secs(5);

/// How many polls of a node are eager at most. Kubelets read their counters at least every 20 s, so by then a second
/// reading is there.
const EAGER_POLLS: u32 = 5;

/// First polls start this far apart, so that thousands of handshakes do not come at once...
const APART: Duration = Duration::from_millis(4);

/// ... and all of them within this.
const SPREAD: Duration = Duration::from_secs(4);

/// How long the first poll waits when `ahead` others were begun just before it.
#[must_use]
pub fn first(ahead: usize) -> Duration {
    let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
    // Over a thousand, two and more go together.
    Duration::from_micros((APART * ahead).as_micros().try_into().unwrap_or(u64::MAX) % micros(SPREAD))
}

/// How long to wait after a poll that began at `now` (any clock whose zero does not move) and was the `nth` of its
/// node, counted from 1. Each node has its own place in the resolution, by `seed`. Until each of its containers has a
/// rate (`is_complete`), the first few are closer together.
#[must_use]
pub fn next(now: Duration, nth: u32, is_complete: bool, seed: u64, resolution: Duration) -> Duration {
    if nth < EAGER_POLLS && !is_complete {
        return EAGER.min(resolution);
    }
    let (now, period) = (micros(now), micros(resolution).max(1));
    let place = seed % period;
    // The first place of its own that is at least half a period away.
    let earliest = now.saturating_add(period / 2);
    let over = (earliest.saturating_add(period) - place) % period;
    let at = earliest.saturating_add(if over == 0 { 0 } else { period - over });
    Duration::from_micros(at - now)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RESOLUTION: Duration = Duration::from_secs(15);

    #[test]
    fn first_polls_are_spread_and_none_waits_long() {
        assert_eq!(first(0), Duration::ZERO);
        assert_eq!(first(10), Duration::from_millis(40));
        assert!((0..20_000).all(|ahead| first(ahead) < SPREAD));
    }

    #[test]
    fn the_second_page_is_fetched_soon() {
        assert_eq!(next(Duration::ZERO, 1, false, 7, RESOLUTION), EAGER);
        assert!(next(Duration::ZERO, 1, true, 7, RESOLUTION) >= RESOLUTION / 2);
    }

    proptest! {
        #[test]
        fn a_node_keeps_to_its_own_place_whatever_a_poll_takes(
            start in 0_u64..1_000_000, seed in any::<u64>(), late in proptest::collection::vec(0_u64..6_000, 1..20),
        ) {
            let mut now = Duration::from_millis(start);
            let mut places = Vec::new();
            for (nth, late) in (EAGER_POLLS..).zip(late) {
                let wait = next(now, nth, false, seed, RESOLUTION);
                prop_assert!(wait >= RESOLUTION / 2 && wait < RESOLUTION * 3 / 2 + Duration::from_micros(1));
                places.push((now + wait).as_micros() % RESOLUTION.as_micros());
                now += wait + Duration::from_millis(late);
            }
            prop_assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{places:?}");
        }
    }
}
