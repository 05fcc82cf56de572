//! The links of the chain: from what was asked to what it means. Pure.

mod agents;
mod answer;
mod certificate;
mod group;
mod node;
mod pod;
mod pods;
mod rights;
mod server;
mod service;

pub(super) use self::{answer::path as answer_path, rights::needed as needed_rights, service::endpoints};

use super::{
    facts::{Facts, Replica, Target},
    finding::{Finding, Step, Verdict},
};
use crate::explain::words::span;

/// All steps in the order of the chain.
pub(super) fn judge(facts: &Facts) -> Vec<Step> {
    let server = server::step(facts);
    let mut steps = vec![server];
    if facts.is_connected() {
        let service = service::step(facts);
        let has_endpoint = service.verdict() != Some(Verdict::Broken);
        steps.push(group::step(facts));
        steps.push(service);
        steps.push(certificate::step(facts, has_endpoint));
        steps.push(rights::step(facts));
    } else {
        let why = "the API server does not answer";
        let names = [group::NAME, service::NAME, certificate::NAME, rights::NAME];
        steps.extend(names.map(|name| Step::not_asked(name, why)));
    }
    steps.push(agents::step(facts));
    match &facts.target {
        Target::Cluster => steps.push(pods::step(facts)),
        Target::Node(_) => steps.push(node::step(facts)),
        Target::Pod { .. } => {
            let (pod, node) = (pod::step(facts), node::step(facts));
            steps.extend([node, pod]);
        }
    }
    let last = answer(facts, &steps);
    steps.push(last);
    steps
}

/// The answer, unless an earlier finding says that there can be none.
fn answer(facts: &Facts, steps: &[Step]) -> Step {
    if !facts.is_connected() {
        return Step::not_asked(answer::NAME, "the API server does not answer");
    }
    let found = steps.iter().flat_map(|step| &step.findings).map(|finding| finding.reason);
    let has = |reasons: &[&str]| found.clone().any(|reason| reasons.contains(&reason));
    if has(&["no_such_pod", "no_such_node", "not_running", "ended"]) {
        return Step::not_asked(answer::NAME, "nothing runs that could be measured");
    }
    answer::step(facts, has(&["no_id", "young"]))
}

/// What the replicas say, each judged alone. What all of them say is said once.
fn by_replica(facts: &Facts, judge: impl Fn(&Replica) -> Vec<Finding>) -> Vec<Finding> {
    if facts.replicas.is_empty() {
        let how = facts.names.kubectl(&format!(
            "exec deploy/{} -- /kubevitals-aggregator check {}",
            facts.names.service,
            if facts.target == Target::Cluster { String::new() } else { facts.target.to_string() }
        ));
        return vec![
            Finding::unknown("no_aggregator_asked", "no aggregator could be asked what it knows")
                .then(how.trim_end()),
        ];
    }
    let judged: Vec<(&Replica, Vec<Finding>)> =
        facts.replicas.iter().map(|replica| (replica, judge(replica))).collect();
    let named = judged.iter().map(|(replica, findings)| (replica.name.as_str(), findings.as_slice()));
    merged(&named.collect::<Vec<_>>())
}

fn merged(judged: &[(&str, &[Finding])]) -> Vec<Finding> {
    let [(_, first), others @ ..] = judged else {
        return Vec::new();
    };
    let is_in_all = |finding: &Finding| {
        let same = |other: &&Finding| (other.verdict, other.reason) == (finding.verdict, finding.reason);
        let count = |findings: &[Finding]| findings.iter().filter(same).count();
        others.iter().all(|(_, findings)| count(findings) == count(first))
    };
    let mut told: Vec<Finding> = first.iter().filter(|finding| is_in_all(finding)).cloned().collect();
    for (name, findings) in judged {
        let own = findings.iter().filter(|finding| !is_in_all(finding));
        told.extend(
            own.map(|finding| Finding { message: format!("{name}: {}", finding.message), ..finding.clone() }),
        );
    }
    told
}

/// Some names, and how many more there are.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>, count: usize) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.into_iter().take(SHOWN).collect();
    let more = count.saturating_sub(shown.len());
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_replicas_say_is_said_once() {
        let same = [Finding::ok("a", "3.1s"), Finding::broken("b", "x")];
        let other = [Finding::ok("a", "3.2s")];
        let told = merged(&[("one", &same), ("two", &other)]);
        let messages: Vec<&str> = told.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages, ["3.1s", "one: x"]);
        assert_eq!(merged(&[("one", &same)]).len(), 2);
        let told = merged(&[("one", &other), ("two", &same)]);
        assert_eq!(told.last().unwrap().message, "two: x");
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        assert_eq!(listed(["a", "b"], 2), "a, b");
        assert_eq!(listed(["a", "b", "c", "d", "e", "f"], 9), "a, b, c, d, e and 4 more");
    }
}
