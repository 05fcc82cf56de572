//! The last minute of batches, for aggregators that come back or start anew.
//!
//! One writer (the sampling thread) and one reader per aggregator. Batches are kept encoded and shared. Beside
//! them stands the state of the chain just before the oldest of them, from which a snapshot is made for an
//! aggregator that cannot resume.
//!
//! That state is not moved forward batch by batch: decoding each batch that leaves was two dozen allocations a tick. A
//! checkpoint is copied from the encoder once a span, and the batches since the one before the last are kept, which is one
//! span to two. Who needs a snapshot makes it of that older checkpoint and the batches that are older than
//! what is wanted.

mod newest;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kubevitals::{
    chain::{ChainError, Checkpoint},
    sample::BootTime,
};
use prost::Message as _;

pub use self::newest::Follower;
use self::newest::Newest;

/// Most bytes of batches kept. A node with 10,000 cgroups needs about 5 MiB a minute; this bounds a node whose
/// cgroups come and go by the thousand.
const MAX_BYTES: usize = 32 << 20;

/// Batches between two checkpoints however old they are, so that a long interval still allows a resume; and fewest
/// that a snapshot is followed by.
const MIN_BATCHES: u64 = 4;

/// The shared history.
#[derive(Clone, Debug)]
pub struct History {
    ring: Arc<Mutex<Ring>>,
    newest: Newest,
}

#[derive(Debug)]
struct Ring {
    span: Duration,
    /// Just before the oldest batch kept. Shared with who makes a snapshot of it at this moment.
    base: Arc<Checkpoint>,
    /// About a span later: the next base.
    next: Arc<Checkpoint>,
    batches: VecDeque<Entry>,
    bytes: usize,
    /// Bytes of those after `next`.
    fresh: usize,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    time: BootTime,
    encoded: Bytes,
}

/// How a reader at some position goes on.
#[derive(Debug)]
pub enum Continuation {
    /// With these batches, oldest first.
    Batches(Vec<Bytes>),
    /// From a snapshot: the batches after its position are no longer kept, or it has no position.
    Snapshot {
        /// The position.
        sequence: u64,
        /// Its encoded parts.
        parts: Vec<Bytes>,
    },
}

/// What is kept, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Batches.
    pub batches: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl History {
    /// Keeps `span` of batches.
    #[must_use]
    pub fn new(span: Duration) -> Self {
        let (base, next) = (Arc::default(), Arc::default());
        let ring = Ring { span, base, next, batches: VecDeque::new(), bytes: 0, fresh: 0 };
        Self { ring: Arc::new(Mutex::new(ring)), newest: Newest::default() }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A panic while it was held cannot leave the ring half changed in a way that matters more than sampling.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the next batch, after which the chain is in `state`, and forgets what is older than the span.
    pub fn push(&self, sequence: u64, time: BootTime, encoded: Bytes, state: &Checkpoint) -> Depth {
        let depth = {
            let mut ring = self.ring();
            ring.push(Entry { sequence, time, encoded });
            ring.turn(time, state);
            Depth { batches: ring.batches.len(), bytes: ring.bytes }
        };
        self.newest.tell(sequence);
        depth
    }

    /// Told whenever a batch was added.
    #[must_use]
    pub fn newest(&self) -> Follower {
        self.newest.follow()
    }

    /// What follows batch `position`; `None` is a reader that holds nothing. An error means that our own chain is
    /// broken: no aggregator could follow it.
    pub fn after(&self, position: Option<u64>) -> Result<Continuation, ChainError> {
        let stale = {
            let ring = self.ring();
            let newest = ring.batches.back().map_or(ring.base.sequence(), |entry| entry.sequence);
            // One that is ahead of us holds another history than ours: of before this machine was set back to a snapshot.
            if let Some(position) = position.filter(|held| (ring.base.sequence()..=newest).contains(held)) {
                let news = ring.batches.iter().filter(|entry| entry.sequence > position);
                return Ok(Continuation::Batches(news.map(|entry| entry.encoded.clone()).collect()));
            }
            ring.stale(ring.span)
        };
        stale.snapshot()
    }

    /// A snapshot of `back` before the newest batch, or of as far back as batches are kept, for a reader that holds nothing
    /// and wants no more. Errors as [`after`](Self::after).
    pub fn begin(&self, back: Duration) -> Result<Continuation, ChainError> {
        let stale = {
            let ring = self.ring();
            ring.stale(ring.span.min(back))
        };
        stale.snapshot()
    }
}

/// What a snapshot is made of, without the lock.
struct Stale {
    base: Arc<Checkpoint>,
    /// Batches after it that are older than what is wanted.
    batches: Vec<Bytes>,
}

impl Stale {
    fn snapshot(self) -> Result<Continuation, ChainError> {
        let mut state = self.base.decoder()?;
        for batch in self.batches {
            state.batch(&batch)?;
        }
        let parts = state.to_snapshot().map(|part| part.encode_to_vec().into()).collect();
        Ok(Continuation::Snapshot { sequence: state.sequence(), parts })
    }
}

impl Ring {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.encoded.len();
        self.fresh += entry.encoded.len();
        self.batches.push_back(entry);
    }

    /// Takes a checkpoint when it is time: the one before becomes the base, and what lies before that is forgotten.
    fn turn(&mut self, now: BootTime, state: &Checkpoint) {
        let old = now.since(self.next.time()) > self.span
            && state.sequence().saturating_sub(self.next.sequence()) >= MIN_BATCHES;
        let large = self.fresh > MAX_BYTES / 2;
        if !old && !large {
            return;
        }
        std::mem::swap(&mut self.base, &mut self.next);
        // The memory of the former base is used again, unless somebody is still reading it.
        match Arc::get_mut(&mut self.next) {
            Some(next) => next.clone_from(state),
            None => self.next = Arc::new(state.clone()),
        }
        self.fresh = 0;
        while let Some(oldest) = self.batches.front()
            && oldest.sequence <= self.base.sequence()
        {
            self.bytes -= oldest.encoded.len();
            self.batches.pop_front();
        }
    }

    /// What is left behind by who begins `back` ago.
    fn stale(&self, back: Duration) -> Stale {
        let now = self.batches.back().map_or(BootTime(0), |entry| entry.time);
        let beyond = self.batches.len().saturating_sub(usize::try_from(MIN_BATCHES).unwrap_or(usize::MAX));
        let old = self.batches.iter().take(beyond).take_while(|entry| now.since(entry.time) > back);
        Stale { base: Arc::clone(&self.base), batches: old.map(|entry| entry.encoded.clone()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use kubevitals::{
        chain::{Announcement, Decoder, Encoder},
        sample::{CpuTime, Sample, SeriesId, Subject, WallTime, WorkingSet},
    };

    use super::*;

    /// Ticks 1 to `ticks`, one a second, of one series.
    fn filled(span: u64, ticks: u64) -> History {
        let history = History::new(Duration::from_secs(span));
        let mut encoder = Encoder::default();
        for tick in 1..=ticks {
            let time = BootTime(tick * 1_000_000);
            encoder.begin(time, WallTime(time.0));
            if tick == 1 {
                let (series, subject) = (SeriesId(1), Subject::Node);
                encoder.announce(&Announcement { series, subject, inode: 1, first: None, birth: None });
            }
            let working_set = WorkingSet::from_units(5);
            encoder.sample(Sample { time, cpu: CpuTime(tick * 10), working_set }, None);
            let (sequence, batch) = encoder.finish();
            history.push(sequence, time, batch, encoder.state());
        }
        history
    }

    fn sequence_of(continuation: &Continuation) -> (Option<u64>, usize) {
        match continuation {
            Continuation::Batches(batches) => (None, batches.len()),
            Continuation::Snapshot { sequence, .. } => (Some(*sequence), 0),
        }
    }

    #[test]
    fn a_reader_that_holds_a_kept_position_goes_on_after_it() {
        let history = filled(60, 30);
        assert_eq!(sequence_of(&history.after(Some(27)).unwrap()), (None, 3));
        assert_eq!(sequence_of(&history.after(Some(30)).unwrap()), (None, 0));
        assert_eq!(sequence_of(&history.after(Some(0)).unwrap()), (None, 30));
    }

    #[test]
    fn a_reader_that_holds_nothing_gets_a_snapshot_and_the_whole_span() {
        let history = filled(10, 30);
        let Continuation::Snapshot { parts, .. } = history.after(None).unwrap() else {
            panic!("no snapshot")
        };
        let mut reader = Decoder::new();
        for part in &parts {
            reader.encoded_snapshot(part).unwrap();
        }
        let Continuation::Batches(batches) = history.after(Some(reader.sequence())).unwrap() else {
            panic!("no batches")
        };
        assert_eq!(batches.len(), 11, "ten seconds and the tick that begins them");
        let last = batches.iter().map(|batch| reader.batch(batch).unwrap().samples[0].1).last();
        assert_eq!(last.unwrap().cpu, CpuTime(300));
    }

    #[test]
    fn a_position_that_is_no_longer_kept_needs_a_snapshot() {
        assert_eq!(sequence_of(&filled(10, 30).after(Some(3)).unwrap()), (Some(19), 0));
    }

    #[test]
    fn a_snapshot_lies_a_span_back_at_any_time_and_continues_with_the_same_numbers() {
        for ticks in 1..=50 {
            let history = filled(10, ticks);
            let Continuation::Snapshot { sequence, parts } = history.after(None).unwrap() else {
                panic!("no snapshot")
            };
            assert_eq!(sequence, ticks.saturating_sub(11), "after {ticks}");
            let mut reader = Decoder::new();
            for part in &parts {
                reader.encoded_snapshot(part).unwrap();
            }
            let Continuation::Batches(batches) = history.after(Some(sequence)).unwrap() else {
                panic!("no batches")
            };
            for batch in &batches {
                reader.batch(batch).unwrap();
            }
            let (_, last, _) = reader.live().next().unwrap();
            assert_eq!((reader.sequence(), last.unwrap().cpu), (ticks, CpuTime(ticks * 10)));
            assert!(history.ring().batches.len() <= 21, "after {ticks}: two spans at most");
        }
    }

    #[test]
    fn a_reader_may_begin_later_than_the_span() {
        let history = filled(10, 30);
        let begin = |back| sequence_of(&history.begin(Duration::from_secs(back)).unwrap()).0;
        assert_eq!(begin(6), Some(23), "six seconds and the tick that begins them");
        assert_eq!(begin(1), Some(26), "four batches at least");
        assert_eq!(begin(20), Some(19), "no more than the span");
    }

    #[test]
    fn few_batches_of_a_long_interval_are_kept_however_old() {
        let Continuation::Batches(batches) = filled(0, 30).after(Some(26)).unwrap() else {
            panic!("no batches")
        };
        assert_eq!(batches.len(), 4);
    }

    #[test]
    fn a_position_that_was_never_reached_needs_a_snapshot() {
        assert_eq!(sequence_of(&filled(10, 30).after(Some(31)).unwrap()), (Some(19), 0));
        assert_eq!(sequence_of(&History::new(Duration::from_secs(1)).after(Some(1)).unwrap()), (Some(0), 0));
    }

    #[test]
    fn readers_are_told_of_each_batch() {
        assert_eq!(filled(60, 3).newest().seen(), 3);
    }
}
