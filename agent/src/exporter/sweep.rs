//! The last completed sweep, handed from the sampling thread to scrapers.
//!
//! The sampling thread keeps a [`Publication`] and tells it what it tells the encoder of batches; at the end of a tick
//! it publishes a copy. Two copies take turns: the one that scrapers see, and the one before, which is filled anew. A
//! scraper that holds a copy for long delays nobody: then a fresh one is made. Who the series are in Kubernetes is
//! not known here.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kubevitals::{
    chain::Announcement,
    sample::{BootTime, Details, Sample, SeriesId, Subject, WallTime},
};

/// Everything that is known of the live series at the end of one tick.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// When the tick began. Readings with a time before this are left over from an earlier tick.
    pub time: BootTime,
    /// Wall time at that moment, as published with the batch.
    pub wall: WallTime,
    /// Live series, ascending by number.
    pub rows: Vec<Row>,
}

/// What does not change while a series lives.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// Its number.
    pub series: SeriesId,
    /// What it counts.
    pub subject: Subject,
    /// When its cgroup was made, where that is known.
    pub birth: Option<WallTime>,
}

/// One live series.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is.
    pub about: Arc<About>,
    /// Its last sample; `None` before the first.
    pub usage: Option<Dated<Sample>>,
    /// Its last details; `None` before the first.
    pub details: Option<Dated<Details>>,
}

/// A reading and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated<T> {
    /// By the clock of samples.
    pub time: BootTime,
    /// By the wall, as it was published at that time: it stays the same however often the reading is shown.
    pub wall: WallTime,
    /// What was read.
    pub value: T,
}

impl<T> Dated<T> {
    /// The reading, unless it was taken more than `longest` before `now`.
    pub(super) fn within(&self, now: BootTime, longest: Duration) -> Option<&Self> {
        (now.since(self.time) <= longest).then_some(self)
    }
}

/// Where scrapers find the last completed sweep, and leave word that they came; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    last: Mutex<Option<Arc<Sweep>>>,
    /// When it was looked at last, microseconds of the clock of samples; 0 for never.
    asked: AtomicU64,
}

impl Board {
    /// Somebody looks at it, or is expected to.
    pub fn ask(&self, now: BootTime) {
        self.0.asked.fetch_max(now.0, Ordering::Relaxed);
    }

    /// Whether anybody looked at it within the time before `now`.
    pub(crate) fn was_asked_within(&self, time: Duration, now: BootTime) -> bool {
        let asked = self.0.asked.load(Ordering::Relaxed);
        asked > 0 && now.since(BootTime(asked)) <= time
    }

    /// The last completed sweep; `None` before the first.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Sweep>> {
        self.lock().clone()
    }

    fn replace(&self, sweep: Arc<Sweep>) -> Option<Arc<Sweep>> {
        self.lock().replace(sweep)
    }

    /// Held for the exchange of a pointer, never longer.
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Sweep>>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sampling thread's side of a [`Board`].
#[derive(Debug, Default)]
pub struct Publication {
    board: Board,
    current: Sweep,
    /// Where the next sample of this tick will most likely go: they come in the order of the rows.
    next: usize,
    /// The copy before the one on the board.
    former: Option<Arc<Sweep>>,
}

impl Publication {
    /// Where it is published.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Starts the next tick. `wall` is the wall time at `time`.
    pub fn begin(&mut self, time: BootTime, wall: WallTime) {
        self.current.time = time;
        self.current.wall = wall;
        self.next = 0;
    }

    /// A new series; its number is higher than any before.
    pub fn announce(&mut self, announcement: &Announcement) {
        let Announcement { series, birth, .. } = *announcement;
        let about = Arc::new(About { series, subject: announcement.subject.clone(), birth });
        self.current.rows.push(Row { about, usage: None, details: None });
    }

    /// A series ended.
    pub fn end(&mut self, series: SeriesId) {
        if let Some(at) = self.position(series) {
            self.current.rows.remove(at);
        }
    }

    /// A sample of this tick, and details if they were read.
    pub fn sample(&mut self, series: SeriesId, sample: Sample, details: Option<&Details>) {
        let time = sample.time;
        let since = time.0.saturating_sub(self.current.time.0);
        let wall = WallTime(self.current.wall.0.saturating_add(since));
        let expected = self.current.rows.get(self.next).filter(|row| row.about.series == series);
        let Some(at) = expected.map(|_| self.next).or_else(|| self.position(series)) else { return };
        self.next = at + 1;
        if let Some(row) = self.current.rows.get_mut(at) {
            row.usage = Some(Dated { time, wall, value: sample });
            if let Some(&details) = details {
                row.details = Some(Dated { time, wall, value: details });
            }
        }
    }

    /// Ends the tick: scrapers see it from now on.
    pub fn finish(&mut self) {
        let mut next = self.former.take().unwrap_or_default();
        if let Some(free) = Arc::get_mut(&mut next) {
            free.time = self.current.time;
            free.wall = self.current.wall;
            free.rows.clone_from(&self.current.rows);
        } else {
            // A scraper still reads it, and frees it in the end.
            next = Arc::new(self.current.clone());
        }
        self.former = self.board.replace(next);
    }

    fn position(&self, series: SeriesId) -> Option<usize> {
        self.current.rows.binary_search_by_key(&series, |row| row.about.series).ok()
    }
}

#[cfg(test)]
mod tests {
    use kubevitals::sample::{CpuTime, Detail, WorkingSet};

    use super::*;

    fn announced(publication: &mut Publication, series: u32) {
        publication.announce(&Announcement {
            series: SeriesId(series),
            subject: Subject::Node,
            inode: 1,
            first: None,
            birth: None,
        });
    }

    fn sample(time: u64) -> Sample {
        Sample { time: BootTime(time), cpu: CpuTime(time), working_set: WorkingSet::from_units(1) }
    }

    #[test]
    fn a_board_remembers_for_a_while_that_somebody_asked() {
        let (board, minute) = (Board::default(), Duration::from_secs(60));
        assert!(!board.was_asked_within(minute, BootTime(1)), "nobody yet");
        board.ask(BootTime(1_000_000));
        assert!(board.was_asked_within(minute, BootTime(61_000_000)));
        assert!(!board.was_asked_within(minute, BootTime(61_000_001)));
    }

    #[test]
    fn a_scraper_sees_whole_ticks_only() {
        let mut publication = Publication::default();
        let board = publication.board();
        publication.begin(BootTime(1000), WallTime(5_000_000));
        announced(&mut publication, 1);
        publication.sample(SeriesId(1), sample(1300), None);
        assert!(board.last().is_none());

        publication.finish();

        let sweep = board.last().unwrap();
        let [row] = sweep.rows.as_slice() else { panic!("{sweep:?}") };
        assert_eq!(row.usage.unwrap().wall, WallTime(5_000_300));
        assert!(row.details.is_none());
    }

    #[test]
    fn a_reading_left_out_stays_with_its_own_time_until_it_is_too_old() {
        let mut publication = Publication::default();
        publication.begin(BootTime(1000), WallTime(5_000_000));
        announced(&mut publication, 1);
        let mut details = Details::default();
        details.set(Detail::Swap, Some(0));
        publication.sample(SeriesId(1), sample(1300), Some(&details));
        publication.finish();
        // The wall clock was set meanwhile; what was published once does not move.
        publication.begin(BootTime(2000), WallTime(9_000_000));
        publication.finish();

        let sweep = publication.board().last().unwrap();
        let usage = sweep.rows[0].usage.unwrap();
        assert_eq!((sweep.wall, usage.wall), (WallTime(9_000_000), WallTime(5_000_300)));
        assert!(usage.within(sweep.time, Duration::from_micros(700)).is_some());
        assert!(usage.within(sweep.time, Duration::from_micros(699)).is_none());
    }

    #[test]
    fn a_series_that_ended_is_gone() {
        let mut publication = Publication::default();
        publication.begin(BootTime(1), WallTime(1));
        for series in 1..=3 {
            announced(&mut publication, series);
        }
        publication.end(SeriesId(2));
        publication.finish();
        let sweep = publication.board().last().unwrap();
        let live: Vec<u32> = sweep.rows.iter().map(|row| row.about.series.0).collect();
        assert_eq!(live, [1, 3]);
    }

    #[test]
    fn two_copies_take_turns_and_one_that_is_held_is_left_alone() {
        let mut publication = Publication::default();
        let board = publication.board();
        let mut tick = |time| {
            publication.begin(BootTime(time), WallTime(time));
            publication.finish();
            Arc::as_ptr(&board.last().unwrap())
        };
        let (a, b) = (tick(1), tick(2));
        assert_eq!([tick(3), tick(4), tick(5)], [a, b, a]);
        let held = board.last().unwrap();
        assert_eq!(tick(6), b);
        assert_ne!(tick(7), a, "it is being read");
        assert_eq!(held.time, BootTime(5));
    }
}
