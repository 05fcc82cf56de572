//! One tick: reads every counter, counts what failed, and makes the batch.
//!
//! The sampler owns what is sampled. Cgroups that discovery reports begin as candidates and become series when
//! processes are in them: a leftover directory of another cgroup driver, or a runtime's placeholder, never does.
//! Nothing here waits: the thread that calls it (`sampling.rs`) holds the clock and the network knows nothing of it.

mod candidates;
mod outlet;
mod series;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use kubevitals::{
    chain::{Announcement, Checkpoint, EndReason, Farewell, OmissionReason},
    sample::{BootTime, CgroupPath, Sample, SeriesId, Subject, WallTime},
};

use self::{
    candidates::{Candidates, Means, Ripe},
    outlet::Outlet,
    series::{Outcome, Series},
};
use crate::{
    cgroup::{
        Buffer, CgroupReader, Change, Descriptors, Discovery, Found, Limits, Mounts, ReadError, Scope,
        clock::{boot_time, file_time},
    },
    exporter::Board,
    node::{NodeMemory, NodeReader},
    wall::WallAnchor,
};

/// How often a pod's own counters are read while nobody scrapes: aggregators make nothing of them, and reading them on
/// every tick was a third of all reading, two containers to a pod being usual. The first scraper to come finds them as
/// old as a kubelet would show them; from then on they are read on every tick.
const PODS_EVERY: Duration = Duration::from_secs(20);

/// What to sample and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tick.
    pub interval: Duration,
    /// Seldom-changing values are read every so many ticks; at least 1.
    pub detail_every: u64,
    /// Which cgroups.
    pub scope: Scope,
    /// How the node's own memory is computed.
    pub node_memory: NodeMemory,
    /// Most cgroups sampled.
    pub max_cgroups: usize,
}

/// Everything that is sampled on this node.
#[derive(Debug)]
pub struct Sampler {
    settings: Settings,
    mounts: Mounts,
    descriptors: Descriptors,
    discovery: Discovery,
    changes: Vec<Change>,
    candidates: Candidates,
    /// When we began to look.
    begun: WallTime,
    /// Ascending by number; the node comes first, a pod before its containers.
    series: Vec<Series>,
    farewells: Vec<Farewell>,
    highest: u32,
    ticks: u64,
    outlet: Outlet,
    wall: WallAnchor,
    buffer: Buffer,
    omitted: [u32; OmissionReason::ALL.len()],
}

/// What one tick did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The batch's number.
    pub sequence: u64,
    /// When the sweep began.
    pub time: BootTime,
    /// How long it took.
    pub sweep: Duration,
    /// The encoded batch.
    pub batch: Bytes,
    /// Series that began.
    pub announced: Vec<SeriesId>,
    /// Series that ended.
    pub ended: Vec<SeriesId>,
    /// Live series.
    pub series: usize,
    /// Cgroups that were found but have no processes or cannot be read yet.
    pub candidates: usize,
    /// Readings left out, in the order of [`OmissionReason::ALL`].
    pub omitted: [u32; OmissionReason::ALL.len()],
    /// How far published wall time is ahead of the clock, after it was set back.
    pub wall_ahead: Duration,
}

impl Sampler {
    /// Begins with the node itself and everything discovery finds now.
    pub fn new(
        settings: Settings,
        mounts: Mounts,
        descriptors: Descriptors,
        node: NodeReader,
    ) -> std::io::Result<Self> {
        let limits = Limits { max_cgroups: settings.max_cgroups, scope: settings.scope, ..Limits::default() };
        // Before the first look at any cgroup: some inodes are made by that.
        let begun = file_time();
        let mut sampler = Self {
            discovery: Discovery::new(&mounts, limits)?,
            settings,
            mounts,
            descriptors,
            changes: Vec::new(),
            candidates: Candidates::default(),
            begun,
            series: vec![Series::node(SeriesId(1), node)],
            farewells: Vec::new(),
            highest: 1,
            ticks: 0,
            outlet: Outlet::default(),
            wall: WallAnchor::default(),
            buffer: Buffer::default(),
            omitted: Default::default(),
        };
        sampler.rescan();
        sampler.candidates.started();
        Ok(sampler)
    }

    /// Where scrapers find the last completed sweep.
    #[must_use]
    pub fn board(&self) -> Board {
        self.outlet.board()
    }

    /// The state of the chain after the last tick.
    #[must_use]
    pub fn chain(&self) -> &Checkpoint {
        self.outlet.chain()
    }

    /// Where discovery's events can be waited for.
    #[must_use]
    pub fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// Takes discovery's pending events: new cgroups get their first reading now, not at the next tick.
    pub fn discover(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        self.discovery.drain(&mut changes);
        self.apply(changes);
    }

    /// Compares everything with the file system, for what events missed.
    pub fn rescan(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        self.discovery.rescan(&mut changes);
        self.apply(changes);
    }

    fn apply(&mut self, mut changes: Vec<Change>) {
        for change in changes.drain(..) {
            match change {
                Change::Appeared(found) => self.candidates.add(found, self.ticks),
                Change::Vanished { path } => self.vanished(&path),
            }
        }
        self.changes = changes;
        self.first_readings();
    }

    fn vanished(&mut self, path: &CgroupPath) {
        self.candidates.remove(path);
        if let Some(at) = self.series.iter().position(|series| series.path() == Some(path)) {
            let series = self.series.remove(at);
            self.farewells.push(Farewell { series: series.id(), reason: EndReason::Removed });
        }
    }

    /// True while a cgroup seen a moment ago still lacks its first reading (on v1 it may not yet exist in every
    /// hierarchy): call [`first_readings`](Self::first_readings) again soon.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.candidates.any_new()
    }

    /// Takes the first reading of every candidate that has none.
    pub fn first_readings(&mut self) {
        let means = Means { mounts: &self.mounts, descriptors: &self.descriptors };
        self.candidates.first_readings(means, &mut self.buffer);
    }

    /// Reads everything once. `now` and `wall` are the two clocks at the start.
    pub fn tick(&mut self, now: BootTime, wall: WallTime) -> Report {
        self.ticks += 1;
        self.omitted = Default::default();
        let means = Means { mounts: &self.mounts, descriptors: &self.descriptors };
        let ripe = self.candidates.ripe(self.ticks, means, &mut self.buffer);
        let published = self.wall.at(now, wall);
        self.outlet.begin(now, published);
        let ended = self.farewells.drain(..);
        ended.for_each(|farewell| self.outlet.end(farewell));
        if self.ticks == 1 {
            self.outlet.announce(&Announcement {
                series: SeriesId(1),
                subject: Subject::Node,
                inode: 0,
                first: None,
                birth: None,
            });
        }
        for ripe in ripe {
            self.begin(ripe, now);
        }
        // What the candidates took is not the node's doing.
        let end = self.sweep(boot_time());
        self.finish(now, end, wall)
    }

    /// Turns a candidate into a series, unless it lies below one that already counts it.
    fn begin(&mut self, ripe: Ripe, now: BootTime) {
        let Ripe { found, was_there, reader, first } = ripe;
        if matches!(found.subject, Subject::Cgroup { .. }) {
            if self.series.iter().any(|series| series.is_other_above(&found.path)) {
                self.candidates.shelve(found);
                return;
            }
            self.drop_below(&found.path);
        }
        // A time from after our beginning is that of our own look: its inodes were not in memory.
        let birth = reader.birth().filter(|&birth| !was_there || birth < self.begun);
        self.start(found, reader, Some(first).filter(|first| first.time < now), birth);
    }

    fn start(&mut self, found: Found, reader: CgroupReader, first: Option<Sample>, birth: Option<WallTime>) {
        self.highest += 1;
        let id = SeriesId(self.highest);
        let (subject, inode) = (found.subject.clone(), reader.inode());
        self.outlet.announce(&Announcement { series: id, subject, inode, first, birth });
        self.series.push(Series::cgroup(id, found, reader, first));
    }

    /// Ends other cgroups below `path`: from now on they are counted there.
    fn drop_below(&mut self, path: &CgroupPath) {
        let (outlet, candidates) = (&mut self.outlet, &mut self.candidates);
        self.series.retain_mut(|series| {
            if !series.is_other_below(path) {
                return true;
            }
            outlet.end(Farewell { series: series.id(), reason: EndReason::Dropped });
            if let Some(found) = series.found() {
                candidates.shelve(found.clone());
            }
            false
        });
    }

    /// Reads every series in order and returns the time of the last reading.
    fn sweep(&mut self, start: BootTime) -> BootTime {
        let Self { series, outlet, buffer, omitted, settings, candidates, ticks, .. } = self;
        let pods_every = if outlet.is_looked_at(start) { 1 } else { ticks_of(PODS_EVERY, settings.interval) };
        let mut last_read = start;
        series.retain_mut(|series| {
            let with_details = series.wants_details(*ticks, settings.detail_every);
            if !with_details && !series.is_due(*ticks, pods_every) {
                outlet.skip();
                return true;
            }
            let outcome = series.read(buffer, last_read, with_details, settings.interval);
            match outcome {
                Outcome::Read { sample, details, end } => {
                    last_read = end;
                    let is_seldom = !series.is_due(*ticks + 1, pods_every);
                    outlet.sample(series.id(), sample, details.as_ref(), is_seldom);
                }
                Outcome::Omitted(reason) => {
                    if reason != OmissionReason::BackedOff {
                        last_read = boot_time();
                    }
                    outlet.skip();
                    if let Some(count) = omitted.get_mut(reason as usize) {
                        *count += 1;
                    }
                }
                Outcome::NotLater => outlet.skip(),
                Outcome::Ended(reason) => {
                    outlet.end(Farewell { series: series.id(), reason });
                    // Its path may already lead to a successor, or its counter was reset.
                    if let Some(found) = series.found() {
                        candidates.add(found.clone(), *ticks);
                    }
                    return false;
                }
            }
            true
        });
        last_read
    }

    fn finish(&mut self, now: BootTime, end: BootTime, wall: WallTime) -> Report {
        let over = OmissionReason::OverLimit;
        if let Some(count) = self.omitted.get_mut(over as usize) {
            *count = self.discovery.over_limit();
        }
        for (reason, count) in OmissionReason::ALL.into_iter().zip(self.omitted) {
            self.outlet.omitted(reason, count);
        }
        let (sequence, batch) = self.outlet.finish();
        Report {
            sequence,
            time: now,
            sweep: end.since(now),
            batch,
            announced: self.outlet.announced(),
            ended: self.outlet.ended(),
            series: self.series.len(),
            candidates: self.candidates.len(),
            omitted: self.omitted,
            wall_ahead: Duration::from_micros(self.wall.ahead_of(wall)),
        }
    }

    /// Cgroups with kept descriptors and those read by opening each time.
    #[must_use]
    pub fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }
}

/// How many ticks make up a time, rounded down; at least one.
pub(crate) fn ticks_of(time: Duration, interval: Duration) -> u64 {
    let ticks = time.as_nanos() / interval.as_nanos().max(1);
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// Why a failed reading leaves the series without a sample, or ends it.
fn omission(error: &ReadError) -> Option<OmissionReason> {
    match error {
        ReadError::Gone => None,
        ReadError::Malformed { .. } => Some(OmissionReason::Malformed),
        ReadError::Missing { .. } | ReadError::Failed { .. } => Some(OmissionReason::ReadFailed),
    }
}
