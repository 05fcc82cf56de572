//! What readers saw: each number judged, what should have been there and was not, and nothing that goes back.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use crate::{
    judge::{self, List, NodeItem, PodItem, Right, Wrong},
    world::World,
};

/// So many faults are told in words.
const TOLD: usize = 5;

/// What all readers saw in a phase.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Numbers judged.
    pub(crate) pods: u64,
    pub(crate) nodes: u64,
    pub(crate) wrong: Faults,
    /// Right ones, but newer ones were sent a second before.
    pub(crate) stale: Faults,
    /// Pods and nodes that should have been in a list.
    pub(crate) missing: Faults,
    /// Right numbers, but over less time than the rules ask for.
    pub(crate) short: Faults,
    pub(crate) failed: Faults,
    /// Age of numbers in selected lists when these were there, milliseconds.
    pub(crate) ages: Vec<f64>,
    /// Times of lists by label, of lists of everything and of all nodes, milliseconds.
    pub(crate) selected: Vec<f64>,
    pub(crate) full: Vec<f64>,
    pub(crate) all_nodes: Vec<f64>,
    /// From a batch on its connection to its numbers in an answer, milliseconds.
    pub(crate) visible: Vec<f64>,
    /// From a new pod's cgroup to its first numbers in an answer, milliseconds.
    pub(crate) first: Vec<f64>,
}

/// How many, and the first in words.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) count: u64,
    pub(crate) words: Vec<String>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: &impl ToString) {
        self.count += 1;
        if self.words.len() < TOLD {
            self.words.push(fault.to_string());
        }
    }

    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.words.extend(other.words);
        self.words.truncate(TOLD);
    }
}

impl Seen {
    /// This and what was seen later.
    pub(crate) fn join(&mut self, other: Self) {
        self.pods += other.pods;
        self.nodes += other.nodes;
        self.wrong.join(other.wrong);
        self.stale.join(other.stale);
        self.missing.join(other.missing);
        self.short.join(other.short);
        self.failed.join(other.failed);
        self.ages.extend(other.ages);
        self.selected.extend(other.selected);
        self.full.extend(other.full);
        self.all_nodes.extend(other.all_nodes);
        self.visible.extend(other.visible);
        self.first.extend(other.first);
    }
}

/// How much of a list was right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) right: usize,
    /// Of those, with a whole window.
    pub(crate) whole: usize,
}

/// One reader, who asks one question after the other: what it is told never goes back.
pub(crate) struct Reader {
    pub(crate) world: Arc<World>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// Generation and tick served last, by place.
    pods: BTreeMap<usize, (u32, u64)>,
    nodes: BTreeMap<usize, (u32, u64)>,
}

impl Reader {
    pub(crate) fn new(world: &Arc<World>, seen: &Arc<Mutex<Seen>>) -> Self {
        let (world, seen) = (Arc::clone(world), Arc::clone(seen));
        Self { world, seen, pods: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    /// Judges a list of the pods of these places, asked for at a wall time.
    pub(crate) fn pods(&mut self, asked: u64, body: &[u8], slots: Range<usize>, with_ages: bool) -> Tally {
        let (world, now) = (Arc::clone(&self.world), self.world.now());
        let items: Vec<PodItem<'_>> = self.items(body);
        let verdicts = items
            .iter()
            .map(|item| judge::pod(&world, asked, item).and_then(|right| later(&mut self.pods, right)));
        let verdicts: Vec<Result<Right, Wrong>> = verdicts.collect();
        let there: BTreeMap<usize, u32> =
            verdicts.iter().flatten().map(|right| (right.place, right.generation)).collect();
        let is_absent = |slot: &usize| {
            let due = judge::due(&world, asked, *slot);
            due.is_some_and(|life| there.get(slot).is_none_or(|&generation| generation < life.generation))
        };
        let absent: Vec<usize> = slots.filter(is_absent).collect();
        let mut seen = self.seen.lock().unwrap();
        seen.pods += verdicts.len() as u64;
        // A wrong one is there, too.
        let wrong = verdicts.iter().filter(|verdict| verdict.is_err()).count();
        for slot in absent.into_iter().skip(wrong) {
            seen.missing.add(&format!("pod {slot} is not in a list"));
        }
        if with_ages {
            let ages = verdicts.iter().flatten().map(|right| now.saturating_sub(right.read) as f64 / 1e3);
            seen.ages.extend(ages);
        }
        seen.judged(verdicts)
    }

    /// Judges a list of all nodes, asked for at a wall time.
    pub(crate) fn nodes(&mut self, asked: u64, body: &[u8]) -> Tally {
        let world = Arc::clone(&self.world);
        let items: Vec<NodeItem<'_>> = self.items(body);
        let verdicts = items
            .iter()
            .map(|item| judge::node(&world, asked, item).and_then(|right| later(&mut self.nodes, right)));
        let verdicts: Vec<Result<Right, Wrong>> = verdicts.collect();
        let mut seen = self.seen.lock().unwrap();
        seen.nodes += verdicts.len() as u64;
        for _ in verdicts.len()..world.nodes.len() {
            seen.missing.add(&"a node is not in the list");
        }
        seen.judged(verdicts)
    }

    fn items<'a, T: serde::Deserialize<'a>>(&self, body: &'a [u8]) -> Vec<T> {
        serde_json::from_slice(body).map_or_else(
            |fault| {
                self.failed(&fault);
                Vec::new()
            },
            |list: List<T>| list.items,
        )
    }

    pub(crate) fn failed(&self, fault: &impl ToString) {
        self.seen.lock().unwrap().failed.add(fault);
    }
}

impl Seen {
    fn judged(&mut self, verdicts: Vec<Result<Right, Wrong>>) -> Tally {
        let mut tally = Tally::default();
        for verdict in verdicts {
            match verdict {
                Ok(right) => {
                    tally.right += 1;
                    tally.whole += usize::from(right.whole);
                    if !right.whole {
                        self.short.add(&format!("the window of {} is too short", right.place));
                    }
                }
                Err(Wrong::Stale(fault)) => self.stale.add(&fault),
                Err(Wrong::Number(fault)) => self.wrong.add(&fault),
            }
        }
        tally
    }
}

/// Whether an answer is not of before the last one.
fn later(served: &mut BTreeMap<usize, (u32, u64)>, right: Right) -> Result<Right, Wrong> {
    let now = (right.generation, right.tick);
    match served.insert(right.place, now) {
        Some(last) if last > now => {
            Err(format!("{}: went back from {last:?} to {now:?} (generation, tick)", right.place).into())
        }
        _ => Ok(right),
    }
}
