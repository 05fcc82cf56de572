//! How often each of many may do something: a token bucket for each, and a bound on how many are remembered. Pure: the
//! caller brings the time.

use std::{
    hash::Hash,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;

/// How often one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a quiet time.
    pub burst: u32,
    /// Once more after each of these.
    pub every: Duration,
}

/// Buckets by key. One that is forgotten for the sake of others is full again.
#[derive(Debug)]
pub struct Rates<K: Hash + Eq> {
    rate: Rate,
    buckets: LruCache<K, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    filled: Instant,
}

impl<K: Hash + Eq> Rates<K> {
    /// The same rate for each of at most `keys`; those used last are remembered.
    #[must_use]
    pub fn new(rate: Rate, keys: NonZeroUsize) -> Self {
        Self { rate, buckets: LruCache::new(keys) }
    }

    /// Whether `key` may do it now; if so, it has.
    pub fn take(&mut self, key: K, now: Instant) -> bool {
        let Rate { burst, every } = self.rate;
        let full = f64::from(burst);
        let bucket = self.buckets.get_or_insert_mut(key, || Bucket { left: full, filled: now });
        let since = now.saturating_duration_since(bucket.filled);
        let gained = since.as_secs_f64() / every.as_secs_f64().max(f64::EPSILON);
        bucket.left = (bucket.left + gained).min(full);
        bucket.filled = bucket.filled.max(now);
        let may = bucket.left >= 1.0;
        if may {
            bucket.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(1) };

    fn rates(keys: usize) -> Rates<u32> {
        Rates::new(RATE, NonZeroUsize::new(keys).unwrap())
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_at_a_time() {
        let (mut rates, now) = (rates(8), Instant::now());
        let taken = |rates: &mut Rates<u32>, at| (0..10).filter(|_| rates.take(1, at)).count();
        assert_eq!(taken(&mut rates, now), 3);
        assert!(rates.take(2, now), "another one has its own");
        assert_eq!(taken(&mut rates, now + Duration::from_millis(900)), 0);
        assert_eq!(taken(&mut rates, now + Duration::from_millis(1100)), 1);
        assert_eq!(taken(&mut rates, now + Duration::from_secs(100)), 3);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (mut rates, now) = (rates(4), Instant::now());
        for key in 0..10_000 {
            rates.take(key, now);
        }
        assert_eq!(rates.buckets.len(), 4);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate(pauses in prop::collection::vec(0_u64..3000, 1..200)) {
            let (mut rates, begin) = (rates(1), Instant::now());
            let (mut at, mut taken) = (Duration::ZERO, 0.0);
            for pause in pauses {
                at += Duration::from_millis(pause);
                if rates.take(0, begin + at) {
                    taken += 1.0;
                }
                prop_assert!(taken <= 3.0 + at.as_secs_f64() + 1e-6);
            }
        }
    }
}
