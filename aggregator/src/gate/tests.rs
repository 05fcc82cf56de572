use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    auth::fake::{Answer, FakeCluster, failure, token_review},
    directory::PodRecord,
    metrics::auth::Auth,
};

const ACCOUNT: &str = "system:serviceaccount:kubevitals:agent";

fn gate(client: kube::Client) -> AgentGate {
    let audiences = vec!["kubevitals".to_owned()];
    let reviews = TokenReviews::new(client, audiences, Duration::from_secs(10), &Auth::default());
    AgentGate::Reviewed(Arc::new(ReviewedAgents::new(reviews.unwrap(), ACCOUNT.to_owned())))
}

fn review(name: &str, extra: &Value) -> Answer {
    token_review(&json!({"authenticated": true, "audiences": ["kubevitals"],
        "user": {"username": name, "extra": extra}}))
}

fn of_node(node: &str) -> Value {
    json!({NODE_NAME: [node]})
}

fn of_pod(name: &str, uid: &str) -> Value {
    json!({POD_NAME: [name], POD_UID: [uid]})
}

fn metadata() -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("authorization", "Bearer t".parse().unwrap());
    metadata
}

fn directory() -> Directory {
    let directory = Directory::default();
    directory.put_pod(PodRecord::bare("kubevitals", "agent-x", "u1", "n1"));
    directory
}

/// The node of an agent with this review, or the code and text of its refusal.
async fn node(name: &'static str, extra: Value) -> Result<String, (tonic::Code, String)> {
    let (_, client) = FakeCluster::new(move |_, _| review(name, &extra));
    match gate(client).admit(&metadata(), &directory()).await {
        Ok(admission) => Ok(admission.node.unwrap().to_string()),
        Err(refusal) => Err((refusal.status().code(), refusal.status().message().to_owned())),
    }
}

fn refused(code: tonic::Code, message: &str) -> Result<String, (tonic::Code, String)> {
    Err((code, message.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn c128_the_node_comes_from_the_token() {
    assert_eq!(node(ACCOUNT, of_node("n7")).await, Ok("n7".to_owned()));
    let (cluster, client) = FakeCluster::new(|_, _| review(ACCOUNT, &of_node("n7")));
    let admission = gate(client).admit(&metadata(), &directory()).await.unwrap();
    assert!(admission.speaks_for("n7") && !admission.speaks_for("n8"));
    assert_eq!(cluster.calls()[0].1["spec"], json!({"token": "t", "audiences": ["kubevitals"]}));
    assert!(!format!("{admission:?}").contains("\"t\""));
}

#[tokio::test(start_paused = true)]
async fn c128_without_a_node_in_the_token_its_pod_says_which() {
    assert_eq!(node(ACCOUNT, of_pod("agent-x", "u1")).await, Ok("n1".to_owned()));
    let unknown = refused(tonic::Code::Unavailable, "the pod of the bearer token is not known yet");
    assert_eq!(node(ACCOUNT, of_pod("agent-x", "u2")).await, unknown);
    assert_eq!(node(ACCOUNT, of_pod("agent-y", "u1")).await, unknown);
}

#[tokio::test(start_paused = true)]
async fn c128_a_token_that_names_no_one_node_is_refused() {
    let unbound = refused(tonic::Code::PermissionDenied, "the bearer token is not bound to a pod");
    assert_eq!(node(ACCOUNT, json!({})).await, unbound);
    assert_eq!(node(ACCOUNT, json!({POD_UID: ["u1"]})).await, unbound);
    assert_eq!(node(ACCOUNT, json!({POD_UID: ["u1", "u2"], POD_NAME: ["agent-x"]})).await, unbound);
    let none = refused(tonic::Code::PermissionDenied, "the bearer token does not name exactly one node");
    for nodes in [json!([]), json!(["n1", "n2"])] {
        let mut extra = of_pod("agent-x", "u1");
        extra[NODE_NAME] = nodes;
        assert_eq!(node(ACCOUNT, extra).await, none);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_agents_account_speaks() {
    let other = refused(tonic::Code::PermissionDenied, "the bearer token is no agent's");
    for name in
        ["system:serviceaccount:kubevitals:other", "system:serviceaccount:other:agent", "system:admin"]
    {
        assert_eq!(node(name, of_node("n1")).await, other, "{name}");
    }
    let (cluster, client) = FakeCluster::new(|_, _| token_review(&json!({"authenticated": false})));
    let gate = gate(client);
    let refusal = gate.admit(&MetadataMap::new(), &directory()).await.unwrap_err();
    assert_eq!(refusal.status().code(), tonic::Code::Unauthenticated);
    assert!(cluster.calls().is_empty());
    assert_eq!(gate.admit(&metadata(), &directory()).await.unwrap_err(), Refusal::InvalidToken);
}

#[tokio::test(start_paused = true)]
async fn while_tokens_cannot_be_checked_nobody_new_gets_in() {
    let (_, client) = FakeCluster::new(|_, _| failure(500));
    let refusal = gate(client).admit(&metadata(), &directory()).await.unwrap_err();
    assert_eq!(refusal.status().code(), tonic::Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_does_and_not_when_that_cannot_be_found_out() {
    let (cluster, client) = FakeCluster::new(|_, _| review(ACCOUNT, &of_node("n1")));
    let (gate, directory) = (gate(client), directory());
    let admission = gate.admit(&metadata(), &directory).await.unwrap();
    let begun = Instant::now();
    let revoked = gate.revoked(&admission, &directory);
    tokio::pin!(revoked);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, revoked.as_mut()).await.is_err());
    assert!((12..=16).contains(&(cluster.calls().len() - 1)));
    cluster.set(|_, _| failure(503));
    assert!(tokio::time::timeout(hour, revoked.as_mut()).await.is_err());
    assert!(cluster.calls().len() > 100, "it is tried more often then");
    cluster.set(|_, _| token_review(&json!({"authenticated": false})));
    assert_eq!(revoked.await, Refusal::InvalidToken);
    assert!(begun.elapsed() < hour * 2 + REVIEW_AGAIN * 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_becomes_another_nodes() {
    let (cluster, client) = FakeCluster::new(|_, _| review(ACCOUNT, &of_node("n1")));
    let (gate, directory) = (gate(client), directory());
    let admission = gate.admit(&metadata(), &directory).await.unwrap();
    cluster.set(|_, _| review(ACCOUNT, &of_node("n2")));
    assert_eq!(gate.revoked(&admission, &directory).await, Refusal::OtherNode);
}
