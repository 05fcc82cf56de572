//! The live series of a chain.
//!
//! An aggregator goes over the live series of every node once a second, and finds none of them in the processor's
//! caches. So what a batch changes, 28 bytes of each series, lies apart from what was said of the series once.

use std::{collections::HashSet, ops::Range};

use super::{
    Announcement, ChainError,
    decode::{in_range, later},
    kept::Kept,
};
use crate::{
    announce::working_set,
    sample::{BootTime, CpuTime, Details, LONGEST_DETAILS, Sample, SeriesId, WorkingSet},
};

/// All live series, ascending; the columns are parallel.
#[derive(Debug, Default)]
pub(super) struct Live {
    series: Vec<SeriesId>,
    newest: Vec<Newest>,
    known: Kept,
    /// Those of all, packed, one after the other: each tick changes those of a few.
    details: Vec<u8>,
    /// Bytes of each in that row.
    lengths: Vec<u8>,
}

const _: () = assert!(LONGEST_DETAILS <= u8::MAX as usize, "a length is a byte");

/// The newest sample of a series, or the announced first reading; packed, as an `Option<Sample>` takes 32 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    time: u64,
    cpu: u64,
    memory: u32,
    is_read: bool,
}

impl Live {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn find(&self, series: SeriesId) -> Option<usize> {
        self.series.binary_search(&series).ok()
    }

    /// Each with its newest sample and details. Of first readings only the newest sample tells.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Announcement, Option<Sample>, Details)> {
        let all = self.announcements().zip(&self.newest).zip(self.each_details());
        all.map(|((announcement, newest), details)| (announcement, newest.sample(), details))
    }

    /// What each was announced as, but for its first reading.
    pub(super) fn announcements(&self) -> impl Iterator<Item = Announcement> {
        self.known.announcements(&self.series)
    }

    /// Their numbers.
    pub(super) fn series(&self) -> &[SeriesId] {
        &self.series
    }

    /// Makes room for so many more, and for little more than that.
    pub(super) fn reserve(&mut self, more: usize) {
        if more > self.series.capacity() - self.series.len() {
            // What comes one by one moves the others now and then, not every time.
            let more = more.max(self.series.len() / 32);
            self.series.reserve_exact(more);
            self.newest.reserve_exact(more);
            self.known.reserve(more);
            self.details.reserve_exact(2 * more);
            self.lengths.reserve_exact(more);
        }
    }

    /// Adds a series that is higher than all others, and what was read of it last.
    pub(super) fn push(&mut self, announcement: &Announcement, newest: Option<Sample>, details: &Details) {
        self.series.push(announcement.series);
        self.newest.push(newest.or(announcement.first).map_or_else(Newest::default, Newest::from));
        self.known.push(announcement);
        self.push_details(details);
    }

    /// Forgets these.
    pub(super) fn remove(&mut self, ended: &HashSet<SeriesId>) {
        let keep: Vec<bool> = self.series.iter().map(|series| !ended.contains(series)).collect();
        let kept = || {
            let mut each = keep.iter();
            move || each.next().copied().unwrap_or(true)
        };
        let (mut series, mut newest, known, mut details) = (kept(), kept(), kept(), kept());
        self.set_details(self.details().into_iter().filter(|_| details()));
        self.known.retain(&self.series, known);
        self.series.retain(|_| series());
        self.newest.retain(|_| newest());
    }

    fn each_details(&self) -> impl Iterator<Item = Details> {
        let mut rest = self.details.as_slice();
        self.lengths.iter().map(move |&length| {
            let (mut own, after) = rest.split_at_checked(length.into()).unwrap_or_default();
            rest = after;
            Details::unpack(&mut own)
        })
    }

    fn details(&self) -> Vec<Details> {
        self.each_details().collect()
    }

    fn set_details(&mut self, details: impl IntoIterator<Item = Details>) {
        (self.details, self.lengths) =
            (Vec::with_capacity(self.details.len()), Vec::with_capacity(self.lengths.len()));
        details.into_iter().for_each(|details| self.push_details(&details));
    }

    fn push_details(&mut self, details: &Details) {
        let before = self.details.len();
        details.pack_onto(&mut self.details);
        self.lengths.push(u8::try_from(self.details.len() - before).unwrap_or(u8::MAX));
    }

    /// Where the packed details of a series are.
    fn place(&self, at: usize) -> Option<Range<usize>> {
        let before = self.lengths.get(..at)?.iter().map(|&length| usize::from(length)).sum();
        Some(before..before + usize::from(*self.lengths.get(at)?))
    }

    /// The details of one series.
    fn details_of(&self, at: usize) -> Option<Details> {
        Some(Details::unpack(&mut self.details.get(self.place(at)?)?))
    }

    /// Changes the details of one series, which mostly take as many bytes as before.
    fn change_details(&mut self, at: usize, details: &Details) {
        let Some(place) = self.place(at) else { return };
        let mut packed = [0; LONGEST_DETAILS];
        let packed = details.pack_into(&mut packed);
        match self.details.get_mut(place.clone()) {
            Some(before) if before.len() == packed.len() => before.copy_from_slice(packed),
            _ => self.replace_details(at, place, packed),
        }
    }

    /// Changes details that take more or fewer bytes than before.
    fn replace_details(&mut self, at: usize, place: Range<usize>, packed: &[u8]) {
        if let Some(length) = self.lengths.get_mut(at) {
            *length = u8::try_from(packed.len()).unwrap_or(u8::MAX);
        }
        let longer = packed.len().saturating_sub(place.len());
        if longer > self.details.capacity() - self.details.len() {
            // Little more than needed, or it would be given back below.
            self.details.reserve_exact(longer + self.details.len() / 16);
        }
        self.details.splice(place, packed.iter().copied());
        if self.details.capacity() - self.details.len() > self.details.len() / 8 {
            self.details.shrink_to(self.details.len() + self.details.len() / 16);
        }
    }

    /// The series with their newest samples, to take the next ones in.
    pub(super) fn readings(&mut self) -> impl Iterator<Item = (SeriesId, Reading<'_>)> {
        self.series.iter().copied().zip(self.newest.iter_mut().map(Reading))
    }
}

/// Steps that may be taken to find details one by one; all are unpacked when it would be more.
const STEPS: usize = 1 << 20;

/// The details of those series that a batch changes, while it does; the memory is used again.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Those named so far, ascending. Each is found by going over all before it in the row.
    some: Vec<Changed>,
    /// Those of all series, where many are named.
    all: Option<Vec<Details>>,
}

#[derive(Debug)]
struct Changed {
    series: SeriesId,
    /// The place of the series.
    at: usize,
    details: Details,
}

impl Changes {
    /// Begins with a batch that names so many.
    pub(super) fn begin(&mut self, live: &Live, named: usize) {
        self.some.clear();
        let is_few = named.saturating_mul(live.details.len().max(live.len())) <= STEPS;
        self.all = (!is_few).then(|| live.details());
    }

    /// Those of one series as they are by now.
    pub(super) fn of(&mut self, live: &Live, series: SeriesId) -> Option<&mut Details> {
        if let Some(all) = &mut self.all {
            return all.get_mut(live.find(series)?);
        }
        let place = match self.some.binary_search_by_key(&series, |changed| changed.series) {
            Ok(place) => place,
            Err(place) => {
                let at = live.find(series)?;
                self.some.insert(place, Changed { series, at, details: live.details_of(at)? });
                place
            }
        };
        self.some.get_mut(place).map(|changed| &mut changed.details)
    }

    /// Takes them over.
    pub(super) fn apply(&mut self, live: &mut Live) {
        match self.all.take() {
            Some(all) => live.set_details(all),
            None => self.some.iter().for_each(|changed| live.change_details(changed.at, &changed.details)),
        }
    }
}

/// The newest sample of one series.
pub(super) struct Reading<'a>(&'a mut Newest);

impl Reading<'_> {
    /// Takes the sample that follows.
    pub(super) fn next(self, time: u64, cpu_delta: u64, memory_delta: i64) -> Result<Sample, ChainError> {
        let before = *self.0;
        if before.is_read {
            later("time_gap_us", time, before.time)?;
        }
        let cpu = in_range("cpu_delta_ns", before.cpu.checked_add(cpu_delta))?;
        let units = u64::from(before.memory).checked_add_signed(memory_delta);
        let units = in_range("working_set_delta_4k", units)?;
        let sample = Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set: working_set(units)? };
        *self.0 = sample.into();
        Ok(sample)
    }
}

impl From<Sample> for Newest {
    fn from(sample: Sample) -> Self {
        let Sample { time, cpu, working_set } = sample;
        Self { time: time.0, cpu: cpu.0, memory: working_set.units(), is_read: true }
    }
}

impl Newest {
    fn sample(&self) -> Option<Sample> {
        let sample = Sample {
            time: BootTime(self.time),
            cpu: CpuTime(self.cpu),
            working_set: WorkingSet::from_units(self.memory),
        };
        self.is_read.then_some(sample)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{Detail, Subject};

    proptest! {
        /// Whichever series have new details, each has its own afterwards.
        #[test]
        fn details_are_changed_in_their_place(
            known in proptest::collection::vec(proptest::option::of(any::<u64>()), 1..40),
            changes in proptest::collection::vec((0_usize..40, proptest::option::of(any::<u64>())), 0..20),
            are_many in any::<bool>(),
        ) {
            let (mut live, mut model) = (Live::default(), Vec::new());
            for (series, value) in (1..).zip(known) {
                let mut details = Details::default();
                details.set(Detail::Swap, value);
                details.set(Detail::Anon, value.filter(|value| value % 2 == 0));
                let announcement =
                    Announcement { series: SeriesId(series), subject: Subject::Node, inode: 1, first: None, birth: None };
                live.push(&announcement, None, &details);
                model.push(details);
            }
            let (mut changing, half) = (Changes::default(), changes.len() / 2);
            for changes in [&changes[..half], &changes[half..]] {
                changing.begin(&live, if are_many { usize::MAX } else { changes.len() });
                for &(at, value) in changes {
                    let series = SeriesId(u32::try_from(at).unwrap() + 1);
                    let (mine, theirs) = (changing.of(&live, series), model.get_mut(at));
                    prop_assert_eq!(mine.as_deref(), theirs.as_deref());
                    mine.into_iter().chain(theirs).for_each(|details| details.set(Detail::Swap, value));
                }
                changing.apply(&mut live);
                prop_assert_eq!(live.details(), model.as_slice());
            }
        }
    }
}
