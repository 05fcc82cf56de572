//! What agents do wrong, logged once per source and reason and not again for a while: a thief that tries each second
//! must not fill the log, and the metrics count every time.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;

/// The same is logged again after this long.
const AGAIN: Duration = Duration::from_secs(600);

/// Sources and reasons remembered; those seen last stay.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Lines in a minute, whatever the sources: whoever has many addresses is many sources.
const LINES: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// What was logged lately.
#[derive(Debug)]
pub struct Complaints(Mutex<Logged>);

#[derive(Debug)]
struct Logged {
    last: LruCache<(String, &'static str), Instant>,
    /// When the present minute began, and how many lines it has.
    minute: Option<(Instant, u32)>,
}

impl Default for Complaints {
    fn default() -> Self {
        // One made with its bound has room for all from the start.
        let mut last = LruCache::unbounded();
        last.resize(REMEMBERED);
        Self(Mutex::new(Logged { last, minute: None }))
    }
}

impl Complaints {
    /// Whether to log now that `source` did wrong in this way.
    pub fn is_news(&self, source: &str, reason: &'static str, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (source.to_owned(), reason);
        if logged.last.get(&key).is_some_and(|last| now.saturating_duration_since(*last) < AGAIN) {
            return false;
        }
        let (begun, lines) = match logged.minute {
            Some((begun, lines)) if now.saturating_duration_since(begun) < MINUTE => (begun, lines),
            _ => (now, 0),
        };
        if lines >= LINES {
            return false;
        }
        logged.minute = Some((begun, lines + 1));
        logged.last.put(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_and_reason_is_logged_once_in_a_while() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert!(complaints.is_news("a", "x", now));
        assert!(!complaints.is_news("a", "x", now + AGAIN / 2));
        assert!(complaints.is_news("a", "y", now) && complaints.is_news("b", "x", now));
        assert!(complaints.is_news("a", "x", now + AGAIN));
    }

    #[test]
    fn many_sources_do_not_fill_the_log() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        let logged = (0..10_000).filter(|n| complaints.is_news(&n.to_string(), "x", now)).count();
        assert_eq!(logged, 60);
        assert!(complaints.is_news("9999", "x", now + MINUTE), "it was not logged before");
    }
}
