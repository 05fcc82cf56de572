//! Agents and nodes.

use serde_json::json;

use crate::{
    apiserver::make::node,
    world::{World, agent_pod, agent_user, web},
};

#[test]
fn a_node_without_an_agent_says_which_taint_keeps_it_away() {
    let world = World::well();
    world.api.cluster.nodes.put(node("n3", &[("kubernetes.io/os", "linux")]));
    world.api.cluster.nodes.change("", "n3", |it| {
        it["spec"]["taints"] = json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]);
    });
    world.until("the node is known", "?node=n3", |it| it["known"] == true);
    let screen = world.check(&[]).shown("no agent on a node: the cluster");
    screen.ends(1).says("BROKEN", "agents", &["nothing comes from n3"]).advises(&["check node n3"]);
    let screen = world.check(&["node", "n3"]).shown("no agent on a node: the node");
    screen.ends(1).says("BROKEN", "node", &["taint dedicated=gpu:NoSchedule is not tolerated"]);
    screen.advises(&["add the toleration"]);
}

#[test]
fn an_agent_with_a_token_for_others_is_turned_away_and_named() {
    let world = World::well();
    world.api.cluster.nodes.put(node("n3", &[("kubernetes.io/os", "linux")]));
    let mut user = agent_user("n3");
    user.audiences = vec!["vault".to_owned()];
    world.agent_with("n3", &user);
    world.until("the agent is turned away", "", |it| it["refusals"][0]["reason"] == "invalid_token");
    world.until("the node is known", "?node=n3", |it| it["known"] == true);
    let screen = world.check(&["node", "n3"]).shown("agent refused: wrong audience");
    screen
        .ends(1)
        .says("note", "agents", &["n3"])
        .says("BROKEN", "node", &["is turned away", "not valid"])
        .advises(&["audience"]);
}

#[test]
fn an_agent_that_speaks_for_another_node_is_named() {
    let world = World::well();
    let refused = world.fleet.try_as("n2", "agent-of-n1", &world.ingest());
    assert!(refused.is_err());
    let screen = world.check(&["node", "n2"]).shown("an agent speaks for another node");
    screen
        .ends(1)
        .says("BROKEN", "node", &["says it is on n2", "another node's"])
        .advises(&["spec.nodeName"]);
}

#[test]
fn a_clock_that_is_an_hour_off_is_said() {
    let world = World::without_agents(&[]);
    world.fleet.set_clock("n1", -3600);
    world.agent("n1");
    world.agent("n2");
    world.fleet.run(&web(), 100);
    world.api.cluster.pods.put(web().object());
    world.measured("prod/web-0");
    let screen = world.check(&["pod", "prod/web-0"]).shown("clock an hour behind");
    screen.ends(1).says("BROKEN", "node", &["clock of n1 is 1h behind"]).says(
        "BROKEN",
        "answer",
        &["1h", "old"],
    );
}

#[test]
fn a_node_that_does_not_exist_ends_the_questions() {
    let world = World::well();
    world.check(&["node", "n9"]).shown("node unknown").ends(1).says("BROKEN", "node", &["no node n9"]).says(
        "-",
        "answer",
        &[],
    );
}

#[test]
fn an_agent_whose_image_cannot_be_pulled_is_named() {
    let world = World::well();
    world.daemon_set(3, 2);
    world.api.cluster.nodes.put(node("n3", &[("kubernetes.io/os", "linux")]));
    let mut pod = agent_pod("n3").object();
    pod["status"]["phase"] = json!("Pending");
    pod["status"]["conditions"][0]["status"] = json!("False");
    pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"ghcr.io/kubevitals/kubevitals:v0\""}});
    world.api.cluster.pods.put(pod);
    world.until("the node is known", "?node=n3", |it| it["known"] == true);
    let screen = world.check(&[]).shown("agent's image cannot be pulled");
    screen.ends(1).says("BROKEN", "agents", &["2 of 3"]).says(
        "BROKEN",
        "agents",
        &["ImagePullBackOff", "n3"],
    );
}
