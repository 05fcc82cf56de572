//! Where a tick goes: the same news to the batch and to the page of scrapers.

use std::time::Duration;

use bytes::Bytes;
use kubevitals::{
    chain::{Announcement, Checkpoint, Encoder, Farewell, OmissionReason},
    sample::{BootTime, Details, Sample, SeriesId, WallTime},
};

use crate::exporter::{Board, Publication};

/// Whoever scrapes does so more often than this.
const SCRAPED: Duration = Duration::from_secs(300);

/// While nobody scrapes, sweeps are published this often: each is a copy of all series, and the first scraper to come
/// finds one that is young enough to be shown. What the sweeps in between read is not even taken over, unless it is read
/// seldom: that was 2 % of the sampling thread.
const UNSEEN: Duration = Duration::from_secs(4);

/// Both, told alike. A tick is as [`Encoder`] says.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    encoder: Encoder,
    publication: Publication,
    /// Scrapers will see the sweep of this tick.
    publishes: bool,
    /// Which sweep scrapers see.
    published: Option<BootTime>,
}

impl Outlet {
    pub(super) fn board(&self) -> Board {
        self.publication.board()
    }

    /// Whether scrapers look at what is published.
    pub(super) fn is_looked_at(&self, now: BootTime) -> bool {
        self.publication.board().was_asked_within(SCRAPED, now)
    }

    pub(super) fn begin(&mut self, time: BootTime, wall: WallTime) {
        let is_due = self.published.is_none_or(|published| time.since(published) >= UNSEEN);
        self.publishes = is_due || self.is_looked_at(time);
        if self.publishes {
            self.published = Some(time);
        }
        self.encoder.begin(time, wall);
        self.publication.begin(time, wall);
    }

    pub(super) fn announce(&mut self, announcement: &Announcement) {
        self.encoder.announce(announcement);
        self.publication.announce(announcement);
    }

    pub(super) fn end(&mut self, farewell: Farewell) {
        self.encoder.end(farewell);
        self.publication.end(farewell.series);
    }

    /// A sample; `is_seldom` when the next tick will not have another one.
    pub(super) fn sample(
        &mut self,
        series: SeriesId,
        sample: Sample,
        details: Option<&Details>,
        is_seldom: bool,
    ) {
        self.encoder.sample(sample, details);
        if self.publishes || is_seldom || details.is_some() {
            self.publication.sample(series, sample, details);
        }
    }

    pub(super) fn skip(&mut self) {
        self.encoder.skip();
    }

    pub(super) fn omitted(&mut self, reason: OmissionReason, count: u32) {
        self.encoder.omitted(reason, count);
    }

    /// Publishes the sweep if somebody may look at it, and returns the batch with its number.
    pub(super) fn finish(&mut self) -> (u64, Bytes) {
        if self.publishes {
            self.publication.finish();
        }
        self.encoder.finish()
    }

    /// The state of the chain after the last tick.
    pub(super) fn chain(&self) -> &Checkpoint {
        self.encoder.state()
    }

    /// The series that began with the tick made last.
    pub(super) fn announced(&self) -> Vec<SeriesId> {
        self.encoder.announced().collect()
    }

    /// The series that ended with the tick made last.
    pub(super) fn ended(&self) -> Vec<SeriesId> {
        self.encoder.ended().collect()
    }
}
