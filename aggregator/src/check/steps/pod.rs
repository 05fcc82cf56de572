//! One pod: whether it runs, whether the aggregators know its containers, and what is served for it.

use super::{Finding, Step, Verdict, by_replica};
use crate::{
    check::{
        asked::Asked,
        brief::PodBrief,
        facts::{Facts, Replica, Target},
    },
    explain::{
        ContainerExplanation, PodExplanation,
        words::{self, plural, span},
    },
};

const NAME: &str = "pod";

pub(super) fn step(facts: &Facts) -> Step {
    let Target::Pod { namespace, name } = &facts.target else {
        return Step::not_asked(NAME, "no pod was asked about");
    };
    let full = format!("pod {namespace}/{name}");
    let pod = match &facts.pod {
        Some(Asked::Absent) => {
            let remedy = format!("kubectl -n {namespace} get pods");
            return Step::new(
                NAME,
                vec![Finding::broken("no_such_pod", format!("the cluster has no {full}")).then(remedy)],
            );
        }
        Some(Asked::Got(pod)) => Some(pod),
        _ => None,
    };
    let mut findings = Vec::new();
    if let Some(asked) = &facts.pod {
        findings.extend(asked.unreadable(&full, &format!("kubectl -n {namespace} get pod {name}")));
    }
    if let Some(pod) = pod {
        let state = state(pod);
        let runs = state.reason == "running";
        findings.push(state);
        if !runs {
            return Step::new(NAME, findings);
        }
    }
    findings.extend(by_replica(facts, |replica| told(pod, replica)));
    Step::new(NAME, findings)
}

/// What the cluster says of it.
fn state(pod: &PodBrief) -> Finding {
    let full = pod.full_name();
    let describe = format!("kubectl -n {} describe pod {}", pod.namespace, pod.name);
    let trouble = pod.trouble.as_deref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
    match pod.phase.as_str() {
        "Running" => Finding::ok("running", format!("{full} runs on {}", pod.node)),
        "Succeeded" | "Failed" => {
            Finding::note("ended", format!("{full} has ended ({}){trouble}: it uses nothing", pod.phase))
                .then(describe)
        }
        phase => {
            let message = format!("{full} is {phase}{trouble}: nothing of it runs that could be measured");
            Finding::broken("not_running", message).then(describe)
        }
    }
}

/// What an aggregator knows of it.
fn told(pod: Option<&PodBrief>, replica: &Replica) -> Vec<Finding> {
    let told = match &replica.pod {
        Some(Asked::Got(told)) => told,
        Some(Asked::Failed(why) | Asked::Forbidden(why)) => {
            return vec![Finding::unknown(
                "aggregator_silent",
                format!("the aggregator does not tell of it: {why}"),
            )];
        }
        _ => return vec![Finding::unknown("aggregator_silent", "the aggregator does not tell of it")],
    };
    if !told.known {
        let message = "the aggregator does not know it: its watch of pods is behind, or may not see it";
        return vec![
            Finding::broken("pod_unknown", message)
                .then("see the lines of the API server and of the rights, and the aggregator's log"),
        ];
    }
    if let Some(pod) = pod.filter(|pod| told.uid.as_ref().is_some_and(|uid| *uid != pod.uid)) {
        let message = format!("the aggregator still has an older pod of this name (not {})", pod.uid);
        return vec![Finding::broken("old_pod", message).then("its watch of pods is behind: see its log")];
    }
    let mut findings = containers(pod, told);
    if findings.iter().all(|finding| finding.verdict == Verdict::Ok) || told.outcome.served {
        findings.push(outcome(told));
    }
    findings
}

fn containers(pod: Option<&PodBrief>, told: &PodExplanation) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let running = pod.map(|pod| pod.running.as_slice()).unwrap_or_default();
    for (name, _) in running.iter().filter(|(_, id)| id.is_none()) {
        let message = format!("container {name} runs, but its status has no container id yet");
        findings
            .push(Finding::note("no_id", message).then("ask again: the kubelet writes it within seconds"));
    }
    if told.node.as_ref().is_some_and(|node| node.kubelet.is_some()) {
        // What is told of containers is what an agent said of them; the outcome goes by the kubelet's pages.
        return findings;
    }
    findings.extend(told.containers.iter().filter(|it| it.reason.is_some()).map(lacking));
    if findings.is_empty() && !told.containers.is_empty() {
        let newest = told.containers.iter().filter_map(|it| it.newest_age_seconds).reduce(f64::max);
        let age = newest.map(|age| format!(", read {} ago", span(age))).unwrap_or_default();
        findings.push(Finding::ok(
            "measured",
            format!("{} measured{age}", plural(told.container_count as u64, "container")),
        ));
    }
    findings
}

fn lacking(container: &ContainerExplanation) -> Finding {
    let reason = container.reason.as_deref().unwrap_or_default();
    let message = words::lacking(container, reason);
    match reason {
        "first_sample" | "window_too_short" => Finding::note("young", message).then("ask again in a second or two"),
        "over_limit" => Finding::broken("over_limit", message).then("raise --max-containers, and the memory limit with it"),
        "ended" => Finding::note("container_ended", message).then("its status will follow: kubectl describe pod"),
        _ => Finding::broken("not_measured", message).then(
            "on its node: kubevitals-agent sample, in the agent's pod, lists what it sees and what it skips (no processes, not readable, sandboxed runtime)",
        ),
    }
}

fn outcome(told: &PodExplanation) -> Finding {
    let outcome = &told.outcome;
    let message = words::outcome(outcome);
    if outcome.served {
        let message = format!("{message}, {}", words::ready(told.ready_seconds));
        let finding = if outcome.held { Finding::note } else { Finding::ok };
        return finding(if outcome.held { "held" } else { "served" }, message);
    }
    let reason = outcome.reason.as_deref().unwrap_or_default();
    match reason {
        "first_sample" | "window_too_short" => {
            Finding::note("omitted", message).then("ask again in a second or two")
        }
        "no_containers" => {
            Finding::note("young", message).then("kubectl describe pod tells what its containers wait for")
        }
        "no_agent" | "no_kubelet" | "stale" => {
            Finding::broken("omitted", message).then("see the line of the node")
        }
        _ => Finding::broken("omitted", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{KubeletExplanation, NodeExplanation, Outcome};

    #[test]
    fn a_pod_that_a_kubelet_is_polled_for_needs_no_agent() {
        let container = ContainerExplanation {
            name: "main".to_owned(),
            reason: Some("not_measured".to_owned()),
            ..ContainerExplanation::default()
        };
        let mut pod = PodExplanation {
            known: true,
            outcome: Outcome { served: true, ..Outcome::default() },
            containers: vec![container],
            node: Some(NodeExplanation::default()),
            ..PodExplanation::default()
        };
        let verdict = |pod: &PodExplanation| {
            let (overview, node) = (Asked::Absent, None);
            let replica = Replica { name: String::new(), overview, node, pod: Some(Asked::Got(pod.clone())) };
            told(None, &replica).iter().map(|finding| finding.verdict).max()
        };
        assert_eq!(verdict(&pod), Some(Verdict::Broken));
        let kubelet = Some(KubeletExplanation::default());
        pod.node = Some(NodeExplanation { kubelet, ..NodeExplanation::default() });
        assert_eq!(verdict(&pod), Some(Verdict::Ok));
        pod.outcome = Outcome { reason: Some("stale".to_owned()), ..Outcome::default() };
        assert_eq!(verdict(&pod), Some(Verdict::Broken));
    }
}
