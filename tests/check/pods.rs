//! One pod that is not there.

use serde_json::json;

use crate::{
    apiserver::make::Pod,
    world::{World, web},
};

#[test]
fn a_pending_pod_says_why_it_does_not_run() {
    let world = World::well();
    let mut pod = Pod::new("prod", "big-0", "").object();
    pod["spec"]["nodeName"] = json!(null);
    pod["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient memory."}]});
    world.api.cluster.pods.put(pod);
    let screen = world.check(&["pod", "prod/big-0"]).shown("pod pending");
    screen
        .ends(1)
        .says("BROKEN", "pod", &["Pending", "2 Insufficient memory"])
        .advises(&["describe pod big-0"]);
}

#[test]
fn a_pod_that_does_not_exist_is_said() {
    let world = World::well();
    world.check(&["pod", "prod/none"]).shown("pod does not exist").ends(1).says(
        "BROKEN",
        "pod",
        &["has no pod prod/none"],
    );
}

#[test]
fn a_container_that_the_agent_does_not_report_is_named() {
    let world = World::well();
    let pod = Pod::new("prod", "sandboxed-0", "n1");
    world.api.cluster.pods.put(pod.object());
    world.until("the pod is known", "?pod=prod/sandboxed-0", |it| it["known"] == true);
    let screen = world.check(&["pod", "prod/sandboxed-0"]).shown("container not measured");
    screen.ends(1).says("BROKEN", "pod", &["container main", "not reported by the node's agent"]);
    screen.advises(&["kubevitals-agent sample"]).says("BROKEN", "answer", &["404"]);
}

#[test]
fn a_container_without_an_id_yet_is_a_note_not_a_fault() {
    let world = World::well();
    let mut pod = Pod::new("prod", "young-0", "n1").object();
    pod["status"]["containerStatuses"][0]["containerID"] = json!(null);
    world.api.cluster.pods.put(pod);
    world.until("the pod is known", "?pod=prod/young-0", |it| it["known"] == true);
    let screen = world.check(&["pod", "prod/young-0"]).shown("container without an id");
    screen.ends(0).says("note", "pod", &["no container id yet"]).says("note", "answer", &["404"]);
}

#[test]
fn a_pod_on_a_node_that_fell_silent_points_to_the_node() {
    let world = World::without_agents(&["--stale-after=3s"]);
    world.agent("n1");
    world.fleet.run(&web(), 100);
    world.api.cluster.pods.put(web().object());
    world.measured("prod/web-0");
    world.fleet.silence();
    world.until("it is stale", "?pod=prod/web-0", |it| it["outcome"]["reason"] == "stale");
    let screen = world.check(&["pod", "prod/web-0"]).shown("pod on a stale node");
    screen.ends(1).says("BROKEN", "node", &["has sent nothing for"]).says(
        "BROKEN",
        "pod",
        &["not served (stale)"],
    );
    screen.says("BROKEN", "answer", &["404"]);
}
