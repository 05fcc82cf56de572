//! Callers that a front proxy vouches for, and those who only say so.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    apiserver::{pki::Wanted, reviews::User},
    rig::{BASES, Rig, Who, ask},
};

/// Whom the newest review was about.
fn subject(rig: &Rig) -> Value {
    let spec = rig.api.cluster.reviews.of_access.last();
    json!({"user": spec["user"], "groups": spec["groups"], "uid": spec["uid"], "extra": spec["extra"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn c012_five_probes_at_one_time_over_one_connection_are_answered_at_once() {
    let rig = Rig::start();
    let admin = rig.admin();
    assert!(!admin.headers.contains_key("accept"));
    let connection = rig.target().http2(admin.identity.as_ref()).await.unwrap();
    for base in BASES {
        let (mut probes, begun) = (JoinSet::new(), Instant::now());
        for _ in 0..5 {
            let (mut connection, admin) = (connection.share().unwrap(), admin.clone());
            probes.spawn(async move { ask(&mut connection, &admin, base).await.unwrap().status });
        }
        assert_eq!(probes.join_all().await, [200; 5]);
        // An API server waits for five seconds.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert!(!connection.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn c016_a_user_without_groups_is_authenticated_and_reads_the_schema() {
    let rig = Rig::start();
    let answer = rig.get(&rig.proxied(&User::new("system:aggregator", &[])), "/openapi/v2").await;
    let spec = rig.api.cluster.reviews.of_access.last();
    assert_eq!(
        (&spec["user"], &spec["groups"]),
        (&json!("system:aggregator"), &json!(["system:authenticated"]))
    );
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c017_the_aggregation_layer_without_groups_reads_the_resources() {
    let rig = Rig::start();
    for base in BASES {
        let answer = rig.get(&rig.proxied(&User::new("system:kube-aggregator", &[])), base).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let spec = rig.api.cluster.reviews.of_access.last();
        assert_eq!(spec["groups"], json!(["system:authenticated"]));
        assert_eq!(spec["nonResourceAttributes"], json!({"path": base, "verb": "get"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c089_name_groups_uid_and_extra_reach_the_review() {
    let rig = Rig::start();
    let mut user = User::new("view", &["g1", "g2"]).extra("Scopes", "a").extra("Scopes", "b");
    user.uid = "42".to_owned();
    let who = rig.proxied(&user).header("x-remote-extra-Acme.com%2fProject", "x");
    rig.get(&who, &format!("{}/nodes", BASES[0])).await;
    assert_eq!(
        subject(&rig),
        json!({"user": "view", "groups": ["g1", "g2", "system:authenticated"], "uid": "42",
            "extra": {"scopes": ["a", "b"], "acme.com/project": ["x"]}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c090_every_group_line_counts_and_keeps_its_place() {
    let rig = Rig::start();
    let groups: Vec<String> = (0..40).rev().map(|number| format!("g{number}")).collect();
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    rig.get(&rig.proxied(&User::new("view", &names)), &format!("{}/nodes", BASES[0])).await;
    assert_eq!(subject(&rig)["groups"], json!([&names[..], &["system:authenticated"]].concat()));
}

#[tokio::test(flavor = "multi_thread")]
async fn c091_a_front_proxy_that_names_nobody_is_nobody() {
    let rig = Rig::start();
    let path = format!("{}/nodes", BASES[0]);
    let proxy = Who::certificate(rig.api.pki.proxy());
    assert_eq!(rig.get(&proxy, &path).await.failure().0, 401);
    assert_eq!(rig.get(&proxy.clone().header("x-remote-user", ""), &path).await.status, 401);
    let groups_only = proxy.clone().header("x-remote-group", "system:masters");
    assert_eq!(rig.get(&groups_only, &path).await.status, 401);
    rig.api.cluster.reviews.issue("good", User::new("reader", &["readers"]));
    let both = proxy.header("authorization", "Bearer good");
    assert_eq!(rig.get(&both, &path).await.status, 200);
    assert_eq!(subject(&rig)["user"], "reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn c092_only_the_named_proxy_of_the_right_authority_is_believed() {
    let rig = Rig::start();
    let pki = &rig.api.pki;
    let right = Wanted::client("front-proxy-client");
    let server = Wanted::server("front-proxy-client", &[]);
    let through = pki.front_proxy.subordinate("intermediate");
    for (what, identity, status) in [
        ("another name", pki.front_proxy.issue(&Wanted::client("kubelet")), 401),
        ("an unknown authority", pki.stranger.issue(&right), 401),
        ("out of date", pki.front_proxy.issue(&right.clone().expired()), 401),
        ("for servers only", pki.front_proxy.issue(&server), 401),
        ("through an intermediate", through.issue(&right), 200),
        ("right", pki.proxy(), 200),
    ] {
        let mut who = rig.admin();
        who.identity = Some(identity);
        let answer = rig.get(&who, &format!("{}/nodes", BASES[0])).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    // Of the other authority a certificate of that name is an ordinary user, whose headers do not count.
    let mut who = rig.admin();
    who.identity = Some(pki.client.issue(&right));
    assert_eq!(rig.get(&who, &format!("{}/nodes", BASES[0])).await.status, 403);
    assert_eq!(subject(&rig)["user"], "front-proxy-client");
}

#[tokio::test(flavor = "multi_thread")]
async fn c093_headers_without_the_proxys_certificate_say_nothing() {
    let rig = Rig::start();
    let path = format!("{}/nodes", BASES[0]);
    let claims: HeaderMap = rig.admin().headers;
    let spoofer = Who { identity: None, headers: claims.clone() };
    let answer = rig.get(&spoofer, &path).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(subject(&rig)["user"], "system:anonymous");
    let alice = Who { identity: Some(rig.api.pki.user("alice", &["readers"])), headers: claims };
    let answer = rig.get(&alice, &path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(subject(&rig)["user"], "alice");
    assert_eq!(subject(&rig)["groups"], json!(["readers", "system:authenticated"]));
}
