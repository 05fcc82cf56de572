//! The links of a node: itself, its agent, its kubelet.

use kubevitals::wire::{Link, LinkKind, LinkState};

use super::{Scope, link};
use crate::explain::{
    NodeExplanation,
    words::{self, Heard},
};

/// The links. What is wrong and does no harm yet, because something is served, is not broken.
pub(super) fn links(told: &NodeExplanation, scope: Scope, is_served: bool) -> Vec<Link> {
    let mut links = vec![itself(told, scope), agent(told, scope, is_served)];
    links.extend(kubelet(told, scope, is_served));
    links
}

fn itself(told: &NodeExplanation, scope: Scope) -> Link {
    let name = &told.name;
    let (state, message) = match (scope, told.known, words::clock(told)) {
        (Scope::Pod, ..) => (LinkState::Unknown, "not told: needs get on nodes".to_owned()),
        (Scope::Node, false, _) => (LinkState::Broken, format!("{}: node {name}", words::meaning("unknown"))),
        (Scope::Node, true, Some((clock, _))) => (LinkState::Degraded, clock),
        (Scope::Node, true, None) => (LinkState::Ok, format!("node {name} is known")),
    };
    link(LinkKind::Node, state, message, None)
}

fn agent(told: &NodeExplanation, scope: Scope, is_served: bool) -> Link {
    let heard = words::heard(told);
    let state = match heard {
        // Its kubelet is asked instead: that is the next link's matter.
        _ if told.kubelet.is_some() => LinkState::Degraded,
        Heard::Streaming if scope == Scope::Node && is_incomplete(told) => LinkState::Degraded,
        Heard::Streaming => LinkState::Ok,
        Heard::Silent | Heard::NoBatchYet | Heard::Nothing if is_served => LinkState::Degraded,
        Heard::Silent | Heard::NoBatchYet | Heard::Nothing => LinkState::Broken,
    };
    let message = match scope {
        Scope::Node => in_full(told, heard),
        Scope::Pod => in_short(told, heard),
    };
    link(LinkKind::Agent, state, message, told.silent_seconds)
}

/// Whether it does not tell of all that is there.
fn is_incomplete(told: &NodeExplanation) -> bool {
    told.refused_containers > 0 || !told.left_out.is_empty()
}

fn in_full(told: &NodeExplanation, heard: Heard) -> String {
    let mut parts = match told.kubelet {
        Some(_) => vec![words::meaning("no_agent").to_owned()],
        None => vec![words::agent(told)],
    };
    parts.extend(words::over_limit(told));
    parts.extend(told.left_out.iter().map(words::left_out));
    if heard != Heard::Streaming {
        parts.extend(told.refusals.first().map(words::refused));
    }
    parts.join("; ")
}

/// Nothing but whether it speaks, and since when not.
fn in_short(told: &NodeExplanation, heard: Heard) -> String {
    let silent = words::span(told.silent_seconds.unwrap_or_default());
    match heard {
        _ if told.kubelet.is_some() => words::meaning("no_agent").to_owned(),
        Heard::Streaming => format!("an agent speaks for the node, last {silent} ago"),
        Heard::Silent => format!("the node's agent is silent for {silent}"),
        Heard::NoBatchYet => "the node's agent has sent nothing yet".to_owned(),
        Heard::Nothing => words::meaning("no_agent").to_owned(),
    }
}

fn kubelet(told: &NodeExplanation, scope: Scope, is_served: bool) -> Option<Link> {
    let kubelet = told.kubelet.as_ref()?;
    let state = match (&kubelet.failure, kubelet.succeeded_seconds) {
        (None, Some(_)) => LinkState::Ok,
        _ if is_served => LinkState::Degraded,
        _ => LinkState::Broken,
    };
    let message = match (scope, state) {
        (Scope::Node, _) => words::kubelet(kubelet),
        (Scope::Pod, LinkState::Ok) => "the node's kubelet is polled".to_owned(),
        (Scope::Pod, _) => "the node's kubelet is polled and does not answer as it should".to_owned(),
    };
    Some(link(LinkKind::Kubelet, state, message, kubelet.succeeded_seconds))
}
