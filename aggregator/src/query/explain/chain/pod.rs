//! The links of a pod: itself, and the counters of its containers.

use kubevitals::{
    sample::ContainerId,
    wire::{self, AbsenceReason, Link, LinkKind, LinkState},
};

use super::named;
use crate::explain::{ContainerExplanation, Outcome, PodExplanation, words};

/// What is served for the pod, or for one container, which shares its pod's lot: a pod is served whole or not at all.
pub(super) fn outcome(told: &PodExplanation, container: Option<&str>) -> Outcome {
    if container.is_none_or(|name| has(told, name)) {
        return told.outcome.clone();
    }
    Outcome { reason: Some("unknown".to_owned()), ..Outcome::default() }
}

/// Whether the pod's present or held picture is of such a container.
fn has(told: &PodExplanation, container: &str) -> bool {
    // Of a pod with very many containers only the first are told.
    let is_cut = told.container_count > told.containers.len();
    told.former.iter().any(|name| name == container) || named_so(told, container).is_some() || is_cut
}

fn named_so<'a>(told: &'a PodExplanation, container: &str) -> Option<&'a ContainerExplanation> {
    told.containers.iter().find(|one| one.name == container)
}

/// Who it is, as far as that is known.
pub(super) fn subject(told: &PodExplanation, container: Option<&str>) -> wire::Subject {
    // Without a runtime it is a path, which is no id.
    let is_id = |id: &&String| ContainerId::new(id.as_str()).is_ok();
    let id = container.and_then(|name| named_so(told, name)).map(|one| &one.id).filter(is_id).cloned();
    wire::Subject {
        node: told.node.as_ref().map(|node| node.name.clone()).unwrap_or_default(),
        namespace: told.namespace.clone(),
        pod: told.name.clone(),
        pod_uid: told.uid.clone().unwrap_or_default(),
        container: container.unwrap_or_default().to_owned(),
        container_id: id.unwrap_or_default(),
    }
}

/// The pod as the aggregator knows it.
pub(super) fn link(told: &PodExplanation, container: Option<&str>) -> Link {
    let (full, ready) = (format!("pod {}/{}", told.namespace, told.name), words::ready(told.ready_seconds));
    let missing = container.filter(|name| !has(told, name));
    let (state, message) = match missing {
        _ if !told.known => {
            let why = "there is none of this name, or it does not run on a node";
            (LinkState::Broken, format!("{}: {full}: {why}", words::meaning("unknown")))
        }
        _ if told.container_count == 0 => {
            (LinkState::Broken, format!("{full}: {}", words::meaning("no_containers")))
        }
        Some(name) => (LinkState::Broken, format!("{full} has no running container {name}")),
        None => (LinkState::Ok, format!("{full} runs, {ready}")),
    };
    super::link(LinkKind::Pod, state, message, told.ready_seconds)
}

/// The containers' counters. Where an earlier link is broken they were not judged, because what they lack follows from
/// it; where a kubelet is polled they do not count.
pub(super) fn counters<'a>(
    told: &'a PodExplanation,
    outcome: &'a Outcome,
    is_broken: bool,
) -> impl Iterator<Item = Link> + 'a {
    let is_polled = told.node.as_ref().is_some_and(|node| node.kubelet.is_some());
    told.containers.iter().map(move |container| {
        let reason = container.reason.as_deref();
        let state = match reason {
            _ if is_broken || is_polled => LinkState::Unknown,
            None => LinkState::Ok,
            Some(_) if outcome.served => LinkState::Degraded,
            Some(_) => LinkState::Broken,
        };
        let message = match reason {
            _ if is_polled => format!("container {}: its node's kubelet is asked", container.name),
            None => measured(container),
            Some(reason) => words::lacking(container, reason),
        };
        let link = super::link(LinkKind::Counters, state, message, container.newest_age_seconds);
        Link { container: container.name.clone(), ..link }
    })
}

fn measured(container: &ContainerExplanation) -> String {
    let samples = words::plural(container.samples as u64, "sample");
    let over = words::span(container.span_seconds.unwrap_or_default());
    let age = words::span(container.newest_age_seconds.unwrap_or_default());
    format!("container {}: {samples} over {over}, newest {age} ago", container.name)
}

/// Why there are no numbers, or no present ones, more exactly than the outcome says where a container tells.
pub(super) fn reason(told: &PodExplanation, outcome: &Outcome) -> AbsenceReason {
    let mut lacking = told.containers.iter().filter_map(|container| container.reason.as_deref());
    if outcome.held {
        return lacking.next().map(named).unwrap_or_default();
    }
    match super::reason(outcome) {
        AbsenceReason::NotMeasured if lacking.any(|reason| reason == "over_limit") => {
            AbsenceReason::OverLimit
        }
        reason => reason,
    }
}
