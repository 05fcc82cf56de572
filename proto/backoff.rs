//! How long to wait before the next attempt. Pure: the caller brings the randomness.

use std::time::Duration;

/// Exponential backoff with jitter.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempt: u32,
}

impl Backoff {
    /// Waits about `first`, doubling with each attempt up to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), attempt: 0 }
    }

    /// The next wait. `random` in 0..=1 spreads it over the upper half, so that agents which lost the same
    /// aggregator do not come back in step.
    pub fn next(&mut self, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX));
        self.attempt = self.attempt.saturating_add(1);
        doubled.min(self.longest).mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// The attempt succeeded; the next failure starts from the beginning.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let waits: Vec<u128> = (0..7).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 25);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_longest(attempts in 0_usize..200, random in any::<f64>()) {
            let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
            for _ in 0..attempts {
                let wait = backoff.next(random);
                prop_assert!(wait <= Duration::from_secs(1) && wait >= Duration::from_millis(25));
            }
        }
    }
}
