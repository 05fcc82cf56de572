//! `/metrics/vitals`: what the kubelet's page does not have, as [`super::families`] lists it.
//!
//! Each sample has the time at which it was read: details are read seldom, and a rate over the times of scrapes would
//! be wrong by that. What the kernel does not give is absent.

use kubevitals::sample::Detail;

use super::{
    families::{Definition, FAMILIES, Level, Source, Unit},
    overhead::ByPod,
    subjects::{Entry, Subjects},
    sweep::Sweep,
    text::{Family, Labels, Text},
};

/// What the page is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'s> {
    pub(super) sweep: &'s Sweep,
    pub(super) subjects: &'s Subjects<'s>,
    /// `None` when sandboxes cannot be told from containers.
    pub(super) by_pod: Option<&'s ByPod<'s>>,
}

/// The page; without a sweep it says that there was an error and nothing else.
pub(super) fn write(text: &mut Text, shown: Option<Shown<'_>>) {
    if let Some(shown) = shown {
        for level in [Level::Container, Level::Pod, Level::Node] {
            for definition in of(level) {
                let mut family = text.family(definition.head(level));
                shown
                    .entries(level)
                    .iter()
                    .for_each(|entry| lines(&mut family, definition, entry, shown.by_pod));
            }
        }
    }
    for definition in of(Level::Exporter) {
        let value = match (definition.source, shown) {
            (Source::ScrapeError, shown) => Some(shown.is_none().into()),
            (Source::SweepTime, Some(shown)) => Some(shown.sweep.wall.0),
            _ => None,
        };
        if let Some(value) = value {
            let mut family = text.family(definition.head(Level::Exporter));
            family.sample(&Labels::default(), definition.unit.convert(value), None);
        }
    }
}

fn of(level: Level) -> impl Iterator<Item = &'static Definition> {
    FAMILIES.iter().filter(move |definition| definition.levels.contains(&level))
}

impl<'s> Shown<'s> {
    fn entries(&self, level: Level) -> &'s [Entry<'s>] {
        match level {
            Level::Container => &self.subjects.containers,
            Level::Pod => &self.subjects.pods,
            Level::Node => self.subjects.node.as_slice(),
            Level::Exporter => &[],
        }
    }
}

/// The lines of one subject in one family.
fn lines(family: &mut Family<'_>, definition: &Definition, entry: &Entry<'_>, by_pod: Option<&ByPod<'_>>) {
    let Entry { labels, row, usage, .. } = entry;
    let overhead = || by_pod?.overhead(entry.uid, &usage.value);
    let (value, at) = match definition.source {
        Source::Details(values) => return details(family, definition.unit, values, entry),
        // It does not change, so there is no time to tell.
        Source::Birth => (row.about.birth.map(|birth| birth.0), None),
        Source::OverheadMemory => (overhead().and_then(|overhead| overhead.working_set), Some(usage.wall)),
        Source::OverheadCpu => (overhead().and_then(|overhead| overhead.cpu), Some(usage.wall)),
        Source::ScrapeError | Source::SweepTime => return,
    };
    if let Some(value) = value {
        family.sample(labels, definition.unit.convert(value), at);
    }
}

fn details(family: &mut Family<'_>, unit: Unit, values: &[(&'static str, Detail)], entry: &Entry<'_>) {
    let Some(read) = entry.details else { return };
    for &(resource, detail) in values {
        if let Some(value) = read.value.get(detail) {
            let labels = Labels { resource, ..entry.labels };
            family.sample(&labels, unit.convert(value), Some(read.wall));
            if let Some(birth) = entry.row.about.birth {
                family.created(&labels, birth, Some(read.wall));
            }
        }
    }
}
