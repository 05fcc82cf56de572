//! Facts about a pod or node to the links of its chain, the cause among them, and the verdict. Pure.

mod node;
mod pod;

use std::time::Duration;

use kubevitals::wire::{self, AbsenceReason, Link, LinkKind, LinkState, Verdict};

use crate::{
    explain::{NodeExplanation, Outcome, PodExplanation, words},
    picture::Omission,
    query::{item, messages},
};

/// How much of a node may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything.
    Node,
    /// What concerns the pod.
    Pod,
}

/// Explains a node to somebody who may get it.
pub(super) fn of_node(told: &NodeExplanation) -> wire::ExplainResponse {
    let mut chain = node::links(told, Scope::Node, told.outcome.served);
    chain.push(picture(&told.outcome));
    let subject = wire::Subject { node: told.name.clone(), ..wire::Subject::default() };
    response(&told.outcome, reason(&told.outcome), subject, chain)
}

/// Explains a pod, or one container of it, to somebody who may get the pod.
pub(super) fn of_pod(told: &PodExplanation, container: Option<&str>, scope: Scope) -> wire::ExplainResponse {
    let outcome = pod::outcome(told, container);
    let mut chain = Vec::new();
    if let Some(node) = &told.node {
        chain.extend(node::links(node, scope, outcome.served));
    }
    chain.push(pod::link(told, container));
    let is_broken = chain.iter().any(|link| link.state() == LinkState::Broken);
    chain.extend(pod::counters(told, &outcome, is_broken));
    chain.push(picture(&outcome));
    let reason = pod::reason(told, &outcome);
    response(&outcome, reason, pod::subject(told, container), chain)
}

fn response(
    outcome: &Outcome,
    reason: AbsenceReason,
    subject: wire::Subject,
    chain: Vec<Link>,
) -> wire::ExplainResponse {
    let verdict = match (outcome.served, outcome.held) {
        (true, false) => Verdict::Served,
        (true, true) => Verdict::Held,
        (false, _) => Verdict::Absent,
    };
    let message = cause(&chain, verdict).map(|link| link.message.clone()).unwrap_or_default();
    wire::ExplainResponse {
        verdict: verdict.into(),
        reason: reason.into(),
        message,
        subject: Some(subject),
        chain,
    }
}

/// The link that says why: of what is served the picture, of what is held the container that lacks, else the first that
/// is broken.
fn cause(chain: &[Link], verdict: Verdict) -> Option<&Link> {
    let found = match verdict {
        Verdict::Served | Verdict::Unspecified => None,
        Verdict::Held => {
            chain.iter().find(|link| link.kind() == LinkKind::Counters && link.state() == LinkState::Degraded)
        }
        Verdict::Absent => chain.iter().find(|link| link.state() == LinkState::Broken),
    };
    found.or(chain.last())
}

/// What is served.
fn picture(outcome: &Outcome) -> Link {
    let state = match (outcome.served, outcome.held) {
        (true, false) => LinkState::Ok,
        (true, true) => LinkState::Degraded,
        (false, _) => LinkState::Broken,
    };
    link(LinkKind::Picture, state, words::outcome(outcome), outcome.age_seconds)
}

fn link(kind: LinkKind, state: LinkState, message: String, age_seconds: Option<f64>) -> Link {
    Link {
        kind: kind.into(),
        state: state.into(),
        message,
        age: age_seconds.map(|age| messages::duration(seconds(age))),
        container: String::new(),
    }
}

/// An age is not below zero, whatever clocks say.
fn seconds(age: f64) -> Duration {
    Duration::try_from_secs_f64(age.max(0.0)).unwrap_or_default()
}

/// The contract's word for an outcome's reason; unspecified for what is served.
fn reason(outcome: &Outcome) -> AbsenceReason {
    outcome.reason.as_deref().map(named).unwrap_or_default()
}

/// The contract's word for one of ours.
fn named(reason: &str) -> AbsenceReason {
    match reason {
        "unknown" => AbsenceReason::Unknown,
        "over_limit" => AbsenceReason::OverLimit,
        "ended" => AbsenceReason::Gone,
        other => Omission::ALL
            .into_iter()
            .find(|omission| omission.as_str() == other)
            .map(|omission| item::reason(omission, false))
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
