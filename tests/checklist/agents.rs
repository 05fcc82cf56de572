//! Agents that speak for a node, and those that only say so.

use serde_json::json;

use crate::{
    apiserver::{make::Pod, reviews::User},
    program::AGENT_ACCOUNT,
    rig::{AGENT_AUDIENCE, BASES, NODE, Rig, agent_user},
};

#[tokio::test(flavor = "multi_thread")]
async fn c128_an_agent_speaks_for_the_node_of_its_token_and_no_other() {
    let rig = Rig::start();
    let reviews = &rig.api.cluster.reviews;
    let node = "authentication.kubernetes.io/node-name";
    let user = |name: &str| User::new(name, &["system:serviceaccounts"]);
    for (token, user) in [
        ("right", agent_user(NODE)),
        ("of-another-node", agent_user("n2")),
        ("of-two-nodes", agent_user(NODE).extra(node, "n2")),
        ("of-no-node", user(AGENT_ACCOUNT).audience(AGENT_AUDIENCE)),
        (
            "of-another-account",
            user("system:serviceaccount:default:other").extra(node, NODE).audience(AGENT_AUDIENCE),
        ),
        ("for-the-api", user(AGENT_ACCOUNT).extra(node, NODE)),
    ] {
        reviews.issue(token, user);
    }
    // Blocking, as the fleet has threads of its own.
    let tried = |token: &str| tokio::task::block_in_place(|| rig.fleet.try_as(NODE, token, &rig.ingest()));
    assert_eq!(tried("right"), Ok(()));
    assert_eq!(reviews.of_tokens.last()["audiences"], json!([AGENT_AUDIENCE]));
    for token in
        ["of-another-node", "of-two-nodes", "of-no-node", "of-another-account", "for-the-api", "unknown"]
    {
        let refused = tried(token).expect_err(token);
        let code = refused.split(':').next().unwrap();
        assert!(["PermissionDenied", "Unauthenticated"].contains(&code), "{token}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c128_a_token_without_a_node_is_resolved_through_its_pod() {
    let rig = Rig::start();
    let agent = Pod::new("kube-system", "kubevitals-agent-x", NODE);
    let user = User::new(AGENT_ACCOUNT, &["system:serviceaccounts"])
        .extra("authentication.kubernetes.io/pod-name", &agent.name)
        .extra("authentication.kubernetes.io/pod-uid", &agent.uid())
        .audience(AGENT_AUDIENCE);
    rig.api.cluster.reviews.issue("of-a-pod", user);
    rig.api.cluster.pods.put(agent.object());
    rig.run(&Pod::new("shop", "web", NODE), 100);
    rig.fleet.agent(NODE, "of-a-pod", &[rig.ingest()]);
    rig.until(&rig.admin(), &format!("{}/pods", BASES[0]), |answer| answer.items().len() == 1).await;
    let tried = tokio::task::block_in_place(|| rig.fleet.try_as("n2", "of-a-pod", &rig.ingest()));
    assert!(tried.is_err(), "the pod is on another node");
}
