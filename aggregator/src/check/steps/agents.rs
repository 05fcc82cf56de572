//! The agents as a whole: whether they run, and whether each aggregator hears them.

use k8s_openapi::api::apps::v1::DaemonSet;

use super::{Finding, Step, Verdict, by_replica, listed};
use crate::{
    check::{
        asked::Asked,
        facts::{Facts, Replica, Target},
    },
    explain::{
        Overview,
        refusals::Refusal,
        words::{self, plural, span},
    },
};

pub(super) const NAME: &str = "agents";

/// Agents come back after 15 seconds at most, so a refusal that is older has an end.
const RECENT: f64 = 60.0;

/// So often does an agent lose its node to another before it is no rolling update.
const OFTEN: u64 = 3;

pub(super) fn step(facts: &Facts) -> Step {
    let mut findings = if facts.is_connected() { running(facts) } else { Vec::new() };
    findings.extend(by_replica(facts, |replica| heard(facts, replica)));
    Step::new(NAME, findings)
}

fn running(facts: &Facts) -> Vec<Finding> {
    let names = &facts.names;
    let full = format!("DaemonSet {}/{}", names.namespace, names.daemon_set);
    let describe = names.kubectl(&format!("describe daemonset {}", names.daemon_set));
    let set = match &facts.daemon_set {
        Asked::Got(set) => set,
        Asked::Absent if facts.has_fallback() => {
            return vec![Finding::note(
                "no_daemon_set",
                format!("{full} does not exist: all nodes are polled (--kubelet-fallback)"),
            )];
        }
        Asked::Absent => {
            let remedy =
                "apply the manifests; give --namespace and --daemon-set if it is installed under other names";
            return vec![Finding::broken("no_daemon_set", format!("{full} does not exist")).then(remedy)];
        }
        other => return other.unreadable(&full, &describe).into_iter().collect(),
    };
    let mut findings = vec![counted(set, &full, &describe)];
    if facts.target != Target::Cluster {
        // Whether the target's own agent runs is the node's step.
        findings.iter_mut().for_each(soften);
        return findings;
    }
    let agents = facts.agents.got().map(Vec::as_slice).unwrap_or_default();
    for pod in agents.iter().filter(|pod| !pod.ready && !pod.is_ending).take(20) {
        let message = format!(
            "agent pod {} on {}: {}",
            pod.name,
            pod.node,
            pod.trouble.as_deref().unwrap_or("not ready")
        );
        findings.push(Finding::broken("agent_not_ready", message).then(pod.remedy()));
    }
    findings
}

fn counted(set: &DaemonSet, full: &str, describe: &str) -> Finding {
    let status = set.status.clone().unwrap_or_default();
    let (ready, desired) = (status.number_ready, status.desired_number_scheduled);
    let misplaced = match status.number_misscheduled {
        0 => String::new(),
        count => format!(", {count} where they should not be"),
    };
    let message = format!("{full}: {ready} of {desired} agents ready{misplaced}");
    if desired == 0 {
        Finding::broken("no_agents_wanted", format!("{full} selects no node")).then(describe)
    } else if ready < desired {
        Finding::broken("agents_not_ready", message).then(describe)
    } else if status.number_misscheduled > 0 {
        Finding::note("misscheduled", message).then(describe)
    } else {
        Finding::ok("agents_ready", message)
    }
}

fn heard(facts: &Facts, replica: &Replica) -> Vec<Finding> {
    let overview = match &replica.overview {
        Asked::Got(overview) => overview,
        Asked::Absent | Asked::Forbidden(_) | Asked::Failed(_) => {
            let why = match &replica.overview {
                Asked::Forbidden(why) | Asked::Failed(why) => why.as_str(),
                _ => "no such listener",
            };
            let message = format!("the aggregator does not tell what it knows: {why}");
            let command =
                facts.names.kubectl(&format!("exec {} -- /kubevitals-aggregator check", replica.name));
            return vec![Finding::unknown("aggregator_silent", message).then(command)];
        }
    };
    let mut findings: Vec<Finding> =
        overview.failing_checks.iter().map(|(check, why)| unready(check, why, facts)).collect();
    let mut streams = streams(overview);
    if facts.target != Target::Cluster {
        // What concerns the target is told by the node's step; what concerns others is no fault of it.
        soften(&mut streams);
        findings.push(streams);
        return findings;
    }
    findings.push(streams);
    findings.extend(overview.refusals.iter().filter(|it| is_recent(it)).map(|it| refused(it, facts)));
    findings.extend(oddities(overview));
    findings
}

/// What is broken elsewhere is worth a note.
fn soften(finding: &mut Finding) {
    finding.verdict = finding.verdict.min(Verdict::Note);
}

fn unready(check: &str, why: &str, facts: &Facts) -> Finding {
    let means = match check {
        "informer-sync" => "see the lines of the API server and of the rights",
        "metrics-ready" => "see what else is said of the agents",
        _ => "see the aggregator's log",
    };
    Finding::broken("readiness", format!("readiness check {check} fails: {why}"))
        .then(format!("{means}; {}", facts.names.kubectl(&format!("logs deploy/{}", facts.names.service))))
}

fn streams(overview: &Overview) -> Finding {
    let (nodes, streaming) = (overview.nodes, overview.streaming);
    let message = format!(
        "{} to it, of {nodes} nodes",
        if streaming == 1 { "1 agent streams".to_owned() } else { format!("{streaming} agents stream") }
    );
    let message = match overview.polled {
        0 => message,
        polled => format!("{message}; {} polled", plural(polled as u64, "kubelet")),
    };
    let lists = [
        ("silent_nodes", "nothing comes from", &overview.silent),
        ("stale_nodes", "silent for three ticks or more:", &overview.stale),
        ("failing_kubelets", "kubelets that do not answer as they should:", &overview.failing_kubelets),
    ];
    let Some((reason, what, nodes)) = lists.into_iter().find(|(_, _, nodes)| nodes.count > 0) else {
        return Finding::ok("connected", message);
    };
    let named = listed(nodes.examples.iter().map(String::as_str), nodes.count);
    let first = nodes.examples.first().map_or("NODE", String::as_str);
    Finding::broken(reason, format!("{message}; {what} {named}")).then(format!("check node {first}"))
}

pub(super) fn is_recent(refusal: &Refusal) -> bool {
    let is_rivalry = ["replaced", "outranked"].contains(&refusal.reason.as_str());
    refusal.age_seconds < RECENT && (!is_rivalry || refusal.count >= OFTEN)
}

/// A refusal, with what usually is behind it.
pub(super) fn refused(refusal: &Refusal, facts: &Facts) -> Finding {
    let message = words::refused(refusal);
    let named = &facts.names.daemon_set;
    let yaml = facts.names.kubectl(&format!("get daemonset {named} -o yaml"));
    let remedy = match refusal.reason.as_str() {
        "no_token" | "invalid_token" | "unbound_token" | "no_single_node" => format!(
            "{yaml}: the token must be a projected one with --agent-audience as its audience, and its account must exist"
        ),
        "wrong_account" => {
            format!("{yaml}: its service account must be the one in the aggregator's --agent-service-account")
        }
        "other_node" => "its --node-name must be its pod's spec.nodeName, by the downward API".to_owned(),
        "unchecked" | "unknown_pod" => "see the lines of the API server and of the rights".to_owned(),
        "full" => "raise --max-nodes".to_owned(),
        "violation" => {
            "agent and aggregator are too far apart in version, or it is no agent of ours".to_owned()
        }
        "replaced" | "outranked" => {
            "two agents run for one node: look for a second DaemonSet or a host process".to_owned()
        }
        _ => facts.names.kubectl(&format!("logs daemonset/{named}")),
    };
    // These pass as soon as the cluster answers, or the aggregator has heard of the pod.
    let passes = ["unchecked", "unknown_pod"].contains(&refusal.reason.as_str()) && refusal.count < OFTEN;
    let finding = if passes { Finding::note } else { Finding::broken };
    finding("refused", message).then(remedy)
}

fn oddities(overview: &Overview) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (node, ahead) in &overview.clocks {
        let side = if *ahead > 0.0 { "ahead of" } else { "behind" };
        let message = format!(
            "the clock of {node} is {} {side} the aggregator's: its timestamps are off by as much",
            span(*ahead)
        );
        let finding = if ahead.abs() > 30.0 { Finding::broken } else { Finding::note };
        findings.push(finding("clock", message).then(format!("on {node}: chronyc tracking, or timedatectl")));
    }
    if overview.strange.count > 0 {
        let named = listed(overview.strange.examples.iter().map(String::as_str), overview.strange.count);
        let message = format!("agents stream for nodes that the cluster does not have: {named}");
        findings.push(
            Finding::note("strange_nodes", message)
                .then("kubectl get nodes; their --node-name must be spec.nodeName"),
        );
    }
    if overview.refused_containers > 0 {
        let message =
            format!("{} containers are over the limit and not measured", overview.refused_containers);
        findings.push(
            Finding::broken("over_limit", message)
                .then("raise --max-containers, and the memory limit with it"),
        );
    }
    // Builds of one version may differ in their commit, which stands behind it.
    let release = |version: &str| version.split(' ').next().unwrap_or_default().to_owned();
    let own = release(&overview.version);
    let others = overview.versions.iter().filter(|(version, _)| release(version) != own);
    let other: Vec<String> = others
        .map(|(version, count)| {
            format!("{count} of {}", if version.is_empty() { "no version" } else { version })
        })
        .collect();
    if !other.is_empty() {
        let message = format!("the aggregator is {own}, but agents are: {}", other.join(", "));
        findings.push(
            Finding::note("versions", message).then("one minor version apart works; finish the rollout"),
        );
    }
    findings
}
