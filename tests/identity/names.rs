//! Names on their way back: the real agent, over cgroups of this machine.

use std::fs;

use serde_json::json;

use crate::{
    apiserver::{make::Pod, reviews::User},
    cgroups::{Container, Tree, Workload},
    program::{Agent, PATIENCE, skipped, wait_until},
    rig::{NODE, Rig, agent_user},
};

/// A pod as the API has it whose container runs in this cgroup.
fn object(name: &str, container: &Container) -> serde_json::Value {
    Pod::new("shop", name, NODE).object_in(&container.pod_uid, &[container.id()])
}

/// Its mirror, as the API has a static pod.
fn mirror(name: &str, container: &Container) -> serde_json::Value {
    let mut object = object(name, container);
    object["metadata"]["uid"] = json!("7b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11");
    object["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": container.pod_uid});
    object
}

/// A token in the agent's file, of this pod.
fn token(rig: &Rig, name: &str) -> Pod {
    let pod = Pod::new("kube-system", name, NODE);
    let user: User = agent_user(NODE)
        .extra("authentication.kubernetes.io/pod-name", name)
        .extra("authentication.kubernetes.io/pod-uid", &pod.uid());
    rig.api.cluster.reviews.issue(name, user);
    rig.api.cluster.pods.put(pod.object());
    fs::write(rig.files.path().join("first/token"), name).unwrap();
    pod
}

fn named(agent: &Agent) -> f64 {
    agent.metrics().get("kubevitals_agent_named_series")
}

fn until_named(agent: &Agent, series: f64) {
    wait_until(&format!("{series} series are named"), PATIENCE, || {
        let named = named(agent);
        if named >= series { Ok(()) } else { Err(named.to_string()) }
    });
}

fn told(rig: &Rig) -> f64 {
    rig.aggregator.metrics().get("kubevitals_aggregator_ingest_named_series_total")
}

#[test]
fn an_agent_is_told_who_its_series_are_once_and_keeps_it_while_nobody_is_there() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let rig = Rig::start();
    let agent_pod = token(&rig, "agent-one");
    let containers = [tree.container(), tree.container()];
    let mut workloads: Vec<Workload> = containers
        .iter()
        .map(|container| {
            let mut workload = Workload::pulse();
            container.adopt(workload.child());
            workload.go();
            workload
        })
        .collect();
    let agent = Agent::of_node(NODE, "token", &[&rig.aggregator]);
    wait_until("the agent streams", PATIENCE, || {
        let ticks = rig.aggregator.metrics().get("kubevitals_aggregator_ingest_batches_total");
        if ticks >= 3.0 { Ok(()) } else { Err(ticks.to_string()) }
    });
    assert_eq!(named(&agent).to_bits(), 0, "nobody knows its pods yet");

    rig.api.cluster.pods.put(object("web", &containers[0]));
    rig.api.cluster.pods.put(mirror("static", &containers[1]));
    // Each container, and its pod's own series.
    until_named(&agent, 4.0);
    let once = told(&rig);
    assert_eq!(once.to_bits(), 4.0_f64.to_bits());
    let batches = || rig.aggregator.metrics().get("kubevitals_aggregator_ingest_batches_total");
    let before = batches();
    wait_until("five more ticks", PATIENCE, || {
        if batches() >= before + 5.0 { Ok(()) } else { Err(batches().to_string()) }
    });
    assert_eq!(told(&rig).to_bits(), once.to_bits(), "nothing more is told");

    // Its pod goes, and with it its stream; the token of the next one lets it in again, and names stay meanwhile.
    token(&rig, "agent-two");
    rig.api.cluster.reviews.revoke("agent-one");
    rig.api.cluster.pods.delete(&agent_pod.namespace, &agent_pod.name);
    wait_until("the stream ended", PATIENCE, || {
        let ends = "kubevitals_agent_streams_ended_total{reason=\"refused\"}";
        let ended = agent.metrics().get(ends);
        if ended >= 1.0 { Ok(()) } else { Err(ended.to_string()) }
    });
    assert_eq!(named(&agent).to_bits(), once.to_bits());
    wait_until("it is told again", PATIENCE, || {
        if told(&rig) >= once * 2.0 { Ok(()) } else { Err(told(&rig).to_string()) }
    });
    let lost = agent.metrics().get("kubevitals_agent_stream_lost_batches_total");
    assert_eq!(lost.to_bits(), 0);

    // What is gone is forgotten.
    workloads.pop();
    containers[1].remove();
    wait_until("the static pod is forgotten", PATIENCE, || {
        let named = named(&agent);
        if named < once { Ok(()) } else { Err(named.to_string()) }
    });
}
