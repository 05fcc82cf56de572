//! Looking at everything that a feed is about: who is selected, and what there is to say of each.
//!
//! Names are walked anew each time, since that costs little beside the numbers. Numbers are computed anew only where a
//! batch has come in since, or where time alone changes something because the node is silent.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use kubevitals::{sample::BootTime, wire::AbsenceReason};

use super::{
    feed::Subject as Watched,
    picture::{Item as Old, Look},
    told::{Key, Saying},
};
use crate::{
    directory::PodRecord,
    query::{
        item::{Subject, items},
        selection::{Level, Selection},
        walk::{Found, step},
    },
    store::node::CounterRef,
    view::{Moment, View},
};

/// So many things are looked at before others have their turn: a look at all of a large cluster takes tens of
/// milliseconds.
const AT_A_TIME: usize = 64;

/// A node that was silent for more ticks, or for longer, may turn stale at any moment: where agents tick seldom, that may
/// be before the next tick is due.
const SILENT_TICKS: u32 = 2;
const SILENT: Duration = Duration::from_secs(2);

/// What a look found.
#[derive(Debug)]
pub struct Looks {
    /// Everything that is selected, ascending by key.
    pub found: Vec<(Key, Look)>,
    /// When the look began, since 1970.
    pub wall: Duration,
}

/// Looks at the same selection again and again.
#[derive(Debug)]
pub struct Looker {
    view: View,
    /// What the look before found, in order.
    seen: Vec<Seen>,
    /// The newest tick of each node in the look before.
    ticks: Ticks,
}

/// The newest tick by node; none where nothing is known of it.
type Ticks = HashMap<Arc<str>, Option<BootTime>, RandomState>;

/// One node or pod and its items.
#[derive(Debug)]
struct Seen {
    found: Found,
    keys: Vec<Key>,
}

/// A look under way.
struct Looking {
    before: std::iter::Peekable<std::vec::IntoIter<Seen>>,
    ticks_before: Ticks,
    ticks: Ticks,
    seen: Vec<Seen>,
    found: Vec<(Key, Look)>,
}

impl Looker {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self { view, seen: Vec::new(), ticks: Ticks::default() }
    }

    /// Looks at everything, a little at a time.
    pub async fn look(&mut self, watched: &Watched) -> Looks {
        let wall = Moment::now().wall;
        let seen = std::mem::take(&mut self.seen);
        let mut looking = Looking {
            found: Vec::with_capacity(seen.len()),
            seen: Vec::with_capacity(seen.len()),
            before: seen.into_iter().peekable(),
            ticks_before: std::mem::take(&mut self.ticks),
            ticks: Ticks::default(),
        };
        let mut after = None;
        loop {
            let step = step(&self.view.directory, &watched.selection, after.as_ref());
            for some in step.found.chunks(AT_A_TIME) {
                let now = Moment::now();
                for found in some {
                    looking.one(&self.view, watched, found, now);
                }
                tokio::task::yield_now().await;
            }
            after = step.next;
            if after.is_none() {
                break;
            }
        }
        (self.seen, self.ticks) = (looking.seen, looking.ticks);
        Looks { found: looking.found, wall }
    }

    /// Why an item is not selected any more.
    #[must_use]
    pub fn left(&self, selection: &Selection, item: &Old) -> AbsenceReason {
        let key = &item.key;
        let directory = &self.view.directory;
        if selection.level() == Level::Nodes {
            let is_there = directory.node(&key.name).is_some();
            return if is_there { AbsenceReason::NotSelected } else { AbsenceReason::Gone };
        }
        let Some(pod) = directory.pod(&key.namespace, &key.name) else {
            return AbsenceReason::Gone;
        };
        if Some(&pod.uid) != key.uid.as_ref() {
            AbsenceReason::Replaced
        } else if !selection.has_pod(&pod) {
            AbsenceReason::NotSelected
        } else if key.container.is_empty() && !pod.containers.is_empty()
            || pod.containers.iter().any(|one| one.name == key.container)
        {
            // A pod without containers stood for those that it has now.
            AbsenceReason::Replaced
        } else {
            AbsenceReason::Gone
        }
    }
}

impl Looking {
    /// Looks at one node or pod.
    fn one(&mut self, view: &View, watched: &Watched, found: &Found, now: Moment) {
        while self.before.next_if(|seen| order(&seen.found, found) == Ordering::Less).is_some() {}
        let before = self.before.next_if(|seen| order(&seen.found, found) == Ordering::Equal);
        // Before the numbers are read: what comes in meanwhile is looked at the next time.
        let is_still = self.is_still(view, found, now);
        let first = self.found.len();
        if let Some(seen) = before.filter(|seen| is_still && is_same(&seen.found, found)) {
            self.found.extend(seen.keys.iter().map(|key| (key.clone(), Look::Same)));
            self.seen.push(seen);
            return;
        }
        let found_items = &mut self.found;
        let Watched { selection, wanted, .. } = watched;
        items(view, found, selection, wanted, now, &mut |item| {
            found_items.push((key(&item.subject), Look::Found(Box::new(Saying::of(item)))));
        });
        if let Some(items) = found_items.get_mut(first..) {
            items.sort_by(|a, b| a.0.cmp(&b.0));
        }
        let keys = found_items.iter().skip(first).map(|(key, _)| key.clone()).collect();
        self.seen.push(Seen { found: found.clone(), keys });
    }

    /// Whether nothing came in of a node since the look before, and nothing changes by time alone.
    fn is_still(&mut self, view: &View, found: &Found, now: Moment) -> bool {
        let node = match found {
            Found::Node(node) => &node.name,
            Found::Pod(pod) => &pod.node,
        };
        let tick = if let Some(&tick) = self.ticks.get(node) {
            tick
        } else {
            let tick = newest(view, node, now.instant);
            self.ticks.insert(Arc::clone(node), tick);
            tick
        };
        tick.is_some() && self.ticks_before.get(node) == Some(&tick)
    }
}

/// The newest tick of a node that ticks.
fn newest(view: &View, node: &str, now: Instant) -> Option<BootTime> {
    let shard = view.store.shard(node)?;
    let state = shard.read();
    let interval = state.session()?.interval;
    let is_lively = state.silent_for(now)? <= SILENT.min(interval * SILENT_TICKS);
    is_lively.then(|| state.last_tick())
}

/// Records are replaced, never changed.
fn is_same(before: &Found, now: &Found) -> bool {
    match (before, now) {
        (Found::Node(before), Found::Node(now)) => Arc::ptr_eq(before, now),
        (Found::Pod(before), Found::Pod(now)) => Arc::ptr_eq(before, now),
        _ => false,
    }
}

fn order(one: &Found, other: &Found) -> Ordering {
    match (one, other) {
        (Found::Node(one), Found::Node(other)) => one.name.cmp(&other.name),
        (Found::Pod(one), Found::Pod(other)) => {
            (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name))
        }
        (Found::Node(_), Found::Pod(_)) => Ordering::Less,
        (Found::Pod(_), Found::Node(_)) => Ordering::Greater,
    }
}

fn key(subject: &Subject) -> Key {
    let none = || Arc::from("");
    let of_pod = |pod: &PodRecord, container, id| {
        let PodRecord { namespace, name, uid, .. } = pod;
        let (namespace, name, uid) = (Arc::clone(namespace), Arc::clone(name), Some(uid.clone()));
        Key { namespace, name, uid, container, id }
    };
    match subject {
        Subject::Node(record) => {
            let name = Arc::clone(&record.name);
            Key { namespace: none(), name, uid: None, container: none(), id: None }
        }
        Subject::Pod(pod) => of_pod(pod, none(), None),
        Subject::Container(pod, container) => {
            let id = match &container.counter {
                CounterRef::Container(id) => Some(id.clone()),
                CounterRef::Node | CounterRef::Cgroup(_) => None,
            };
            of_pod(pod, Arc::clone(&container.name), id)
        }
    }
}

#[cfg(test)]
mod tests;
