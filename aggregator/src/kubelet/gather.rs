//! The lines of one page to what each container, and the node, was measured to use. Pure.
//!
//! On a page, each series counts for itself: a value that no counter can have, or that is given twice and
//! differently, makes one container absent and no other. Whose pods these are is not known here.

use std::{collections::HashMap, hash::BuildHasher as _};

use foldhash::fast::RandomState;
use kubevitals::sample::{CpuTime, WallTime};

use super::{
    history::{Point, Reading},
    page::{Family, Line, Names},
};

/// Most containers of a page: forty times what a kubelet runs by default. A page with more is no kubelet's.
const MAX_CONTAINERS: usize = 10_000;

/// Why something of a page was not taken; also the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// A line is not understood.
    BadLine,
    /// A value or time is none that a counter can have: not finite, negative, too large.
    BadValue,
    /// A series is given twice, and differently.
    Duplicate,
    /// A pod that is bound to another node.
    ForeignPod,
    /// A reading from the future.
    Future,
    /// A reading from before the one that is held, whose counter is not the same.
    WentBack,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::BadLine, Self::BadValue, Self::Duplicate, Self::ForeignPod, Self::Future, Self::WentBack];

    /// As a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadLine => "bad_line",
            Self::BadValue => "bad_value",
            Self::Duplicate => "duplicate",
            Self::ForeignPod => "foreign_pod",
            Self::Future => "future",
            Self::WentBack => "went_back",
        }
    }
}

/// How often something was refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused([u32; Refusal::ALL.len()]);

impl Refused {
    /// Counts one.
    pub fn add(&mut self, refusal: Refusal) {
        if let Some(count) = self.0.get_mut(refusal as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// How often, for each reason.
    pub fn counts(&self) -> impl Iterator<Item = (Refusal, u32)> {
        Refusal::ALL.into_iter().zip(self.0)
    }

    /// For one reason.
    #[must_use]
    pub fn count(&self, refusal: Refusal) -> u32 {
        self.0.get(refusal as usize).copied().unwrap_or_default()
    }
}

/// What a series said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Slot {
    #[default]
    Missing,
    Given(u64, Option<WallTime>),
    Refused,
}

/// The counters of one subject.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    cpu: Slot,
    memory: Slot,
    start: Slot,
}

impl Counters {
    /// All of it, or nothing: a value nobody gave is no zero. A reading without a time was taken `otherwise`.
    fn reading(&self, otherwise: WallTime) -> Option<Reading> {
        let (Slot::Given(cpu, time), Slot::Given(memory_bytes, _)) = (self.cpu, self.memory) else {
            return None;
        };
        let start = match self.start {
            Slot::Given(nanos, _) => Some(WallTime(nanos / 1000)),
            _ => None,
        };
        let point = Point { time: time.unwrap_or(otherwise), cpu: CpuTime(cpu), memory_bytes };
        Some(Reading { point, start })
    }
}

/// A container of the page.
#[derive(Debug)]
struct Container {
    /// Namespace, pod and container with a slash between them.
    names: Box<str>,
    counters: Counters,
}

/// Whose reading it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The container.
    pub container: &'a str,
}

/// What a page says, while it is read and afterwards.
#[derive(Debug, Default)]
pub struct Page {
    node: Counters,
    containers: Vec<Container>,
    by_hash: HashMap<u64, usize, RandomState>,
    hasher: RandomState,
    /// The container of the line before. Families name them in the same order.
    cursor: usize,
    refused: Refused,
    too_many: bool,
    scrape_error: bool,
}

impl Page {
    /// Takes over a line.
    pub fn take(&mut self, line: Line<'_>) {
        let Line::Sample { family, names, value, time } = line else {
            self.refused.add(Refusal::BadLine);
            return;
        };
        let time = time.map(|millis| u64::try_from(millis).ok()?.checked_mul(1000).map(WallTime));
        let slot = match (value, time) {
            (Ok(value), None) => Slot::Given(value, None),
            (Ok(value), Some(Some(time))) => Slot::Given(value, Some(time)),
            _ => {
                self.refused.add(Refusal::BadValue);
                Slot::Refused
            }
        };
        let counters = match family {
            Family::ScrapeError => {
                self.scrape_error |= value != Ok(0);
                return;
            }
            Family::NodeCpu | Family::NodeMemory => &mut self.node,
            Family::ContainerCpu | Family::ContainerMemory | Family::ContainerStart => {
                match self.container(&names) {
                    Ok(found) => found,
                    Err(refusal) => {
                        if let Some(refusal) = refusal {
                            self.refused.add(refusal);
                        }
                        return;
                    }
                }
            }
        };
        let held = match family {
            Family::NodeCpu | Family::ContainerCpu => &mut counters.cpu,
            Family::NodeMemory | Family::ContainerMemory => &mut counters.memory,
            Family::ContainerStart | Family::ScrapeError => &mut counters.start,
        };
        match *held {
            Slot::Missing => *held = slot,
            // Of two that differ, nobody knows which is right.
            Slot::Given(..) if *held != slot => {
                *held = Slot::Refused;
                self.refused.add(Refusal::Duplicate);
            }
            Slot::Given(..) | Slot::Refused => {}
        }
    }

    /// The container of these names, made if need be.
    fn container(&mut self, names: &Names<'_>) -> Result<&mut Counters, Option<Refusal>> {
        let next = self.cursor + 1;
        let at = if self.is_at(self.cursor, names) {
            self.cursor
        } else if self.is_at(next, names) {
            next
        } else {
            self.find_or_add(names)?
        };
        self.cursor = at;
        self.containers.get_mut(at).map(|container| &mut container.counters).ok_or(None)
    }

    fn is_at(&self, at: usize, names: &Names<'_>) -> bool {
        self.containers.get(at).is_some_and(|container| is_of(&container.names, names))
    }

    fn find_or_add(&mut self, names: &Names<'_>) -> Result<usize, Option<Refusal>> {
        let Names { namespace, pod, container } = names;
        let parts = [namespace.as_ref(), pod.as_ref(), container.as_ref()];
        if !parts.iter().all(|part| is_name(part)) {
            return Err(Some(Refusal::BadLine));
        }
        let hash = self.hasher.hash_one(parts);
        match self.by_hash.get(&hash) {
            Some(&at) if self.is_at(at, names) => return Ok(at),
            // Two of one hash: as good as never, as the hash is seeded at random.
            Some(_) => {
                if let Some(at) = self.containers.iter().position(|held| is_of(&held.names, names)) {
                    return Ok(at);
                }
            }
            None => {}
        }
        if self.containers.len() >= MAX_CONTAINERS {
            self.too_many = true;
            return Err(None);
        }
        let at = self.containers.len();
        self.by_hash.entry(hash).or_insert(at);
        let container = Container { names: parts.join("/").into(), counters: Counters::default() };
        self.containers.push(container);
        Ok(at)
    }

    /// Whether there are more containers than any kubelet runs.
    #[must_use]
    pub fn has_too_many(&self) -> bool {
        self.too_many
    }

    /// Whether the kubelet says that it could not read its own numbers.
    #[must_use]
    pub fn has_scrape_error(&self) -> bool {
        self.scrape_error
    }

    /// What was refused.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// The node's own reading, if it is complete. One without a time was taken `otherwise`.
    #[must_use]
    pub fn node(&self, otherwise: WallTime) -> Option<Reading> {
        self.node.reading(otherwise)
    }

    /// The containers that have a complete reading, in the order of the page.
    pub fn containers(&self, otherwise: WallTime) -> impl Iterator<Item = (Whose<'_>, Reading)> {
        self.containers.iter().filter_map(move |held| {
            let (namespace, rest) = held.names.split_once('/')?;
            let (pod, container) = rest.split_once('/')?;
            Some((Whose { namespace, pod, container }, held.counters.reading(otherwise)?))
        })
    }

    /// How many containers are named.
    #[must_use]
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether no container is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }
}

/// What Kubernetes allows in these names is less; this much tells three names apart that are written as one.
fn is_name(text: &str) -> bool {
    (1..=253).contains(&text.len()) && !text.contains('/')
}

fn is_of(joined: &str, names: &Names<'_>) -> bool {
    let rest = joined.strip_prefix(names.namespace.as_ref()).and_then(|rest| rest.strip_prefix('/'));
    let rest = rest.and_then(|rest| rest.strip_prefix(names.pod.as_ref())?.strip_prefix('/'));
    rest == Some(names.container.as_ref())
}

#[cfg(test)]
mod tests;
