//! What is known of nodes, pods and containers in words for people: `check` and `Explain` say the same. Pure.

use std::time::Duration;

use super::{ContainerExplanation, KubeletExplanation, LeftOut, NodeExplanation, Outcome, Refusal};

/// Clocks that differ by more are worth a word, seconds: timestamps are off by as much.
const CLOCK: f64 = 2.0;

/// An agent that misses so many ticks is silent, as the metric of stale nodes has it.
const TICKS: f64 = 3.0;

/// An omission's reason in words.
pub(crate) fn meaning(reason: &str) -> &'static str {
    match reason {
        "no_containers" => "no container runs that has an id yet",
        "not_measured" => "a running container is not reported by the node's agent",
        "first_sample" => "a container was read once, and a rate needs two readings",
        "window_too_short" => "the readings are too close together for a rate",
        "stale" => "the newest numbers are too old",
        "no_agent" => "no agent speaks for the node",
        "no_kubelet" => "no agent speaks for the node, and its kubelet has not answered yet",
        "over_limit" => "there was no place for it within --max-containers",
        "ended" => "its agent said that its cgroup is gone",
        "unknown" => "the aggregator does not know it",
        _ => "for a reason that this version does not know",
    }
}

/// `1 time`, `2 times`.
pub(crate) fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// `3.2s`, `2m 5s`, `364d 3h`: the two largest units, and parts of a second below ten of them.
pub(crate) fn span(seconds: f64) -> String {
    let seconds = seconds.abs();
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut left = whole;
    let mut parts = Vec::new();
    for (length, unit) in units {
        let count = left / length;
        left %= length;
        if count > 0 || !parts.is_empty() {
            parts.push((count, unit));
        }
    }
    let shown = parts.iter().take(2).filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

/// How a node's agent is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// As it should be.
    Streaming,
    /// It was, and is not any more.
    Silent,
    /// It has connected a moment ago.
    NoBatchYet,
    /// Not at all.
    Nothing,
}

/// How its agent is heard.
pub(crate) fn heard(told: &NodeExplanation) -> Heard {
    let interval = told.interval_seconds.unwrap_or(1.0);
    match (told.streaming, told.silent_seconds) {
        (true, Some(silent)) if silent <= interval * TICKS => Heard::Streaming,
        (_, Some(_)) => Heard::Silent,
        (true, None) => Heard::NoBatchYet,
        (false, None) => Heard::Nothing,
    }
}

/// The agent of a node that is not polled.
pub(crate) fn agent(told: &NodeExplanation) -> String {
    let name = &told.name;
    let version =
        told.agent_version.as_deref().filter(|version| !version.is_empty()).unwrap_or("of no version");
    let silent = span(told.silent_seconds.unwrap_or_default());
    match heard(told) {
        Heard::Streaming => {
            let containers = plural(told.containers as u64, "container");
            format!("agent {version} streams, last batch {silent} ago, {containers}")
        }
        Heard::Silent => {
            let stream = if told.streaming { "its stream is open" } else { "no stream is open" };
            let served = if told.outcome.served { "" } else { ", so nothing is served any more" };
            format!("the agent of {name} has sent nothing for {silent} ({stream}){served}")
        }
        Heard::NoBatchYet => format!("an agent {version} has connected and sent no batch yet"),
        Heard::Nothing => format!("no agent of {name} has connected here: {}", meaning("no_agent")),
    }
}

/// The kubelet of a node without an agent.
pub(crate) fn kubelet(told: &KubeletExplanation) -> String {
    let url = told.url.as_deref().unwrap_or("its kubelet");
    let last = told.succeeded_seconds.map(|since| format!(", last page {} ago", span(since)));
    let message = format!("no agent streams; {url} is polled{}", last.as_deref().unwrap_or_default());
    match (&told.failure, last) {
        (Some(why), _) => format!("{message}: {why}"),
        (None, Some(_)) => format!("{message}, {}", plural(told.pods as u64, "pod")),
        (None, None) => message,
    }
}

/// A clock that is off, with by how many seconds it is ahead.
pub(crate) fn clock(told: &NodeExplanation) -> Option<(String, f64)> {
    let ahead = told.clock_ahead_seconds.filter(|ahead| ahead.abs() > CLOCK)?;
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    let (name, by) = (&told.name, span(ahead));
    Some((
        format!("the clock of {name} is {by} {side} the aggregator's: timestamps are off by as much"),
        ahead,
    ))
}

/// Containers for which there was no place; nothing when there are none.
pub(crate) fn over_limit(told: &NodeExplanation) -> Option<String> {
    let count = told.refused_containers;
    (count > 0).then(|| format!("{count} containers of {} are over the limit", told.name))
}

/// Readings that an agent could not make.
pub(crate) fn left_out(left: &LeftOut) -> String {
    format!("its agent left out {} readings at its last tick: {}", left.count, left.reason)
}

/// An agent that was turned away.
pub(crate) fn refused(refusal: &Refusal) -> String {
    let who = match (&refusal.node, refusal.peer) {
        (Some(node), Some(peer)) => format!("an agent that says it is on {node} ({peer})"),
        (Some(node), None) => format!("an agent that says it is on {node}"),
        (None, Some(peer)) => format!("an agent at {peer}"),
        (None, None) => "an agent".to_owned(),
    };
    let (times, last) = (plural(refusal.count, "time"), span(refusal.age_seconds));
    format!("{who} is turned away: {} ({times}, last {last} ago)", refusal.message)
}

/// A container without usage, and why.
pub(crate) fn lacking(told: &ContainerExplanation, reason: &str) -> String {
    let id: String = told.id.chars().take(12).collect();
    let samples = match told.newest_age_seconds {
        Some(age) => format!(" ({}, newest {} ago)", plural(told.samples as u64, "sample"), span(age)),
        None => String::new(),
    };
    format!("container {} ({id}): {}{samples}", told.name, meaning(reason))
}

/// Since when a pod is ready.
pub(crate) fn ready(since: Option<f64>) -> String {
    since.map_or_else(|| "not ready".to_owned(), |since| format!("ready for {}", span(since)))
}

/// What is served, or why nothing is.
pub(crate) fn outcome(told: &Outcome) -> String {
    if !told.served {
        let reason = told.reason.as_deref().unwrap_or_default();
        return format!("not served ({reason}): {}", meaning(reason));
    }
    let (age, window) = (told.age_seconds.unwrap_or_default(), told.window_seconds.unwrap_or_default());
    let message = format!("served: {} old, over {}", span(age), span(window));
    if told.held {
        format!("{message}; the last whole picture, while a container is not measured yet")
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_shown_in_their_two_largest_units() {
        for (seconds, text) in [
            (0.04, "0.0s"),
            (-3.25, "3.2s"),
            (10.0, "10s"),
            (125.9, "2m 5s"),
            (3600.0, "1h"),
            (3601.0, "1h"),
            (90_061.0, "1d 1h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
