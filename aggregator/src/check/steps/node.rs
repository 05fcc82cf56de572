//! One node: whether the cluster has it, whether an agent runs there, and what the aggregators hear of it.

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Taint, Toleration},
};

use super::{Finding, Step, agents, by_replica};
use crate::{
    check::{
        asked::Asked,
        brief::PodBrief,
        facts::{Facts, Replica},
    },
    explain::{
        KubeletExplanation, NodeExplanation,
        words::{self, Heard},
    },
};

const NAME: &str = "node";

pub(super) fn step(facts: &Facts) -> Step {
    let Some(name) = &facts.node_name else {
        return Step::not_asked(NAME, "the pod is on no node");
    };
    let mut findings = Vec::new();
    match &facts.node {
        Some(Asked::Absent) => {
            let message = format!("the cluster has no node {name}");
            return Step::new(NAME, vec![Finding::broken("no_such_node", message).then("kubectl get nodes")]);
        }
        Some(Asked::Got(node)) => findings.extend(agent_pod(name, node, facts)),
        Some(other) => {
            findings.extend(other.unreadable(&format!("node {name}"), &format!("kubectl get node {name}")));
        }
        None => {}
    }
    findings.extend(by_replica(facts, |replica| heard(name, replica, facts)));
    Step::new(NAME, findings)
}

/// The pod of the agent on the node.
fn agent_pod(name: &str, node: &Node, facts: &Facts) -> Option<Finding> {
    let names = &facts.names;
    let command = names.kubectl(&format!("get pods -o wide --field-selector spec.nodeName={name}"));
    let Some(agents) = facts.agents.got() else {
        if matches!(facts.daemon_set, Asked::Absent) && facts.has_fallback() {
            // Without agents on purpose: the line of the agents says so.
            return None;
        }
        return facts.agents.unreadable(&format!("agent pods on {name}"), &command);
    };
    let Some(pod) = agents.iter().find(|pod| !pod.is_ending).or(agents.first()) else {
        return Some(if is_polled(facts) {
            let message = format!("no agent pod runs on {name}: its kubelet is polled instead");
            Finding::note("no_agent_pod", message)
        } else {
            no_agent(name, node, facts)
        });
    };
    Some(match (&pod.trouble, pod.ready) {
        (_, true) => Finding::ok("agent_ready", format!("agent pod {} on {name} is ready", pod.name)),
        (trouble, false) => {
            let why = trouble.as_deref().unwrap_or(&pod.phase);
            Finding::broken("agent_not_ready", format!("agent pod {} on {name}: {why}", pod.name))
                .then(pod.remedy())
        }
    })
}

/// Whether an aggregator polls the node's kubelet.
fn is_polled(facts: &Facts) -> bool {
    let mut told = facts.replicas.iter().filter_map(|replica| replica.node.as_ref()?.got());
    told.any(|node| node.kubelet.is_some())
}

/// Why the `DaemonSet` puts none there, as far as both objects tell.
fn no_agent(name: &str, node: &Node, facts: &Facts) -> Finding {
    let what = format!("no agent pod runs on {name}");
    let set = match &facts.daemon_set {
        Asked::Got(set) => set,
        Asked::Absent => {
            return Finding::broken("no_agent_pod", format!("{what}: there is no DaemonSet"))
                .then("see the line of the agents");
        }
        _ => return Finding::broken("no_agent_pod", what),
    };
    let instead = "or let --kubelet-fallback poll it";
    if let Some((key, value)) = unmatched(set, node) {
        let message = format!("{what}: it has not the label {key}={value} that the DaemonSet wants");
        let remedy = format!("kubectl label node {name} {key}={value}, if it is a Linux machine; {instead}");
        return Finding::broken("label_missing", message).then(remedy);
    }
    if let Some(taint) = untolerated(set, node) {
        let value = taint.value.as_deref().map(|value| format!("={value}")).unwrap_or_default();
        let message = format!("{what}: its taint {}{value}:{} is not tolerated", taint.key, taint.effect);
        let remedy = format!("add the toleration to DaemonSet {}; {instead}", facts.names.daemon_set);
        return Finding::broken("taint", message).then(remedy);
    }
    Finding::broken("no_agent_pod", what)
        .then(facts.names.kubectl(&format!("describe daemonset {}; {instead}", facts.names.daemon_set)))
}

/// A label of the `DaemonSet`'s node selector that the node lacks.
fn unmatched(set: &DaemonSet, node: &Node) -> Option<(String, String)> {
    let wanted = set.spec.as_ref()?.template.spec.as_ref()?.node_selector.as_ref()?;
    let labels = node.metadata.labels.as_ref();
    let has = |key: &String, value: &String| labels.and_then(|labels| labels.get(key)) == Some(value);
    wanted.iter().find(|(key, value)| !has(key, value)).map(|(key, value)| (key.clone(), value.clone()))
}

/// A taint of the node that keeps the `DaemonSet`'s pods away.
fn untolerated<'a>(set: &DaemonSet, node: &'a Node) -> Option<&'a Taint> {
    let tolerations = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let tolerations = tolerations.and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let taints = node.spec.as_ref()?.taints.as_deref().unwrap_or_default();
    let repels = |taint: &&Taint| {
        taint.effect != "PreferNoSchedule"
            // The DaemonSet controller adds tolerations for these.
            && !taint.key.starts_with("node.kubernetes.io/")
            && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    taints.iter().find(repels)
}

/// By the rules of the API (core/v1 Toleration): an empty key tolerates all, an empty effect all effects.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() && exists || key == taint.key)
        && (exists
            || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
}

fn heard(name: &str, replica: &Replica, facts: &Facts) -> Vec<Finding> {
    let told = match &replica.node {
        Some(Asked::Got(node)) => node,
        Some(Asked::Failed(why) | Asked::Forbidden(why)) => {
            return vec![Finding::unknown(
                "aggregator_silent",
                format!("the aggregator does not tell of it: {why}"),
            )];
        }
        _ => return vec![Finding::unknown("aggregator_silent", "the aggregator does not tell of it")],
    };
    let mut findings = Vec::new();
    if !told.known {
        let message = format!("the aggregator does not know node {name}: its watch of nodes is behind");
        findings.push(
            Finding::broken("node_unknown", message).then("see the lines of the rights and of the agents"),
        );
    }
    findings.push(stream(name, told));
    findings.extend(refusals(told, replica, facts));
    findings.extend(clock(name, told));
    if let Some(message) = words::over_limit(told) {
        findings.push(
            Finding::broken("over_limit", message)
                .then("raise --max-containers, and the memory limit with it"),
        );
    }
    for left in &told.left_out {
        findings.push(
            Finding::note("left_out", words::left_out(left))
                .then(facts.names.kubectl("logs -l app.kubernetes.io/component=agent")),
        );
    }
    findings
}

/// The kubelet of a node without an agent.
fn polled(name: &str, kubelet: &KubeletExplanation) -> Finding {
    let message = words::kubelet(kubelet);
    match (&kubelet.failure, kubelet.succeeded_seconds) {
        (Some(_), _) => Finding::broken("kubelet_failing", message).then(format!(
            "kubectl get --raw /api/v1/nodes/{name}/proxy/metrics/resource; --kubelet-* flags say where and how it is asked"
        )),
        (None, Some(_)) => Finding::ok("polled", message),
        (None, None) => Finding::note("polled", message).then("ask again in a few seconds"),
    }
}

fn stream(name: &str, told: &NodeExplanation) -> Finding {
    if let Some(kubelet) = &told.kubelet {
        return polled(name, kubelet);
    }
    let message = words::agent(told);
    match words::heard(told) {
        Heard::Streaming => Finding::ok("streaming", message),
        Heard::Silent => Finding::broken("silent", message)
            .then(format!("the agent's log on {name}; is the node up (kubectl get node {name})?")),
        Heard::NoBatchYet => Finding::unknown("no_batch_yet", message).then("ask again in a few seconds"),
        Heard::Nothing => Finding::broken("not_connected", message)
            .then("the agent's log says why: address, authority (ConfigMap kubevitals-ca), NetworkPolicy to port 10251"),
    }
}

/// Refusals that name the node, or come from the address of its agent's pod.
fn refusals(told: &NodeExplanation, replica: &Replica, facts: &Facts) -> Vec<Finding> {
    let addresses: Vec<&str> =
        facts.agents.got().into_iter().flatten().map(|pod: &PodBrief| pod.address.as_str()).collect();
    let overview = replica.overview.got().map(|overview| overview.refusals.as_slice()).unwrap_or_default();
    let by_address = overview.iter().filter(|refusal| {
        refusal.node.is_none()
            && refusal.peer.is_some_and(|peer| addresses.contains(&peer.to_string().as_str()))
    });
    told.refusals
        .iter()
        .chain(by_address)
        .filter(|it| agents::is_recent(it))
        .map(|it| agents::refused(it, facts))
        .collect()
}

fn clock(name: &str, told: &NodeExplanation) -> Option<Finding> {
    let (message, ahead) = words::clock(told)?;
    let finding = if ahead.abs() > 30.0 { Finding::broken } else { Finding::note };
    Some(finding("clock", message).then(format!("on {name}: chronyc tracking, or timedatectl")))
}
