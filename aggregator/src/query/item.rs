//! What there is to say of one node, pod or container: its numbers, or the reason why there are none.
//!
//! With the default window the numbers are those that the API serves at the same moment. They are read under the lock of
//! one node and hold no text; [`Item::message`] makes the message of them outside of it. A pod is one whole picture here
//! too: when it has none, none of its containers has numbers, for the same reason.

use std::{sync::Arc, time::Duration};

use kubevitals::{
    sample::{Details, WallTime},
    wire::{self, AbsenceReason, Source},
};

use super::{
    distribution::Distribution,
    faults::Faults,
    messages,
    numbers::{counted, each, one, polled_each, polled_node, polled_sum, sum},
    selection::{Level, Selection},
    walk::Found,
};
use crate::{
    directory::{ContainerRecord, NodeRecord, PodRecord},
    kubelet::choice::choose,
    picture::{Omission, Rules},
    store::node::CounterRef,
    view::{Moment, View},
};

/// The shortest window: the time in which the kernel's counters are sure to advance evenly enough.
const SHORTEST: Duration = Duration::from_secs(1);

/// Which numbers are asked for. Equal ones are computed once for all who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The window; the API's own where there is none, which begins at a young pod's readiness.
    pub window: Option<Duration>,
    /// Whether [`Numbers::details`] are.
    pub details: bool,
    /// Whether [`Numbers::distribution`] is.
    pub distribution: bool,
}

impl Wanted {
    /// What a request's fields `window`, `without_details` and `without_distribution` say; a window is 1 s to what is
    /// `kept`.
    pub fn read(
        window: Option<prost_types::Duration>,
        without_details: bool,
        without_distribution: bool,
        kept: Duration,
        faults: &mut Faults,
    ) -> Option<Self> {
        let window = match window.as_ref().map(messages::length) {
            None => None,
            Some(Some(window)) if (SHORTEST..=kept).contains(&window) => Some(window),
            Some(_) => {
                let kept = humantime::format_duration(kept);
                faults.add("window", format_args!("not within 1s and the {kept} that are kept"));
                return None;
            }
        };
        Some(Self { window, details: !without_details, distribution: !without_distribution })
    }

    /// The rules of a picture with this window.
    fn rules(&self, usual: &Rules) -> Rules {
        Rules { window: self.window.unwrap_or(usual.window), ..*usual }
    }

    /// Where a pod's window may begin: a window that was asked for is not shortened.
    fn ready(&self, pod: &PodRecord) -> Option<WallTime> {
        pod.ready.time().filter(|_| self.window.is_none())
    }
}

/// One node, pod or container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A node.
    Node(Arc<NodeRecord>),
    /// A pod.
    Pod(Arc<PodRecord>),
    /// A container of a pod, which is none of [`PodRecord::containers`] where a former picture is held.
    Container(Arc<PodRecord>, ContainerRecord),
}

/// What is said of one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Of what.
    pub subject: Subject,
    /// Its numbers, or why there are none.
    pub numbers: Result<Numbers, AbsenceReason>,
}

/// The numbers of one subject at one moment, each as its field of `Usage` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// When it was last read, by the node's clock.
    pub time: WallTime,
    /// The true length of the window.
    pub window: Duration,
    /// Nanoseconds of CPU time per second.
    pub cpu_nanocores: u64,
    /// At `time`, bytes.
    pub working_set_bytes: u64,
    /// Short rates within the window.
    pub distribution: Option<Distribution>,
    /// What is read seldom; boxed, because lists may leave it out.
    pub details: Option<Box<Details>>,
    /// When the cgroup was made.
    pub birth: Option<WallTime>,
    /// Of containers that ran before.
    pub held: bool,
    /// Who read it.
    pub source: Source,
}

/// A message of an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// It has numbers.
    Usage(Box<wire::Usage>),
    /// It has none.
    Absent(wire::Absent),
}

impl Item {
    /// As it is told.
    #[must_use]
    pub fn message(&self) -> Message {
        let subject = Some(messages::subject(&self.subject));
        match &self.numbers {
            Ok(numbers) => Message::Usage(Box::new(messages::usage(subject, numbers))),
            Err(reason) => Message::Absent(wire::Absent { subject, reason: (*reason).into() }),
        }
    }
}

/// Everything of a selection's level that there is to say of one of the things that were found for it; nothing of a pod
/// whose containers are not selected.
pub fn items(
    view: &View,
    found: &Found,
    selection: &Selection,
    wanted: &Wanted,
    now: Moment,
    visit: &mut impl FnMut(Item),
) {
    match (found, selection.level()) {
        (Found::Node(record), _) => visit(node(view, record, wanted, now)),
        (Found::Pod(record), Level::Containers) => containers(view, record, selection, wanted, now, visit),
        (Found::Pod(record), _) => visit(pod(view, record, wanted, now)),
    }
}

/// One node.
#[must_use]
pub fn node(view: &View, record: &Arc<NodeRecord>, wanted: &Wanted, now: Moment) -> Item {
    let agents = view.node_picture(record, now, &wanted.rules(&view.rules), |state, picture, usage| {
        one(state, picture, usage, &CounterRef::Node, wanted)
    });
    let numbers = match &view.kubelets {
        None => agents,
        Some(kubelets) => {
            choose(agents, kubelets.node_answer(record, now.instant).map(|node| polled_node(&node)), |one| {
                one.time
            })
        }
    };
    let numbers = numbers.map_err(|omission| reason(omission, false));
    Item { subject: Subject::Node(Arc::clone(record)), numbers }
}

/// One pod, the sum of its containers.
#[must_use]
pub fn pod(view: &View, record: &Arc<PodRecord>, wanted: &Wanted, now: Moment) -> Item {
    let agents =
        view.pod_picture(record, now, &wanted.rules(&view.rules), wanted.ready(record), |state, picture| {
            sum(state, picture, counted(record, picture.held), wanted)
        });
    let numbers = match &view.kubelets {
        None => agents,
        Some(kubelets) => {
            let polled = kubelets.pod_answer(record, now.instant).map(|pod| polled_sum(&pod));
            choose(agents, polled, |one| one.time)
        }
    };
    let numbers = numbers.map_err(|omission| reason(omission, is_over_limit(view, record)));
    Item { subject: Subject::Pod(Arc::clone(record)), numbers }
}

/// The selected containers of one pod; where it has no picture, those that run, or the pod itself where none does and
/// none is asked for by name.
fn containers(
    view: &View,
    record: &Arc<PodRecord>,
    selection: &Selection,
    wanted: &Wanted,
    now: Moment,
    visit: &mut impl FnMut(Item),
) {
    let agents =
        view.pod_picture(record, now, &wanted.rules(&view.rules), wanted.ready(record), |state, picture| {
            let all = each(state, picture, counted(record, picture.held), selection, wanted);
            (state.wall(picture.end), all)
        });
    let picked = match &view.kubelets {
        None => agents,
        Some(kubelets) => {
            let polled = kubelets.pod_answer(record, now.instant);
            let polled = polled.map(|pod| (pod.timestamp, polled_each(&pod, selection)));
            choose(agents, polled, |(time, _)| *time)
        }
    };
    let subject = |container: &ContainerRecord| Subject::Container(Arc::clone(record), container.clone());
    match picked {
        Ok((_, all)) => {
            for (container, numbers) in all {
                visit(Item { subject: subject(&container), numbers: Ok(numbers) });
            }
        }
        Err(omission) => {
            let reason = reason(omission, is_over_limit(view, record));
            for container in record.containers.iter().filter(|one| selection.has_container(&one.name)) {
                visit(Item { subject: subject(container), numbers: Err(reason) });
            }
            if record.containers.is_empty() && selection.containers().is_empty() {
                visit(Item { subject: Subject::Pod(Arc::clone(record)), numbers: Err(reason) });
            }
        }
    }
}

/// Whether there was no place for one of a pod's containers.
fn is_over_limit(view: &View, record: &PodRecord) -> bool {
    view.store.shard(&record.node).is_some_and(|shard| {
        let state = shard.read();
        record.containers.iter().any(|container| state.is_refused(&container.counter))
    })
}

/// The word of the contract for it.
#[must_use]
pub fn reason(omission: Omission, is_over_limit: bool) -> AbsenceReason {
    match omission {
        Omission::NotMeasured if is_over_limit => AbsenceReason::OverLimit,
        Omission::NoContainers => AbsenceReason::NoContainers,
        Omission::NotMeasured => AbsenceReason::NotMeasured,
        Omission::FirstSample => AbsenceReason::FirstSample,
        Omission::WindowTooShort => AbsenceReason::WindowTooShort,
        Omission::Stale => AbsenceReason::Stale,
        Omission::NoAgent => AbsenceReason::NoAgent,
        Omission::NoKubelet => AbsenceReason::NoKubelet,
    }
}

#[cfg(test)]
mod tests;
