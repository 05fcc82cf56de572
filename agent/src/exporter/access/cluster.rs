//! Tokens of the cluster, reviewed by an aggregator, as kubelets ask kube-apiserver about theirs.
//!
//! A verdict is kept for a short time under the token's SHA-256; the token itself is never kept. While no aggregator
//! answers, whoever was allowed lately stays so for some minutes, as scrapers must not go blind with the aggregators.
//! Unknown tokens are asked about only so often, so that nobody guesses through us.

use std::{
    fmt,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use kubevitals::wire;
use lru::LruCache;
use prometheus_client::metrics::counter::Counter;
use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use crate::{
    exporter::counted::{Counted, Reviewed},
    flight::{Outcome, SingleFlightCache},
    rate::{Rate, Rates},
    stream::NoReview,
};

/// How long verdicts count.
const ALLOWED: Duration = Duration::from_secs(60);
const REFUSED: Duration = Duration::from_secs(10);

/// How much longer a permission counts while no aggregator answers, and how soon one is asked again.
const HELD: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_secs(5);

/// Verdicts kept at one time; a few hundred bytes each.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Tokens remembered as allowed. No garbage can push them out.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Questions about tokens that were not allowed lately: of one address, and of all.
const OF_ONE: Rate = Rate { burst: 5, every: Duration::from_secs(1) };
const OF_ALL: Rate = Rate { burst: 20, every: Duration::from_millis(200) };

/// Addresses remembered.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Longest token, bytes. Tokens of service accounts take one or two thousand.
const LONGEST: usize = 32 << 10;

/// Longest reason that is passed on, characters.
const REASON: usize = 512;

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its user may read this node's metrics.
    Allowed,
    /// It is nobody's.
    Unauthenticated,
    /// Its user may not; in the cluster's words, in one line.
    Forbidden(Arc<str>),
    /// Nobody could be asked.
    Unknown,
}

/// Asks an aggregator about a token.
pub type Ask =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<wire::ReviewResponse, NoReview>> + Send + Sync>;

type Digest = [u8; 32];

/// Verdicts about tokens.
pub struct ClusterTokens {
    ask: Ask,
    cache: SingleFlightCache<Digest, Verdict>,
    /// When each was last found allowed.
    allowed: Arc<Mutex<LruCache<Digest, Instant>>>,
    unknown: Mutex<Unknown>,
    /// No aggregator answers, and that is logged.
    trouble: Arc<AtomicBool>,
    counted: Counted,
}

/// How often unknown tokens are asked about.
struct Unknown {
    by_address: Rates<IpAddr>,
    all: Rates<()>,
}

impl Unknown {
    fn take(&mut self, peer: IpAddr, now: Instant) -> bool {
        let now = now.into_std();
        self.by_address.take(peer, now) && self.all.take((), now)
    }
}

impl ClusterTokens {
    /// Verdicts by whoever `ask` asks.
    #[must_use]
    pub fn new(ask: Ask, counted: Counted) -> Self {
        let unknown =
            Unknown { by_address: Rates::new(OF_ONE, ADDRESSES), all: Rates::new(OF_ALL, NonZeroUsize::MIN) };
        Self {
            ask,
            cache: SingleFlightCache::new(KEPT, Counter::default(), Counter::default()),
            allowed: Arc::new(Mutex::new(LruCache::new(REMEMBERED))),
            unknown: Mutex::new(unknown),
            trouble: Arc::default(),
            counted,
        }
    }

    /// What is known of `token`, which `peer` shows. Many who show the same wait for one answer.
    pub async fn verdict(&self, token: &str, peer: IpAddr) -> Verdict {
        if token.len() > LONGEST {
            return Verdict::Unauthenticated;
        }
        let key = key(token);
        self.cache.get(key, || self.look_up(key, token, peer)).await.unwrap_or(Verdict::Unknown)
    }

    fn look_up(
        &self,
        key: Digest,
        token: &str,
        peer: IpAddr,
    ) -> impl Future<Output = Outcome<Verdict>> + Send + 'static {
        let (allowed, counted) = (Arc::clone(&self.allowed), self.counted.clone());
        let trouble = Arc::clone(&self.trouble);
        let is_known = lock(&allowed).peek(&key).is_some();
        let may_ask = is_known || lock(&self.unknown).take(peer, Instant::now());
        let asked = may_ask.then(|| (self.ask)(token.to_owned()));
        async move {
            let Some(asked) = asked else {
                counted.reviewed(Reviewed::Limited);
                return (Verdict::Unknown, None);
            };
            let answer = asked.await;
            note(&trouble, answer.as_ref().err());
            let (verdict, kept, how) = match answer {
                Ok(response) => judge(&response),
                Err(_) => without_answer(&allowed, &key),
            };
            match how {
                Reviewed::Allowed => drop(lock(&allowed).put(key, Instant::now())),
                Reviewed::Forbidden | Reviewed::Unauthenticated => drop(lock(&allowed).pop(&key)),
                Reviewed::Held | Reviewed::Failed | Reviewed::Limited => {}
            }
            counted.reviewed(how);
            (verdict, kept)
        }
    }
}

impl fmt::Debug for ClusterTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterTokens").finish_non_exhaustive()
    }
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(token: &str) -> Digest {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    key
}

/// A verdict, how long it counts, and what it is counted as.
type Judged = (Verdict, Option<Duration>, Reviewed);

fn judge(response: &wire::ReviewResponse) -> Judged {
    match (response.authenticated, response.allowed) {
        (true, true) => (Verdict::Allowed, Some(ALLOWED), Reviewed::Allowed),
        (true, false) => (Verdict::Forbidden(one_line(&response.reason)), Some(REFUSED), Reviewed::Forbidden),
        (false, _) => (Verdict::Unauthenticated, Some(REFUSED), Reviewed::Unauthenticated),
    }
}

/// Who was allowed lately stays so for a while.
fn without_answer(allowed: &Mutex<LruCache<Digest, Instant>>, key: &Digest) -> Judged {
    let last = lock(allowed).peek(key).copied();
    if last.is_some_and(|last| last.elapsed() < ALLOWED + HELD) {
        return (Verdict::Allowed, Some(AGAIN), Reviewed::Held);
    }
    lock(allowed).pop(key);
    (Verdict::Unknown, None, Reviewed::Failed)
}

/// Logs what changes.
fn note(trouble: &AtomicBool, error: Option<&NoReview>) {
    match (trouble.swap(error.is_some(), Ordering::Relaxed), error) {
        (false, Some(error)) => {
            tracing::warn!(%error, "no reviews of scrapers' tokens; who was allowed lately stays so");
        }
        (true, None) => tracing::info!("reviews of scrapers' tokens again"),
        _ => {}
    }
}

/// What others write becomes a line of our answer.
fn one_line(reason: &str) -> Arc<str> {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    reason.chars().take(REASON).map(clean).collect::<String>().into()
}

#[cfg(test)]
mod tests;
