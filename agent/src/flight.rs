//! A cache in which many who ask for the same thing at one time cause one look-up.
//!
//! A look-up belongs to the cache, not to whoever asked first: it goes on when that one is gone, and its outcome is
//! kept. What is kept and for how long is the look-up's to say. Number and size of entries are bounded; over the
//! bounds on look-ups under way and on those who wait for them nothing is asked at all.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use lru::LruCache;
use prometheus_client::metrics::counter::Counter;
use tokio::{sync::Semaphore, time::Instant};

/// Look-ups under way at one time. Each holds what it asks about, at most some tens of kilobytes.
const MAX_FLIGHTS: usize = 1024;

/// Who may wait for look-ups at one time. Each is a request with its headers, and who sends it may be nobody.
const MAX_WAITING: usize = 4096;

/// An outcome and for how long it may be given again; `None` for not at all.
pub type Outcome<V> = (V, Option<Duration>);

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

/// The cache.
pub struct SingleFlightCache<K, V> {
    state: Arc<Mutex<State<K, V>>>,
    waiting: Semaphore,
    hits: Counter,
    misses: Counter,
}

struct State<K, V> {
    kept: LruCache<K, (Instant, V)>,
    flights: HashMap<K, Flight<V>>,
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, V> fmt::Debug for SingleFlightCache<K, V> {
    /// Without contents, which may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlightCache").finish_non_exhaustive()
    }
}

impl<K, V> SingleFlightCache<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// For `entries` outcomes; those used last stay. Counts what was found and what was not.
    #[must_use]
    pub fn new(entries: NonZeroUsize, hits: Counter, misses: Counter) -> Self {
        // One made with its bound has room for all from the start.
        let mut kept = LruCache::unbounded();
        kept.resize(entries);
        let state = State { kept, flights: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)), waiting: Semaphore::new(MAX_WAITING), hits, misses }
    }

    /// What is kept under `key`, or else what the look-up finds. `None` when there are too many look-ups or too many
    /// who wait, or when this one panicked.
    pub async fn get<F>(&self, key: K, look_up: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let (flight, _place) = {
            let mut state = lock(&self.state);
            match state.kept.get(&key) {
                Some((until, value)) if Instant::now() < *until => {
                    self.hits.inc();
                    return Some(value.clone());
                }
                _ => self.misses.inc(),
            };
            let place = self.waiting.try_acquire().ok()?;
            let under_way = state.flights.len();
            let flight = match state.flights.get(&key) {
                Some(flight) => flight.clone(),
                None if under_way >= MAX_FLIGHTS => return None,
                None => {
                    let flight = self.launch(key.clone(), look_up());
                    state.flights.insert(key, flight.clone());
                    flight
                }
            };
            (flight, place)
        };
        flight.await
    }

    /// Lets go of what is kept under `key`.
    pub fn forget(&self, key: &K) {
        lock(&self.state).kept.pop(key);
    }

    fn launch<F>(&self, key: K, look_up: F) -> Flight<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let state = Arc::clone(&self.state);
        let task = tokio::spawn(async move {
            let outcome = AssertUnwindSafe(look_up).catch_unwind().await.ok();
            let mut state = lock(&state);
            state.flights.remove(&key);
            let (value, kept_for) = outcome?;
            if let Some(kept_for) = kept_for.filter(|kept_for| !kept_for.is_zero()) {
                state.kept.put(key, (Instant::now() + kept_for, value.clone()));
            }
            Some(value)
        });
        async move { task.await.ok().flatten() }.boxed().shared()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    type Cache = SingleFlightCache<u32, u32>;

    const TTL: Duration = Duration::from_secs(10);

    fn cache(entries: usize) -> Cache {
        Cache::new(NonZeroUsize::new(entries).unwrap(), Counter::default(), Counter::default())
    }

    /// Takes a second and yields how often it was asked.
    fn counting(
        calls: &Arc<AtomicU32>,
        kept_for: Option<Duration>,
    ) -> impl Future<Output = Outcome<u32>> + Send + 'static {
        let calls = Arc::clone(calls);
        async move {
            let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            (call, kept_for)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_askers_cause_one_look_up_and_a_kept_outcome_none() {
        let (cache, calls) = (cache(8), Arc::default());
        let asked = (0..20).map(|_| cache.get(1, || counting(&calls, Some(TTL))));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| *answer == Some(1)), "{answers:?}");
        tokio::time::advance(Duration::from_millis(9999)).await;
        assert_eq!(cache.get(1, || counting(&calls, Some(TTL))).await, Some(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cache.get(1, || counting(&calls, Some(TTL))).await, Some(2));
        assert_eq!((cache.hits.get(), cache.misses.get()), (1, 21));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_to_be_kept_is_asked_again() {
        for kept_for in [None, Some(Duration::ZERO)] {
            let (cache, calls) = (cache(8), Arc::default());
            assert_eq!(cache.get(1, || counting(&calls, kept_for)).await, Some(1));
            assert_eq!(cache.get(1, || counting(&calls, kept_for)).await, Some(2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_survives_whoever_asked() {
        let (cache, calls) = (cache(8), Arc::default());
        let asked = cache.get(1, || counting(&calls, Some(TTL)));
        assert!(tokio::time::timeout(Duration::from_millis(500), asked).await.is_err());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cache.get(1, || counting(&calls, Some(TTL))).await, Some(1));
        assert_eq!(cache.hits.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_that_panics_is_no_answer_and_leaves_nothing_behind() {
        let (cache, calls) = (cache(8), Arc::default());
        let panics = || async {
            tokio::task::yield_now().await;
            panic!("expected by the test")
        };
        let both = futures_util::future::join(cache.get(1, panics), cache.get(1, panics)).await;
        assert_eq!(both, (None, None));
        assert_eq!(cache.get(1, || counting(&calls, None)).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_one_look_up_are_bounded() {
        let (cache, calls) = (Arc::new(cache(2)), Arc::default());
        let asked = (0..MAX_WAITING + 5).map(|_| cache.get(1, || counting(&calls, Some(TTL))));
        let answers = futures_util::future::join_all(asked).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 5);
        // Who finds what is kept does not wait.
        assert_eq!(cache.get(1, || counting(&calls, Some(TTL))).await, Some(1));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn entries_and_look_ups_are_bounded() {
        let (cache, calls) = (Arc::new(cache(2)), Arc::default());
        let many = u32::try_from(MAX_FLIGHTS).unwrap() + 5;
        let asked = (0..many).map(|key| cache.get(key, || counting(&calls, Some(TTL))));
        let answers = futures_util::future::join_all(asked).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 5);
        let state = lock(&cache.state);
        assert_eq!((state.kept.len(), state.flights.len()), (2, 0));
    }
}
