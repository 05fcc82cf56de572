//! One node's counters: what its stream said, and for how long it is kept.
//!
//! Changes come only as checked ticks and snapshots of a chain; what is asked is a ring by container, see [`look`].

mod look;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use kubevitals::{
    chain::{Announcement, Decoder, Omission, Tick},
    limits::MAX_SERIES,
    sample::{BootTime, Details, Sample, SeriesId, WallTime},
};

pub use super::subject::{Applied, CounterRef, Session};
use super::{
    Places,
    counter::{Announced, Counter},
    ring::{Refused, Ring},
    rivals::{Claim, Rivalry, Rivals, patience},
};

/// How long the counters of a container that ended are kept: as long as a picture of its pod may be held.
pub const KEEP_ENDED: Duration = Duration::from_secs(30);

/// One node.
#[derive(Debug)]
pub struct NodeState {
    places: Places,
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
    counters: HashMap<CounterRef, Counter, RandomState>,
    by_series: HashMap<SeriesId, CounterRef, RandomState>,
    ended: Vec<(BootTime, CounterRef)>,
    /// Counters for which there was no place, as they were announced last.
    refused: HashMap<CounterRef, Announced, RandomState>,
    /// Counters that had been refused and were given a place since: of their details only changes would be heard.
    undescribed: HashSet<SeriesId, RandomState>,
    /// What the agent left out at the last tick.
    omissions: Vec<Omission>,
    /// Counters that a new agent process has not named yet; after its first tick they have ended.
    unconfirmed: HashSet<CounterRef, RandomState>,
}

impl NodeState {
    pub(super) fn new(places: Places, kept: Duration) -> Self {
        Self {
            places,
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
            counters: HashMap::default(),
            by_series: HashMap::default(),
            ended: Vec::new(),
            refused: HashMap::default(),
            undescribed: HashSet::default(),
            omissions: Vec::new(),
            unconfirmed: HashSet::default(),
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
        self.by_series.clear();
        self.ended.clear();
        self.unconfirmed.clear();
        self.refused.clear();
        self.undescribed.clear();
        self.omissions.clear();
        self.chain = None;
        self.anchor = (BootTime(0), WallTime(0));
        self.received = None;
        self.origin = None;
    }

    /// Takes over the state of a chain that begins with a snapshot. What neither it nor the tick after it names
    /// has ended.
    pub fn restart(&mut self, chain: &Decoder) -> Applied {
        let mut applied = Applied::default();
        let (time, wall) = chain.time();
        self.by_series.clear();
        self.refused.clear();
        self.undescribed.clear();
        let live = self.counters.iter().filter(|(_, counter)| counter.ended.is_none());
        self.unconfirmed = live.map(|(counter, _)| counter.clone()).collect();
        for (announcement, last, details) in chain.live() {
            self.take(announcement, last, details, &mut applied);
        }
        if time > self.anchor.0 {
            self.anchor = (time, wall);
        }
        applied
    }

    /// Lets go of a live series that should never have been announced.
    pub fn evict(&mut self, series: SeriesId) {
        let Some(counter) = self.by_series.remove(&series) else { return };
        if self.is_of(&counter, series) {
            self.counters.remove(&counter);
        }
        if self.refused.get(&counter).is_some_and(|refused| refused.series == series) {
            self.refused.remove(&counter);
        }
    }

    /// Takes a live series in that was left out before.
    pub fn admit(&mut self, announcement: &Announcement, last: Option<Sample>, details: &Details) -> Applied {
        let mut applied = Applied::default();
        self.take(announcement, last, details, &mut applied);
        applied
    }

    /// Takes over what a chain holds of one live series.
    fn take(
        &mut self,
        announcement: &Announcement,
        last: Option<Sample>,
        details: &Details,
        applied: &mut Applied,
    ) {
        self.announce(announcement, applied);
        if let Some(last) = last {
            self.store(announcement.series, last, applied);
        }
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
                counter.describe(details);
            }
        }
    }

    /// Stores one tick.
    pub fn apply(&mut self, tick: &Tick, now: Instant) -> Applied {
        let mut applied = Applied::default();
        for farewell in &tick.ended {
            let Some(counter) = self.by_series.remove(&farewell.series) else { continue };
            if self.is_of(&counter, farewell.series) {
                self.mark_ended(&counter, tick.time);
            } else if self.refused.get(&counter).is_some_and(|refused| refused.series == farewell.series) {
                self.refused.remove(&counter);
            }
        }
        for announcement in &tick.announced {
            self.announce(announcement, &mut applied);
        }
        for counter in std::mem::take(&mut self.unconfirmed) {
            self.mark_ended(&counter, tick.time);
        }
        for &(series, sample) in &tick.samples {
            self.store(series, sample, &mut applied);
        }
        for &(series, detail, value) in &tick.details {
            if let Some(counter) = self.counter_of(series) {
                counter.set(detail, value);
            }
        }
        self.anchor = (tick.time, tick.wall);
        self.omissions.clone_from(&tick.omissions);
        // A node of which nothing was served yet stays unseen while its history is replayed.
        let newest = self.session.as_ref().map_or(0, |session| session.newest_sequence);
        if self.received.is_some() || tick.sequence >= newest {
            self.received = Some(now);
        }
        self.forget_ended(tick.time);
        self.admit_refused();
        applied
    }

    fn announce(&mut self, announcement: &Announcement, applied: &mut Applied) {
        let Some(counter) = CounterRef::of(&announcement.subject) else {
            return;
        };
        let &Announcement { series, inode, birth, .. } = announcement;
        let announced = Announced { series, inode, birth };
        if self.by_series.contains_key(&series) {
            // The restart that this tick brought about has named it.
            return;
        }
        self.unconfirmed.remove(&counter);
        self.refused.remove(&counter);
        self.by_series.insert(series, counter.clone());
        if !self.continues(&counter, announcement) && !self.place(&counter, announced) {
            applied.refused_containers += 1;
            self.refused.insert(counter, announced);
            return;
        }
        if let Some(first) = announcement.first {
            self.store(series, first, applied);
        }
    }

    /// Makes a new counter, if there is a place for it.
    fn place(&mut self, counter: &CounterRef, announced: Announced) -> bool {
        // What was held under this name leaves its place to what is new.
        self.counters.remove(counter);
        let needs_place = *counter != CounterRef::Node;
        // Those that ended count too, so that no agent takes all places by naming new containers without end.
        let is_free = self.counters.len() <= MAX_SERIES;
        let place = if needs_place && is_free { self.places.take() } else { None };
        if needs_place && place.is_none() {
            return false;
        }
        let ring = Ring::at_pace(self.ring_length(), self.interval());
        self.counters.insert(counter.clone(), Counter::new(announced, ring, place));
        true
    }

    /// Gives places that have become free to those that were refused.
    fn admit_refused(&mut self) {
        while let Some((counter, &announced)) = self.refused.iter().next() {
            let counter = counter.clone();
            if !self.place(&counter, announced) {
                return;
            }
            self.undescribed.insert(announced.series);
            self.refused.remove(&counter);
        }
    }

    /// Whether what is announced is the counter we have already (a new agent process saw it again): the same
    /// inode in the same boot, and not lower than before.
    fn continues(&mut self, counter: &CounterRef, announcement: &Announcement) -> bool {
        let (length, interval) = (self.ring_length(), self.interval());
        let Some(held) = self.counters.get_mut(counter) else {
            return false;
        };
        // A first reading from before what we hold says nothing: the announcement is heard again.
        let newest = held.ring.newest().zip(announcement.first);
        let lower = newest.is_some_and(|(newest, first)| first.time > newest.time && first.cpu < newest.cpu);
        // A series that was replaced under the same inode is a counter that was reset.
        if held.inode != announcement.inode || lower || (held.ended.is_some() && *counter != CounterRef::Node)
        {
            return false;
        }
        held.series = announcement.series;
        held.birth = announcement.birth.or(held.birth);
        held.ended = None;
        // The agent may tick more often than before.
        held.ring.grow(length, interval);
        true
    }

    fn store(&mut self, series: SeriesId, sample: Sample, applied: &mut Applied) {
        let Some(counter) = self.counter_of(series) else { return };
        match counter.ring.push(sample) {
            Ok(()) => applied.samples += 1,
            // A replay of what is stored already.
            Err(Refused::NotLater) => {}
            Err(Refused::WentBack) => applied.refused_samples += 1,
        }
    }

    /// The counter of a live series, if that is the one that counts for it.
    fn counter_of(&mut self, series: SeriesId) -> Option<&mut Counter> {
        let counter = self.by_series.get(&series)?;
        self.counters.get_mut(counter).filter(|counter| counter.series == series)
    }

    /// Whether `series` is the one that counts for `counter`. Of two live ones with the same subject (one container
    /// in two places of the tree) that is the one announced last.
    fn is_of(&self, counter: &CounterRef, series: SeriesId) -> bool {
        self.counters.get(counter).is_some_and(|held| held.series == series)
    }

    fn mark_ended(&mut self, counter: &CounterRef, time: BootTime) {
        if let Some(state) = self.counters.get_mut(counter) {
            state.ended = Some(time);
            self.ended.push((time, counter.clone()));
        }
    }

    fn forget_ended(&mut self, now: BootTime) {
        let Self { ended, counters, .. } = self;
        ended.retain(|(time, counter)| {
            // The same container may have been announced again since, and may even have ended again: whoever does that again
            // and again within moments of its own clock is noted once.
            let is_ended = counters.get(counter).is_some_and(|state| state.ended == Some(*time));
            let is_over = now.since(*time) > KEEP_ENDED;
            if is_ended && is_over {
                counters.remove(counter);
            }
            is_ended && !is_over
        });
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
