//! One series: its reader, the rules that admit a reading, and when to leave it alone.

use std::time::Duration;

use kubevitals::{
    chain::{EndReason, OmissionReason},
    sample::{BootTime, CgroupPath, Details, Sample, SeriesId, Subject},
};

use super::omission;
use crate::{
    cgroup::{Buffer, CgroupReader, Found, ReadError, clock::boot_time},
    node::NodeReader,
};

/// A reading slower than this is reported and the cgroup left alone for a while. A healthy one takes
/// microseconds; memory.stat of a cgroup with many dead children has been seen to take seconds.
const READ_BUDGET: Duration = Duration::from_millis(50);

/// So many readings in a row must be slow before a cgroup is left alone: a single one is, on a busy node, the
/// scheduler's doing more often than the cgroup's.
const SLOW_IN_A_ROW: u8 = 3;

/// A reading that takes this long is no scheduler's doing, and three of them would be too many.
const VERY_SLOW: Duration = Duration::from_secs(2);

/// A slow cgroup may take one part in so many of the agent's time.
const SLOW_SHARE: u32 = 20;

/// No cgroup is left alone for longer than this.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A counter that stays below its last value for so many ticks was reset (v1 allows that by writing 0 to
/// cpuacct.usage): the series ends and a new one begins at the new value.
const RESET_AFTER: u8 = 3;

/// A live series.
#[derive(Debug)]
pub(super) struct Series {
    id: SeriesId,
    source: Source,
    last: Option<Sample>,
    /// Readings in a row whose counter was below the last.
    went_back: u8,
    /// Slow readings in a row.
    slow: u8,
    /// Not to be read before this tick's time.
    rest_until: BootTime,
    /// Its first details were read.
    detailed: bool,
    /// What it counts is a pod.
    is_pod: bool,
}

/// Almost every series is a cgroup, whose reader is not boxed: each reading goes through it.
#[derive(Debug)]
enum Source {
    Node(Box<NodeReader>),
    Cgroup { found: Found, reader: CgroupReader },
}

/// What became of one reading.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A sample, and details when they were due.
    Read {
        sample: Sample,
        details: Option<Details>,
        /// When the last file was read.
        end: BootTime,
    },
    /// None this time, for a reason worth counting.
    Omitted(OmissionReason),
    /// None this time: the clock has not moved since the first reading.
    NotLater,
    /// None ever again.
    Ended(EndReason),
}

impl Series {
    pub(super) fn node(id: SeriesId, reader: NodeReader) -> Self {
        Self::new(id, Source::Node(Box::new(reader)), None)
    }

    pub(super) fn cgroup(id: SeriesId, found: Found, reader: CgroupReader, first: Option<Sample>) -> Self {
        Self::new(id, Source::Cgroup { found, reader }, first)
    }

    fn new(id: SeriesId, source: Source, last: Option<Sample>) -> Self {
        let is_pod =
            matches!(&source, Source::Cgroup { found, .. } if matches!(found.subject, Subject::Pod { .. }));
        Self { id, source, last, went_back: 0, slow: 0, rest_until: BootTime(0), detailed: false, is_pod }
    }

    pub(super) fn id(&self) -> SeriesId {
        self.id
    }

    pub(super) fn found(&self) -> Option<&Found> {
        match &self.source {
            Source::Node(_) => None,
            Source::Cgroup { found, .. } => Some(found),
        }
    }

    pub(super) fn path(&self) -> Option<&CgroupPath> {
        self.found().map(|found| &found.path)
    }

    /// Whether this is a cgroup outside Kubernetes that contains `path`.
    pub(super) fn is_other_above(&self, path: &CgroupPath) -> bool {
        self.other().is_some_and(|own| is_below(path, own))
    }

    /// Whether this is a cgroup outside Kubernetes within `path`.
    pub(super) fn is_other_below(&self, path: &CgroupPath) -> bool {
        self.other().is_some_and(|own| is_below(own, path))
    }

    fn other(&self) -> Option<&CgroupPath> {
        let found = self.found()?;
        matches!(found.subject, Subject::Cgroup { .. }).then_some(&found.path)
    }

    /// Details are due at the first reading and then every so many ticks, spread over the series.
    pub(super) fn wants_details(&self, tick: u64, every: u64) -> bool {
        !self.detailed || self.has_turn(tick, every)
    }

    /// Whether it is read on this tick: a pod's own counters every so many ticks, spread over the pods; all others
    /// always.
    pub(super) fn is_due(&self, tick: u64, pods_every: u64) -> bool {
        !self.is_pod || self.has_turn(tick, pods_every)
    }

    /// With details due as often as pods, both fall on the same tick.
    fn has_turn(&self, tick: u64, every: u64) -> bool {
        (tick + u64::from(self.id.0)).is_multiple_of(every.max(1))
    }

    /// Reads the counters; `before` is when the series before was read.
    pub(super) fn read(
        &mut self,
        buffer: &mut Buffer,
        before: BootTime,
        with_details: bool,
        interval: Duration,
    ) -> Outcome {
        if before < self.rest_until {
            return Outcome::Omitted(OmissionReason::BackedOff);
        }
        let mut beside = with_details.then(Details::default);
        let sample = match self.sample(buffer, beside.as_mut()) {
            Ok(sample) => sample,
            Err(error) => return self.failed(&error),
        };
        if let Some(last) = self.last {
            if sample.time <= last.time {
                return Outcome::NotLater;
            }
            if sample.cpu < last.cpu {
                return self.counter_went_back();
            }
        }
        let details = match beside.map(|beside| self.complete(beside, buffer)).transpose() {
            Ok(details) => details,
            Err(error) => return self.failed(&error),
        };
        let end = if details.is_some() { boot_time() } else { sample.time };
        self.rest_if_slow(end.since(before), end, interval);
        self.went_back = 0;
        self.detailed |= details.is_some();
        self.last = Some(sample);
        Outcome::Read { sample, details, end }
    }

    fn sample(&mut self, buffer: &mut Buffer, beside: Option<&mut Details>) -> Result<Sample, ReadError> {
        match &mut self.source {
            Source::Node(reader) => reader.sample_beside(buffer, beside),
            Source::Cgroup { reader, .. } => reader.sample_beside(buffer, beside),
        }
    }

    fn complete(&mut self, beside: Details, buffer: &mut Buffer) -> Result<Details, ReadError> {
        match &mut self.source {
            Source::Node(reader) => reader.complete(beside, buffer),
            Source::Cgroup { reader, .. } => reader.complete(beside, buffer),
        }
    }

    fn failed(&mut self, error: &ReadError) -> Outcome {
        match omission(error) {
            Some(reason) => {
                tracing::debug!(series = self.id.0, path = ?self.path(), %error, "reading failed");
                Outcome::Omitted(reason)
            }
            // The root of the hierarchy does not go away; if it says so, the next tick may know better.
            None if self.found().is_none() => Outcome::Omitted(OmissionReason::ReadFailed),
            None => Outcome::Ended(EndReason::Removed),
        }
    }

    fn counter_went_back(&mut self) -> Outcome {
        self.went_back += 1;
        if self.went_back >= RESET_AFTER && self.found().is_some() {
            Outcome::Ended(EndReason::Replaced)
        } else {
            Outcome::Omitted(OmissionReason::CounterWentBack)
        }
    }

    fn rest_if_slow(&mut self, took: Duration, now: BootTime, interval: Duration) {
        if took <= READ_BUDGET.min(interval / 4) {
            self.slow = 0;
            return;
        }
        self.slow = self.slow.saturating_add(1);
        if self.slow < SLOW_IN_A_ROW && took < VERY_SLOW {
            return;
        }
        let rest = took.saturating_mul(SLOW_SHARE).min(LONGEST_REST);
        tracing::warn!(
            path = self.path().map_or("/", CgroupPath::as_str),
            took_s = took.as_secs_f64(),
            rest_s = rest.as_secs_f64(),
            "reading is slow; leaving it alone"
        );
        self.rest_until = BootTime(now.0 + u64::try_from(rest.as_micros()).unwrap_or(u64::MAX));
    }
}

/// Whether `path` lies strictly below `above`.
fn is_below(path: &CgroupPath, above: &CgroupPath) -> bool {
    path.as_str().strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('/'))
}
