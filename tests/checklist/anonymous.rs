//! Callers that show nothing, or nothing that counts.

use serde_json::json;

use crate::{
    apiserver::reviews::{Decision, User},
    rig::{BASES, NODE, Rig, Who},
};

#[tokio::test(flavor = "multi_thread")]
async fn c077_nobody_is_anonymous_and_may_read_nothing() {
    let rig = Rig::start();
    let answer = rig.get(&Who::nobody(), &format!("{}/nodes", BASES[1])).await;
    let (code, reason, message) = answer.failure();
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert!(message.contains("User \"system:anonymous\""), "{message}");
    let spec = rig.api.cluster.reviews.of_access.last();
    assert_eq!(
        (&spec["user"], &spec["groups"]),
        (&json!("system:anonymous"), &json!(["system:unauthenticated"]))
    );
    assert_eq!(rig.api.cluster.reviews.of_tokens.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c078_probes_are_answered_without_asking_anybody() {
    let rig = Rig::start();
    // Without it the aggregator would wait half a minute for the node.
    rig.agent(NODE, &[rig.ingest()]);
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = rig.until(&Who::nobody(), path, |answer| answer.status == 200).await;
        assert_eq!(answer.text(), "ok", "{path}");
    }
    assert_eq!(rig.api.cluster.reviews.of_access.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c079_nobody_may_see_any_path_whether_it_exists_or_not() {
    let rig = Rig::start();
    for path in ["/metrics", "/version", "/openapi/v2", "/apis", "/", "/nothing"] {
        let (code, _, message) = rig.get(&Who::nobody(), path).await.failure();
        assert_eq!(code, 403, "{path}");
        assert!(message.contains(&format!("cannot get path {path:?}")), "{message}");
        let asked = rig.api.cluster.reviews.of_access.last();
        assert_eq!(asked["nonResourceAttributes"], json!({"path": path, "verb": "get"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c095_a_proxied_anonymous_user_is_anonymous() {
    let rig = Rig::start();
    let who = rig.proxied(&User::new("system:anonymous", &["system:unauthenticated"]));
    let answer = rig.get(&who, &format!("{}/nodes", BASES[0])).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    let spec = rig.api.cluster.reviews.of_access.last();
    assert_eq!(
        (&spec["user"], &spec["groups"]),
        (&json!("system:anonymous"), &json!(["system:unauthenticated"]))
    );
    let who = rig.proxied(&User::new("system:anonymous", &[]));
    assert_eq!(rig.get(&who, &format!("{}/pods", BASES[0])).await.status, 403);
    let groups = rig.api.cluster.reviews.of_access.last()["groups"].to_string();
    assert!(!groups.contains("system:authenticated"), "{groups}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c096_schemes_are_told_apart_without_regard_to_case() {
    let rig = Rig::start();
    let reviews = &rig.api.cluster.reviews;
    reviews.issue("good", User::new("reader", &["readers"]));
    let path = format!("{}/nodes", BASES[0]);
    for (value, status) in [
        ("bearer good", 200),
        ("BEARER good", 200),
        ("Basic Z29vZDpnb29k", 403),
        ("Bearer ", 403),
        ("Bearer", 403),
    ] {
        let answer = rig.get(&Who::nobody().header("authorization", value), &path).await;
        assert_eq!(answer.status, status, "{value}: {answer:?}");
    }
    assert_eq!(reviews.of_tokens.count(), 1, "only what is a token is reviewed");
}

#[tokio::test(flavor = "multi_thread")]
async fn c099_impersonation_is_refused_and_never_ignored() {
    let rig = Rig::start();
    rig.api.cluster.reviews.rule(|_| Decision::when(true));
    let path = format!("{}/nodes", BASES[0]);
    for (name, value) in [
        ("impersonate-user", "alice"),
        ("impersonate-group", "system:masters"),
        ("impersonate-uid", "1"),
        ("impersonate-extra-scopes", "view"),
    ] {
        for who in [rig.reader(), rig.admin(), Who::nobody()] {
            let answer = rig.get(&who.header(name, value), &path).await;
            assert_eq!(answer.status, 403, "{name}: {answer:?}");
        }
    }
}
