//! The answer itself, as clients get it through kube-apiserver.

use serde_json::Value;

use super::{Finding, Step, span};
use crate::check::{
    asked::Asked,
    facts::{Facts, Target},
};

pub(super) const NAME: &str = "answer";

/// What is older is not served: an agent's numbers, and a kubelet's, of whose pages one may be missed.
fn stale(facts: &Facts) -> f64 {
    let seconds = |flag, otherwise| {
        let set = facts.setting(flag).and_then(|text| humantime::parse_duration(text).ok());
        set.map_or(otherwise, |set| set.as_secs_f64())
    };
    let pages = if facts.has_fallback() { 2.0 * seconds("metric-resolution", 15.0) } else { 0.0 };
    seconds("stale-after", 30.0) + pages
}

/// Clocks may differ by so much before numbers are wrong; the lines of the agents and of the node draw it there too.
const CLOCK: f64 = 30.0;

/// The path that is asked for.
pub(in crate::check) fn path(target: &Target) -> String {
    let base = "/apis/metrics.k8s.io/v1beta1";
    match target {
        Target::Cluster => format!("{base}/nodes"),
        Target::Node(name) => format!("{base}/nodes/{name}"),
        Target::Pod { namespace, name } => format!("{base}/namespaces/{namespace}/pods/{name}"),
    }
}

/// `is_young` says that a reason is known which passes by itself within seconds.
pub(super) fn step(facts: &Facts, is_young: bool) -> Step {
    let path = path(&facts.target);
    let command = format!("kubectl get --raw {path}");
    let (asked, now) = &facts.answer;
    let finding = match asked {
        Asked::Got(body) => answered(body, *now, facts),
        Asked::Absent => {
            let message = format!("kube-apiserver answers 404 to GET {path}");
            let finding = if is_young { Finding::note } else { Finding::broken };
            finding("not_found", message).then(command)
        }
        Asked::Forbidden(why) => Finding::unknown("forbidden", format!("GET {path}: {why}"))
            .then(format!("ask as somebody who may: {command}")),
        Asked::Failed(why) => Finding::broken("failed", format!("GET {path}: {why}")).then(command),
    };
    Step::new(NAME, vec![finding])
}

fn answered(body: &Value, now: f64, facts: &Facts) -> Finding {
    let stale = stale(facts);
    if facts.target == Target::Cluster {
        let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let message = format!("kube-apiserver answers with {} nodes", items.len());
        return match items.iter().filter_map(|item| age(item, now)).reduce(f64::max) {
            Some(oldest) => aged(&message, "the oldest number is", oldest, stale),
            None => Finding::broken("empty", "kube-apiserver answers with no node")
                .then("see the line of the agents"),
        };
    }
    match age(body, now) {
        Some(age) => {
            let window = body["window"].as_str().unwrap_or("?");
            aged(&format!("kube-apiserver answers, window {window}"), "the number is", age, stale)
        }
        None => Finding::broken("no_timestamp", format!("kube-apiserver's answer has no timestamp: {body}")),
    }
}

fn aged(message: &str, what: &str, age: f64, stale: f64) -> Finding {
    // Timestamps are cut to whole seconds, so up to one second is theirs.
    if age < -1.0 {
        let message = format!("{message}; {what} {} in the future: a clock is wrong", span(age));
        let finding = if age < -CLOCK { Finding::broken } else { Finding::note };
        finding("future", message).then("compare the clocks of the node and of this place")
    } else if age > stale {
        Finding::broken("old", format!("{message}; {what} {} old", span(age)))
            .then("see the node's agent and clock")
    } else {
        Finding::ok("answered", format!("{message}; {what} {} old", span(age)))
    }
}

fn age(item: &Value, now: f64) -> Option<f64> {
    let text = item["timestamp"].as_str()?;
    let time = time_of(text)?;
    Some(now - time)
}

/// RFC 3339, as kube-apiserver passes it on, in seconds since 1970.
fn time_of(text: &str) -> Option<f64> {
    let time: k8s_openapi::jiff::Timestamp = text.parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "microseconds since 1970 fit")]
    Some(time.as_microsecond() as f64 / 1e6)
}
