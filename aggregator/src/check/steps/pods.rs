//! All pods: how many are served, and why the others are not.

use super::{Finding, Step, by_replica, listed};
use crate::{
    check::facts::{Facts, Replica},
    explain::{Omitted, words::meaning},
};

const NAME: &str = "pods";

pub(super) fn step(facts: &Facts) -> Step {
    if facts.replicas.iter().all(|replica| replica.overview.got().is_none()) {
        return Step::not_asked(NAME, "no aggregator tells what it knows");
    }
    Step::new(NAME, by_replica(facts, judged))
}

fn judged(replica: &Replica) -> Vec<Finding> {
    let Some(overview) = replica.overview.got() else {
        return vec![Finding::unknown("aggregator_silent", "not told")];
    };
    let pods = &overview.pods;
    let held = if pods.held == 0 {
        String::new()
    } else {
        format!(", {} of them by their last whole picture", pods.held)
    };
    let message = format!("{} of {} running pods are served{held}", pods.served, pods.known);
    if pods.omitted.is_empty() && pods.known > 0 {
        return vec![Finding::ok("served", message)];
    }
    if pods.known == 0 {
        return vec![
            Finding::broken("no_pods", "no running pod is known")
                .then("see the lines of the rights and of the agents"),
        ];
    }
    let mut findings = vec![Finding::ok("served", message)];
    findings.extend(pods.omitted.iter().map(omitted));
    findings
}

fn omitted(omitted: &Omitted) -> Finding {
    let named = listed(omitted.pods.examples.iter().map(String::as_str), omitted.pods.count);
    let message = format!("{} not served, {}: {named}", omitted.pods.count, meaning(&omitted.reason));
    let remedy =
        format!("check pod {}", omitted.pods.examples.first().map_or("NAMESPACE/NAME", String::as_str));
    let finding = match omitted.reason.as_str() {
        // These pass within a second or two.
        "first_sample" | "window_too_short" | "no_containers" => Finding::note,
        _ => Finding::broken,
    };
    finding("omitted", message).then(remedy)
}
