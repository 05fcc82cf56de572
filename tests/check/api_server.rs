//! The API server is the first link, and the rights to ask it.

use crate::{
    apiserver::{faults::Wrong, reviews::Decision},
    world::{World, allowed},
};

#[test]
fn all_is_well() {
    let world = World::well();
    let screen = world.check(&[]).shown("all well: the cluster");
    screen.ends(0).says("ok", "API server", &["v1.36.0", "kubevitals-aggregator"]);
    screen.says("ok", "API group", &["v1beta1.metrics.k8s.io", "available"]);
    screen.says("ok", "certificate", &["kubevitals-aggregator-0"]);
    screen.says("ok", "agents", &["2 of 2", "2 agents stream"]).says("ok", "pods", &["4 of 4"]);
    let screen = world.check(&["pod", "prod/web-0"]).shown("all well: a pod");
    screen.ends(0).says("ok", "pod", &["runs on n1", "served"]).says("ok", "answer", &["window"]);
    let screen = world.check(&["node", "n2"]).shown("all well: a node");
    screen.ends(0).says("ok", "node", &["streams"]);
}

#[test]
fn programs_get_the_same_as_json() {
    let world = World::well();
    let screen = world.check(&["node", "nosuch", "--output=json"]);
    let report = screen.ends(1).json();
    assert_eq!(
        (report["target"].as_str(), report["verdict"].as_str()),
        (Some("node nosuch"), Some("broken"))
    );
    let steps = report["steps"].as_array().unwrap();
    let node = steps.iter().find(|step| step["name"] == "node").unwrap();
    assert_eq!(node["findings"][0]["reason"], "no_such_node");
}

#[test]
fn an_api_server_that_hangs_is_said_after_seconds_and_the_aggregator_still_asked() {
    let world = World::well();
    world.api.set_hanging(true);
    let screen = world.check(&["pod", "prod/web-0"]).shown("API server hangs");
    screen.ends(1).says("BROKEN", "API server", &["no answer within 2s"]);
    screen.says("-", "API group", &["the API server does not answer"]).says("ok", "pod", &["served"]);
    assert!(screen.took.as_secs() < 10, "{:?}", screen.took);
}

#[test]
fn an_api_server_that_refuses_connections_is_said() {
    let world = World::well();
    world.api.set_away(true);
    world.check(&[]).shown("API server away").ends(1).says("BROKEN", "API server", &[]);
}

#[test]
fn a_missing_right_is_named_with_what_it_is_for() {
    let world = World::well();
    world.api.cluster.reviews.rule(|spec| allowed(spec, Some(("watch", "pods"))));
    let screen = world.check(&[]).shown("RBAC: no watch of pods");
    screen.ends(1).says("BROKEN", "rights", &["may not watch pods", "no pod has a name"]);
    screen.advises(&[
        "kubectl auth can-i watch pods --as=system:serviceaccount:kube-system:kubevitals-aggregator",
    ]);
}

#[test]
fn an_aggregator_that_may_not_read_whom_to_trust_is_told_so() {
    let world = World::well();
    world.api.cluster.reviews.rule(|spec| allowed(spec, Some(("get", "configmaps"))));
    let screen = world.check(&[]).shown("front-proxy ConfigMap not readable");
    screen.ends(1).says("BROKEN", "rights", &["extension-apiserver-authentication", "front proxy"]);
}

#[test]
fn whoever_may_not_look_is_told_what_could_not_be_told() {
    let world = World::well();
    world.api.cluster.revoke_grants();
    world.api.cluster.reviews.rule(|_| Decision::when(true));
    let screen = world.check(&[]).shown("check itself may not look");
    screen.ends(2).says("unknown", "API group", &["cannot get resource"]);
    world.api.cluster.faults.fail("list", "endpointslices", usize::MAX, Wrong::Hang);
}
