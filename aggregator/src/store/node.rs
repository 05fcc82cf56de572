//! One node's counters: what its stream said, and for how long it is kept.
//!
//! Changes come only as checked ticks and snapshots of a chain; what is asked is a ring by container, see `look`;
//! which counters there are is in `series`.

mod look;
mod series;

use std::{
    collections::HashSet,
    hint::black_box,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use kubevitals::{
    chain::{Announcement, Decoder, Omission, Tick},
    sample::{BootTime, Detail, Details, Sample, SeriesId, WallTime},
};

pub use super::subject::{Applied, CounterRef, LastPlace, Session};
use super::{
    Places,
    counter::{Announced, Counter},
    counters::{Counters, Slot},
    live::{LiveSeries, Stored},
    refused::RefusedCounters,
    ring::Samples,
    rivals::{Claim, Rivalry, Rivals, patience},
};

/// How long the counters of a container that ended are kept: as long as a picture of its pod may be held.
pub const KEEP_ENDED: Duration = Duration::from_secs(30);

/// One node.
#[derive(Debug)]
pub struct NodeState {
    kept: Duration,
    session: Option<Session>,
    /// Counts the streams that spoke for this node; the last one is in charge.
    generation: u64,
    rivals: Rivals,
    /// When the last stream began.
    began: Option<Instant>,
    /// When the node object was made in whose time the last tick came.
    origin: Option<WallTime>,
    /// The chain, while no stream holds it.
    chain: Option<Decoder>,
    streaming: bool,
    /// The last tick's two clocks, and when it came by ours.
    anchor: (BootTime, WallTime),
    received: Option<Instant>,
    counters: Counters,
    live: LiveSeries,
    ended: Vec<(BootTime, Slot)>,
    /// Counters for which there was no place.
    refused: RefusedCounters,
    /// Counters that had been refused and were given a place since: of their details only changes would be heard.
    undescribed: HashSet<SeriesId, RandomState>,
    /// What the agent left out at the last tick.
    omissions: Vec<Omission>,
    /// Whether some counters may be unconfirmed.
    unconfirmed: bool,
}

impl NodeState {
    pub(super) fn new(places: Places, kept: Duration) -> Self {
        Self {
            kept,
            session: None,
            generation: 0,
            rivals: Rivals::default(),
            began: None,
            origin: None,
            chain: None,
            streaming: false,
            anchor: (BootTime(0), WallTime(0)),
            received: None,
            counters: Counters::new(places),
            live: LiveSeries::default(),
            ended: Vec::new(),
            refused: RefusedCounters::default(),
            undescribed: HashSet::default(),
            omissions: Vec::new(),
            unconfirmed: false,
        }
    }

    /// A stream begins: it is in charge from now on. Returns its generation, and the chain it may resume; `None` when
    /// the same agent process is streaming already, by another address of ours.
    pub fn begin(&mut self, session: Session, now: Instant) -> Option<(u64, Option<Decoder>)> {
        let is_same = |same: fn(&Session, &Session) -> bool| {
            self.session.as_ref().is_some_and(|before| same(before, &session))
        };
        let same_boot = is_same(|before, now| before.boot_id == now.boot_id);
        let same_process = same_boot && is_same(|before, now| before.instance == now.instance);
        if same_process && self.is_lively(session.interval, now) {
            return None;
        }
        self.began = Some(now);
        self.session = Some(session);
        if !same_boot {
            self.clear();
        }
        self.generation += 1;
        self.streaming = true;
        let chain = self.chain.take().filter(|_| same_process);
        Some((self.generation, chain))
    }

    /// Begins a stream as [`begin`](Self::begin) does, unless another agent has more right to the node.
    pub fn claim(
        &mut self,
        session: Session,
        created: Option<WallTime>,
        now: Instant,
    ) -> Result<(u64, Option<Decoder>), Rivalry> {
        let interval = self.session.as_ref().map_or(session.interval, |session| session.interval);
        let just_began = self.began.is_some_and(|began| now.saturating_duration_since(began) < interval * 3);
        let lively = self.streaming && just_began || self.is_lively(interval, now);
        if !self.rivals.contest(Claim { instance: session.instance, created }, lively) {
            return Err(Rivalry::NewerAgent);
        }
        self.begin(session, now).ok_or(Rivalry::SameProcess)
    }

    /// Whether a stream is open and ticks. One that is only half open is silent for longer.
    fn is_lively(&self, interval: Duration, now: Instant) -> bool {
        self.streaming && self.silent_for(now).is_some_and(|silent| silent < patience(interval))
    }

    /// Notes when the node object was made that is there now: what was stored before is not of a later one.
    pub fn note_origin(&mut self, created: WallTime) {
        self.origin = Some(created);
    }

    /// Whether what is stored may be of the node object made at `created`. It is not, when it came in the time of
    /// another object of the same name.
    #[must_use]
    pub fn is_of_node(&self, created: WallTime) -> bool {
        self.origin.is_none_or(|origin| origin == created)
    }

    /// A stream ends; `chain` is kept for its return. Ignored unless it is still in charge.
    pub fn end(&mut self, generation: u64, chain: Option<Decoder>) {
        if generation == self.generation {
            self.chain = chain;
            self.streaming = false;
        }
    }

    /// Whether the stream with this generation is still in charge.
    #[must_use]
    pub fn is_in_charge(&self, generation: u64) -> bool {
        generation == self.generation
    }

    fn clear(&mut self) {
        self.counters.clear();
        self.live.clear();
        self.ended.clear();
        self.unconfirmed = false;
        self.refused.clear();
        self.undescribed.clear();
        self.omissions.clear();
        self.chain = None;
        self.anchor = (BootTime(0), WallTime(0));
        self.received = None;
        self.origin = None;
    }

    /// Takes over the state of a chain that begins with a snapshot, but for series that are not wanted. What neither it nor
    /// the tick after it names has ended.
    pub fn restart(&mut self, chain: &Decoder, is_wanted: impl Fn(SeriesId) -> bool) -> Applied {
        let mut applied = Applied::default();
        let (time, wall) = chain.time();
        self.live.clear();
        self.refused.clear();
        self.undescribed.clear();
        for (_, counter) in self.counters.iter_mut() {
            counter.unconfirmed = counter.ended().is_none();
        }
        self.unconfirmed = true;
        let is_stored = |announcement: &Announcement| {
            CounterRef::is_of(&announcement.subject) && is_wanted(announcement.series)
        };
        self.reserve(chain.announcements().filter(is_stored).count());
        for (announcement, last, details) in chain.live() {
            if is_stored(&announcement) {
                self.take(announcement, last, &details, &mut applied);
            } else if CounterRef::is_of(&announcement.subject) {
                self.live.leave_out(announcement.series);
            }
        }
        if time > self.anchor.0 {
            self.anchor = (time, wall);
        }
        applied
    }

    /// Whether a live series is left out.
    #[must_use]
    pub fn is_evicted(&self, series: SeriesId) -> bool {
        self.live.is_evicted(series)
    }

    /// Leaves a live series out, and lets go of what is stored of it: it should never have been announced, or nothing of it
    /// is needed.
    pub fn evict(&mut self, series: SeriesId) {
        if let Some(slot) = self.live.slot(series) {
            self.counters.remove(slot);
        }
        self.refused.remove_series(series);
        self.live.leave_out(series);
    }

    /// Takes live series in that were left out before.
    pub fn admit(
        &mut self,
        admitted: impl IntoIterator<Item = (Announcement, Option<Sample>, Details)>,
    ) -> Applied {
        let (mut applied, mut not_stored) = (Applied::default(), Vec::new());
        for (announcement, last, details) in admitted {
            if CounterRef::is_of(&announcement.subject) {
                self.take(announcement, last, &details, &mut applied);
            } else {
                not_stored.push(announcement.series);
            }
        }
        // Only their marks are left.
        self.live.end(not_stored.into_iter());
        applied
    }

    /// Takes over what a chain holds of one live series.
    fn take(
        &mut self,
        announcement: Announcement,
        last: Option<Sample>,
        details: &Details,
        applied: &mut Applied,
    ) {
        // A chain keeps no first readings. The newest one tells as well whether a counter goes on.
        let announcement = Announcement { first: last, ..announcement };
        self.announce(&announcement, applied);
        if let Some(counter) = self.counter_of(announcement.series) {
            counter.describe(details);
        }
    }

    /// Takes the details over of those that were given a place late; `chain` is that of the tick applied last.
    pub fn catch_up(&mut self, chain: &Decoder) {
        let late = std::mem::take(&mut self.undescribed);
        if late.is_empty() {
            return;
        }
        for (announcement, _, details) in chain.live().filter(|(one, ..)| late.contains(&one.series)) {
            if let Some(counter) = self.counter_of(announcement.series) {
                counter.describe(&details);
            }
        }
    }

    /// Stores one tick.
    pub fn apply(&mut self, tick: &Tick, now: Instant) -> Applied {
        let mut applied = Applied::default();
        self.end_series(tick);
        self.counters.rings.begin(tick.time);
        self.announce_all(&tick.announced, &mut applied);
        self.end_unconfirmed(tick.time);
        self.store_all(&tick.samples, &mut applied);
        self.describe_all(&tick.details);
        self.anchor = (tick.time, tick.wall);
        self.omissions.clone_from(&tick.omissions);
        // A node of which nothing was served yet stays unseen while its history is replayed.
        let newest = self.session.as_ref().map_or(0, |session| session.newest_sequence);
        if self.received.is_some() || tick.sequence >= newest {
            self.received = Some(now);
        }
        self.forget_ended(tick.time);
        self.admit_refused();
        self.tidy();
        applied
    }

    /// Gives memory back that nothing is in any more.
    fn tidy(&mut self) {
        self.counters.rings.tidy();
        if let Some(moved) = self.counters.compact() {
            let place = |slot: Slot| moved.get(slot.index()).copied().flatten();
            self.live.moved(place);
            self.ended.retain_mut(|(_, slot)| {
                place(*slot).is_some_and(|now| {
                    *slot = now;
                    true
                })
            });
        }
    }

    /// Samples come in the order of the rings, so each is one step further in each of a few arrays.
    fn store_all(&mut self, samples: &[(SeriesId, Sample)], applied: &mut Applied) {
        let Self { live, counters, .. } = self;
        black_box(counters.rings.look_over());
        let mut stored = 0;
        for (slot, &sample) in live.join(samples) {
            applied.count(counters.rings.push(slot, sample));
            stored += 1;
        }
        if stored < live.stored() {
            counters.rings.settle_lagging();
        }
    }

    /// Changes come by detail, and are kept by counter.
    fn describe_all(&mut self, changes: &[(SeriesId, Detail, Option<u64>)]) {
        let mut changes = changes.to_vec();
        changes.sort_by_key(|(series, ..)| *series);
        for changes in changes.chunk_by(|(one, ..), (other, ..)| one == other) {
            if let Some(counter) = changes.first().and_then(|(series, ..)| self.counter_of(*series)) {
                counter.change(changes);
            }
        }
    }

    /// The counter of a live series, if that is the one that counts for it.
    fn counter_of(&mut self, series: SeriesId) -> Option<&mut Counter> {
        self.counters.at_mut(self.live.slot(series)?)
    }

    /// Slots for the time kept, plus the one that begins it and one in passing.
    fn ring_length(&self) -> usize {
        let ticks = self.kept.as_millis().div_ceil(self.interval().as_millis().max(1));
        usize::try_from(ticks).unwrap_or(usize::MAX).clamp(2, 4096) + 2
    }

    /// The agent's tick.
    fn interval(&self) -> Duration {
        self.session.as_ref().map_or(Duration::from_secs(1), |session| session.interval)
    }
}

#[cfg(test)]
mod tests;
