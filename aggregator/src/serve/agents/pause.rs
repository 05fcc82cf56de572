//! A short pause before a thread waits for its connections: one wake-up then finds many of them readable.
//!
//! Without it each message wakes the thread by itself, and finds nothing of what it needs in the processor's caches,
//! not even the code. Of a thousand nodes two dozen are read at a time. The messages of a fleet are a little older for it,
//! of the hundreds of milliseconds that a number is old anyway. Where few messages come nothing is gained, so there is no
//! pause.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::https::Arrivals;

/// How long messages gather.
const PAUSE: Duration = Duration::from_millis(50);

/// Worth it when so many come in that time.
const MANY: u32 = 2;

/// How long arrivals are counted for that.
const LOOK: Duration = Duration::from_millis(250);

/// The pauses of one thread.
#[derive(Debug)]
pub(super) struct Pauses {
    arrivals: Arrivals,
    /// Taken by this thread alone.
    rate: Mutex<Rate>,
}

impl Pauses {
    /// For the thread whose connections count `arrivals`.
    pub(super) fn new(arrivals: Arrivals) -> Self {
        let rate = Mutex::new(Rate { since: Instant::now(), counted: arrivals.count(), is_high: false });
        Self { arrivals, rate }
    }

    /// Holds up the thread, which has nothing else to do.
    pub(super) fn before_waiting(&self) {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let is_high = rate.is_high(self.arrivals.count(), Instant::now());
        drop(rate);
        if is_high {
            thread::sleep(PAUSE);
        }
    }
}

/// Whether many messages come.
#[derive(Debug)]
struct Rate {
    since: Instant,
    counted: u64,
    is_high: bool,
}

impl Rate {
    fn is_high(&mut self, arrivals: u64, now: Instant) -> bool {
        let looked = now.saturating_duration_since(self.since);
        if looked >= LOOK {
            let came = u32::try_from(arrivals - self.counted).unwrap_or(u32::MAX);
            // So many pauses of messages in that time.
            self.is_high = PAUSE.saturating_mul(came) >= looked * MANY;
            (self.since, self.counted) = (now, arrivals);
        }
        self.is_high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_pauses_while_many_messages_come_and_none_while_few_do() {
        let begin = Instant::now();
        let mut rate = Rate { since: begin, counted: 0, is_high: false };
        assert!(!rate.is_high(1000, begin + LOOK / 2), "not looked for long enough");
        assert!(rate.is_high(1000, begin + LOOK));
        assert!(rate.is_high(1000, begin + LOOK * 3 / 2), "goes on until the next look");
        let per_look = u64::from(MANY) * u64::try_from(LOOK.as_millis() / PAUSE.as_millis()).unwrap();
        let few = 1000 + per_look - 1;
        assert!(!rate.is_high(few, begin + LOOK * 2));
        assert!(rate.is_high(few + per_look, begin + LOOK * 3));
        assert!(!rate.is_high(few + 2 * per_look - 1, begin + LOOK * 4));
    }

    #[test]
    fn after_a_long_silence_there_is_no_pause() {
        let begin = Instant::now();
        let mut rate = Rate { since: begin, counted: 0, is_high: true };
        assert!(!rate.is_high(100, begin + Duration::from_secs(3600)));
    }
}
