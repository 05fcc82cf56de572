//! The last minute of batches, for aggregators that come back or start anew.
//!
//! One writer (the sampling thread) and one reader per aggregator. Batches are kept encoded and shared. Beside
//! them stands the state of the chain just before the oldest of them, from which a snapshot is made for an
//! aggregator that cannot resume.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kubevitals::{
    chain::{ChainError, Decoder},
    sample::BootTime,
};
use prost::Message as _;
use tokio::sync::watch;

/// Most bytes of batches kept. A node with 10,000 cgroups needs about 5 MiB a minute; this bounds a node whose
/// cgroups come and go by the thousand.
const MAX_BYTES: usize = 32 << 20;

/// Batches kept however old they are, so that a long interval still allows a resume.
const MIN_BATCHES: usize = 4;

/// The shared history.
#[derive(Clone, Debug)]
pub struct History {
    ring: Arc<Mutex<Ring>>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    span: Duration,
    /// State of the chain before the oldest batch kept.
    base: Decoder,
    batches: VecDeque<Entry>,
    bytes: usize,
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
        let ring = Ring { span, base: Decoder::new(), batches: VecDeque::new(), bytes: 0 };
        Self { ring: Arc::new(Mutex::new(ring)), newest: watch::Sender::new(0) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // A panic while it was held cannot leave the ring half changed in a way that matters more than sampling.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the next batch and forgets what is older than the span. An error means that our own chain is broken: no
    /// aggregator could follow it, and only a new one helps.
    pub fn push(&self, sequence: u64, time: BootTime, encoded: Bytes) -> Result<Depth, ChainError> {
        let depth = {
            let mut ring = self.ring();
            ring.bytes += encoded.len();
            ring.batches.push_back(Entry { sequence, time, encoded });
            ring.forget(time)?;
            Depth { batches: ring.batches.len(), bytes: ring.bytes }
        };
        self.newest.send_replace(sequence);
        Ok(depth)
    }

    /// Told whenever a batch was added; the value is its sequence number.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// What follows batch `position`; `None` is a reader that holds nothing.
    #[must_use]
    pub fn after(&self, position: Option<u64>) -> Continuation {
        let ring = self.ring();
        let newest = ring.batches.back().map_or(ring.base.sequence(), |entry| entry.sequence);
        match position {
            // One that is ahead of us holds another history than ours: of before this machine was set back to a snapshot.
            Some(position) if (ring.base.sequence()..=newest).contains(&position) => {
                let news = ring.batches.iter().filter(|entry| entry.sequence > position);
                Continuation::Batches(news.map(|entry| entry.encoded.clone()).collect())
            }
            _ => Continuation::Snapshot {
                sequence: ring.base.sequence(),
                parts: ring.base.to_snapshot().map(|part| part.encode_to_vec().into()).collect(),
            },
        }
    }
}

impl Ring {
    fn forget(&mut self, now: BootTime) -> Result<(), ChainError> {
        while let Some(oldest) = self.batches.front() {
            let old = now.since(oldest.time) > self.span && self.batches.len() > MIN_BATCHES;
            let large = self.bytes > MAX_BYTES && self.batches.len() > 1;
            if !old && !large {
                break;
            }
            let Some(entry) = self.batches.pop_front() else { break };
            self.bytes -= entry.encoded.len();
            self.base.batch(&entry.encoded)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kubevitals::{
        chain::{Announcement, Encoder},
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
            history.push(sequence, time, batch).unwrap();
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
        assert_eq!(sequence_of(&history.after(Some(27))), (None, 3));
        assert_eq!(sequence_of(&history.after(Some(30))), (None, 0));
        assert_eq!(sequence_of(&history.after(Some(0))), (None, 30));
    }

    #[test]
    fn a_reader_that_holds_nothing_gets_a_snapshot_and_the_whole_span() {
        let history = filled(10, 30);
        let Continuation::Snapshot { parts, .. } = history.after(None) else { panic!("no snapshot") };
        let mut reader = Decoder::new();
        for part in &parts {
            reader.encoded_snapshot(part).unwrap();
        }
        let Continuation::Batches(batches) = history.after(Some(reader.sequence())) else {
            panic!("no batches")
        };
        assert_eq!(batches.len(), 11, "ten seconds and the tick that begins them");
        let last = batches.iter().map(|batch| reader.batch(batch).unwrap().samples[0].1).last();
        assert_eq!(last.unwrap().cpu, CpuTime(300));
    }

    #[test]
    fn a_position_that_is_no_longer_kept_needs_a_snapshot() {
        assert_eq!(sequence_of(&filled(10, 30).after(Some(3))), (Some(19), 0));
    }

    #[test]
    fn a_position_that_was_never_reached_needs_a_snapshot() {
        assert_eq!(sequence_of(&filled(10, 30).after(Some(31))), (Some(19), 0));
        assert_eq!(sequence_of(&History::new(Duration::from_secs(1)).after(Some(1))), (Some(0), 0));
    }

    #[test]
    fn readers_are_told_of_each_batch() {
        let history = filled(60, 1);
        let newest = history.newest();
        assert_eq!(*newest.borrow(), 1);
        assert!(!newest.has_changed().unwrap());
    }
}
