//! What scrapers get of this node: two pages over the last completed sweep.
//!
//! In reading order:
//! - `sweep`: the last sweep, handed over by the sampling thread; `subjects`: whose numbers are shown, and under which
//!   names.
//! - `resource`: the kubelet's page; `vitals`: what that does not have, by the table in `families`; `overhead`: what a
//!   pod uses beside its containers.
//! - `text` and `number`: how a page is written.
//!
//! - `server`: the listener for scrapers; `access`: who may read; `answer`: from a request to a page; `settings`: what the
//!   flags say of it, and `counted`: what it counts.
//!
//! A page is made of what is in memory, never of the kernel's files, and takes no lock that the sampling thread could
//! wait for longer than it takes to exchange a pointer. What makes pages does not know how they get to scrapers.

pub mod access;
pub mod answer;
pub mod counted;
mod families;
mod number;
mod overhead;
mod resource;
pub mod server;
pub mod settings;
mod subjects;
mod sweep;
mod text;
mod vitals;
mod watched;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use kubevitals::sample::BootTime;

pub use self::{
    families::{Definition, FAMILIES, Level, Source, Unit},
    subjects::{LeftOut, Naming, Omissions},
    sweep::{About, Board, Dated, Publication, Row, Sweep},
    text::Kind,
};
use self::{
    overhead::ByPod,
    subjects::{Limits, Subjects},
    text::Text,
    vitals::Shown,
};
pub use crate::exposition::Form;
use crate::{
    cgroup::clock::boot_time,
    identity::{Identities, Named},
    metrics, pace,
};

/// A reading is shown for so long after it was left out: as old as a healthy kubelet's can be, and as old as what the
/// aggregator serves.
const KEPT: Duration = Duration::from_secs(30);

/// And for so many intervals, where those are long.
const KEPT_INTERVALS: u32 = 3;

/// Makes the pages; clones are the same exporter.
#[derive(Clone, Debug)]
pub struct Exporter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    board: Board,
    identities: Identities,
    naming: Naming,
    interval: Duration,
    limits: Limits,
    metrics: metrics::Exporter,
    /// Length of each page when it was made last.
    lengths: [AtomicUsize; 2],
}

/// One answer to a scraper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its media type.
    pub content_type: &'static str,
    /// Its text.
    pub body: Bytes,
}

/// Which page.
#[derive(Clone, Copy, Debug)]
enum Which {
    Resource,
    Vitals,
}

impl Exporter {
    /// Shows what is on `board`, named by `identities` or as `naming` says. `interval` and `detail_interval` are those
    /// of sampling.
    #[must_use]
    pub fn new(
        board: Board,
        identities: Identities,
        naming: Naming,
        (interval, detail_interval): (Duration, Duration),
        metrics: metrics::Exporter,
    ) -> Self {
        let limits = Limits {
            usage: KEPT.max(interval * KEPT_INTERVALS),
            details: KEPT.max(detail_interval * KEPT_INTERVALS),
        };
        let lengths = <[AtomicUsize; 2]>::default();
        Self(Arc::new(Inner { board, identities, naming, interval, limits, metrics, lengths }))
    }

    /// `/metrics/resource`: what the kubelet's page of this name has.
    #[must_use]
    pub fn resource(&self, form: Form) -> Page {
        self.page(Which::Resource, form, boot_time())
    }

    /// `/metrics/vitals`: what the kubelet's page does not have.
    #[must_use]
    pub fn vitals(&self, form: Form) -> Page {
        self.page(Which::Vitals, form, boot_time())
    }

    fn page(&self, which: Which, form: Form, now: BootTime) -> Page {
        let Inner { board, naming, interval, limits, lengths, .. } = &*self.0;
        board.ask(now);
        let sweep = board.last().filter(|sweep| now.since(sweep.time) <= pace::stuck_after(*interval));
        let names = sweep.as_deref().map(|sweep| self.names(sweep)).unwrap_or_default();
        let subjects = sweep.as_deref().map(|sweep| Subjects::choose(sweep, &names, *naming, *limits));
        let [resource, vitals] = lengths;
        let length = match which {
            Which::Resource => resource,
            Which::Vitals => vitals,
        };
        // Room for what came up since.
        let before = length.load(Ordering::Relaxed);
        let mut text = Text::new(form, before + before / 8);
        match which {
            Which::Resource => resource::write(&mut text, subjects.as_ref()),
            Which::Vitals => {
                let by_pod = sweep.as_deref().filter(|_| *naming == Naming::Aggregator);
                let by_pod = by_pod.map(|sweep| ByPod::of(sweep, &names));
                let shown = sweep.as_deref().zip(subjects.as_ref());
                let shown = shown.map(|(sweep, subjects)| Shown { sweep, subjects, by_pod: by_pod.as_ref() });
                vitals::write(&mut text, shown);
            }
        }
        let body = text.finish();
        length.store(body.len(), Ordering::Relaxed);
        if let Some(subjects) = &subjects {
            self.0.metrics.left_out(subjects.omitted);
        }
        Page { content_type: form.content_type(), body: Bytes::from(body) }
    }

    /// What is known of each row. Each is asked for by itself: the sampling thread, which adds and removes some, waits
    /// for one at most.
    fn names(&self, sweep: &Sweep) -> Vec<Option<Named>> {
        if self.0.naming == Naming::Uid {
            return Vec::new();
        }
        sweep.rows.iter().map(|row| self.0.identities.get(row.about.series)).collect()
    }
}

#[cfg(test)]
mod tests;
