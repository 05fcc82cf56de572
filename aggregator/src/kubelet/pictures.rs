//! A polled node's pages to the last whole picture of each of its pods.
//!
//! A page names pods and containers; the directory says which pod of that name is bound to the node, and which
//! container runs under that name now. What is published is finished: whoever reads it computes nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use kubevitals::sample::WallTime;

use super::{
    agent::AgentSamples,
    gather::{Page, Refusal, Refused, Whose},
    history::{Births, History, Reading, Taken, span},
};
use crate::{
    api::source::Usage,
    directory::{ContainerRecord, Directory, PodRecord, Uid},
    store::node::CounterRef,
};

/// A node's clock may be so much ahead of what we take it for.
const AHEAD: Duration = Duration::from_secs(5);

/// A pod that a page does not name is remembered for this long.
const FORGET: Duration = Duration::from_secs(120);

/// A whole pod, or a node, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// When the earliest of its containers was last read, by the node's clock.
    pub timestamp: WallTime,
    /// From the earliest begin of its containers' windows to `timestamp`.
    pub window: Duration,
    /// In the order of the containers; one for a node.
    pub usages: Box<[Usage]>,
}

/// The picture of a pod, and the containers it shows.
#[derive(Debug, Clone)]
pub struct PodPicture {
    /// The pod as it was then.
    pub pod: Arc<PodRecord>,
    /// Its numbers.
    pub picture: Picture,
}

/// What is served of a node. Replaced with each page.
#[derive(Debug, Default)]
pub struct Published {
    /// By UID.
    pub pods: HashMap<Uid, PodPicture, RandomState>,
    /// Pods, by UID, that the newest page names and whose running containers do not all have a rate yet.
    pub incomplete: HashSet<Uid, RandomState>,
    /// The node itself.
    pub node: Option<Picture>,
    /// Whether the newest page has the node.
    pub has_node: bool,
    /// When the page came, by the node's clock and by ours; none before the first.
    pub received: Option<(WallTime, Instant)>,
}

impl Published {
    /// What is left of it when an agent came and went: of a pod of which the agent has served later numbers, nothing.
    #[must_use]
    pub fn after_agent(&self, agent: &AgentSamples) -> Self {
        let is_left = |found: &PodPicture| {
            let mut containers = found.pod.containers.iter();
            !containers.all(|record| agent.served_after(&record.counter, found.picture.timestamp))
        };
        let pods = self.pods.iter().filter(|(_, found)| is_left(found));
        let node = self.node.as_ref().filter(|node| !agent.served_after(&CounterRef::Node, node.timestamp));
        Self {
            pods: pods.map(|(uid, found)| (uid.clone(), found.clone())).collect(),
            incomplete: self.incomplete.clone(),
            node: node.cloned(),
            has_node: self.has_node,
            received: self.received,
        }
    }

    /// How old a moment on the node's clock is now.
    #[must_use]
    pub fn age(&self, timestamp: WallTime, now: Instant) -> Duration {
        let Some((wall, received)) = self.received else { return Duration::MAX };
        span(timestamp, wall).unwrap_or_default() + now.saturating_duration_since(received)
    }
}

/// The rules of a node's pages.
#[derive(Debug, Clone, Copy)]
pub struct PageRules {
    /// A container's start counts as a point once it is so old.
    pub least_age: Duration,
    /// Time between two pages.
    pub resolution: Duration,
}

/// When a page was asked for and received.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// By the node's clock.
    pub wall: WallTime,
    /// By ours.
    pub instant: Instant,
}

/// What a page is taken over with.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The node that it is of.
    pub node: &'a str,
    /// Who is who.
    pub directory: &'a Directory,
    /// What the node's agent said last.
    pub agent: &'a AgentSamples,
}

/// Taking over one page.
struct Taking<'a> {
    around: &'a Around<'a>,
    now: WallTime,
    /// What is later is from the future.
    newest: WallTime,
    births: Births,
    refused: Refused,
}

impl Taking<'_> {
    /// Adds a reading to a history; whether it is of the moment that the history is at now.
    fn add(&mut self, counter: &CounterRef, reading: &Reading, history: &mut History) -> bool {
        if reading.point.time > self.newest {
            self.refused.add(Refusal::Future);
            return false;
        }
        if history.reaches_after(self.newest) {
            // The node's clock was set back: what is held lies in a future that did not come.
            *history = History::default();
        }
        self.around.agent.join(counter, reading, self.newest, history);
        let taken = history.take(reading, &self.births);
        let is_earlier = history.last().is_some_and(|last| reading.point.time < last.time);
        if taken == Taken::NotLater && is_earlier {
            self.refused.add(Refusal::WentBack);
        }
        true
    }
}

/// A container of a pod, followed from page to page.
#[derive(Debug)]
struct Followed {
    name: Arc<str>,
    /// The container that the points are of.
    counter: CounterRef,
    /// When that one started, as the page said when it was first seen.
    started: Option<WallTime>,
    /// Since when the pod's status names another one.
    replaced: Option<WallTime>,
    history: History,
    /// Whether the page that is taken over shows it.
    is_shown: bool,
}

#[derive(Debug, Default)]
struct PodHistory {
    containers: Vec<Followed>,
    last_seen: WallTime,
}

/// What is remembered of a node from page to page.
#[derive(Debug, Default)]
pub struct Memory {
    pods: HashMap<Uid, PodHistory, RandomState>,
    node: History,
    last_page: Option<WallTime>,
}

impl Memory {
    /// Takes over a page that came whole. `published` is what was served until now.
    pub fn take(
        &mut self,
        page: &Page,
        arrival: Arrival,
        around: &Around<'_>,
        published: &Published,
        rules: &PageRules,
    ) -> (Published, Refused) {
        let mut taking = Taking {
            around,
            now: arrival.wall,
            newest: WallTime(arrival.wall.0.saturating_add(micros(AHEAD))),
            births: self.births(arrival.wall, rules),
            refused: page.refused(),
        };
        let mut next = Published { received: Some((arrival.wall, arrival.instant)), ..Published::default() };
        if let Some(reading) = page.node(arrival.wall) {
            next.has_node = true;
            taking.add(&CounterRef::Node, &reading, &mut self.node);
        }
        next.node = node_picture(&self.node).or_else(|| published.node.clone());
        let mut seen = Seen::default();
        for (whose, reading) in page.containers(arrival.wall) {
            let Some(pod) = pod_of(&mut seen, around.directory, whose) else { continue };
            if pod.node.as_ref() == around.node {
                self.container(&pod, whose.container, &reading, &mut taking);
            } else {
                taking.refused.add(Refusal::ForeignPod);
            }
        }
        self.forget(arrival.wall, taking.newest);
        let shown = seen.values().flatten().filter(|pod| pod.node.as_ref() == around.node);
        self.publish(shown, taking.newest, published, &mut next);
        self.last_page = Some(arrival.wall);
        (next, taking.refused)
    }

    fn births(&self, now: WallTime, rules: &PageRules) -> Births {
        // What the page before did not show started after it, or so little before that the kubelet had not read it.
        let pages = if self.last_page.is_some() { 2 } else { 1 };
        let after = WallTime(now.0.saturating_sub(micros(rules.resolution * pages)));
        Births { least: rules.least_age, after }
    }

    fn container(&mut self, pod: &PodRecord, name: &str, reading: &Reading, taking: &mut Taking<'_>) {
        // One that does not run any more by the pod's status is no part of the picture.
        let Some(record) = pod.containers.iter().find(|record| record.name.as_ref() == name) else { return };
        let history = self.pods.entry(pod.uid.clone()).or_default();
        history.last_seen = taking.now;
        let known = history.containers.iter().position(|held| held.name.as_ref() == name);
        let at = known.unwrap_or_else(|| {
            history.containers.push(Followed::new(record, reading));
            history.containers.len() - 1
        });
        let Some(followed) = history.containers.get_mut(at) else { return };
        if followed.is_of(record, reading, taking.now) {
            followed.is_shown |= taking.add(&record.counter, reading, &mut followed.history);
        }
    }

    /// Forgets pods that no page names any more, and those last seen in a future that did not come: nobody could tell
    /// how old their numbers are.
    fn forget(&mut self, now: WallTime, newest: WallTime) {
        self.pods.retain(|_, pod| {
            pod.last_seen <= newest && span(pod.last_seen, now).is_none_or(|unseen| unseen <= FORGET)
        });
    }

    /// Makes the pictures that are whole now; of the other pods the last whole one stays.
    fn publish<'a>(
        &mut self,
        seen: impl Iterator<Item = &'a Arc<PodRecord>>,
        newest: WallTime,
        before: &Published,
        next: &mut Published,
    ) {
        for pod in seen {
            let Some(history) = self.pods.get_mut(&pod.uid) else { continue };
            let picture = pod_picture(pod, history);
            history.containers.iter_mut().for_each(|held| held.is_shown = false);
            history.containers.retain(|held| pod.containers.iter().any(|record| record.name == held.name));
            let held = before.pods.get(&pod.uid);
            // Containers that come or go must not take the pod back in time.
            let until = held.map(|held| held.picture.timestamp).filter(|&until| until <= newest);
            let picture = picture.filter(|picture| until.is_none_or(|until| until <= picture.timestamp));
            if picture.is_none() && !pod.containers.is_empty() {
                next.incomplete.insert(pod.uid.clone());
            }
            if let Some(picture) = picture {
                next.pods.insert(pod.uid.clone(), PodPicture { pod: Arc::clone(pod), picture });
            }
        }
        for (uid, held) in &before.pods {
            if self.pods.contains_key(uid) && !next.pods.contains_key(uid) {
                next.pods.insert(uid.clone(), held.clone());
            }
        }
    }
}

impl Followed {
    fn new(record: &ContainerRecord, reading: &Reading) -> Self {
        Self {
            name: Arc::clone(&record.name),
            counter: record.counter.clone(),
            started: reading.start,
            replaced: None,
            history: History::default(),
            is_shown: false,
        }
    }

    /// Whether a reading under this name is of the container that the pod's status names now. The status and the
    /// page each lag behind the container: after a restart, only a later start, or a reading from after the status
    /// changed, is the new container's.
    fn is_of(&mut self, record: &ContainerRecord, reading: &Reading, now: WallTime) -> bool {
        if self.counter == record.counter {
            return true;
        }
        let noticed = *self.replaced.get_or_insert(now);
        let starts_later = reading.start.zip(self.started).is_some_and(|(now, before)| now > before);
        if !starts_later && reading.point.time <= noticed {
            return false;
        }
        // The page may have shown it before the status did; then its points are here already.
        if !starts_later || self.history.start() != reading.start {
            self.history.reset();
        }
        self.counter = record.counter.clone();
        self.started = reading.start;
        self.replaced = None;
        true
    }
}

/// The pods that a page names, by namespace and name; none where the directory has no such pod.
type Seen<'a> = HashMap<(&'a str, &'a str), Option<Arc<PodRecord>>, RandomState>;

/// The pod that a page speaks of. Each is looked up once for a page, whose lines are sorted by container and not by pod.
fn pod_of<'a>(seen: &mut Seen<'a>, directory: &Directory, whose: Whose<'a>) -> Option<Arc<PodRecord>> {
    let found = seen.entry((whose.namespace, whose.pod));
    found.or_insert_with(|| directory.pod(whose.namespace, whose.pod)).clone()
}

fn node_picture(history: &History) -> Option<Picture> {
    let rate = history.rate()?;
    let usage = Usage { cpu_nanocores: rate.cpu_nanocores, memory_bytes: rate.end.memory_bytes };
    let window = span(rate.begin, rate.end.time)?;
    Some(Picture { timestamp: rate.end.time, window, usages: Box::new([usage]) })
}

/// All running containers of the pod, or nothing.
fn pod_picture(pod: &PodRecord, history: &PodHistory) -> Option<Picture> {
    let (mut begin, mut end) = (WallTime(u64::MAX), WallTime(u64::MAX));
    let mut usages = Vec::with_capacity(pod.containers.len());
    for record in &pod.containers {
        let is_it = |held: &&Followed| held.name == record.name && held.counter == record.counter;
        let rate = history.containers.iter().find(is_it).filter(|held| held.is_shown)?.history.rate()?;
        begin = begin.min(rate.begin);
        end = end.min(rate.end.time);
        usages.push(Usage { cpu_nanocores: rate.cpu_nanocores, memory_bytes: rate.end.memory_bytes });
    }
    let window = span(begin, end)?;
    (!usages.is_empty()).then(|| Picture { timestamp: end, window, usages: usages.into() })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
