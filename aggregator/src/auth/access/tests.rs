use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::json;

use super::*;
use crate::{
    api::query::Query,
    auth::{
        fake::{FakeCluster, access_review, failure},
        user::{AUTHENTICATED, MASTERS},
    },
    metrics::auth::Auth,
};

async fn message(user: &UserInfo, method: &Method, path: &str, query: Option<&str>) -> Option<String> {
    let wanted = Attributes::new(method, path, &Query::new(query));
    Authorizer::Named.check(user, &wanted).await.err().map(|error| error.to_string())
}

async fn anonymous(path: &str) -> Option<String> {
    message(&UserInfo::anonymous(), &Method::GET, path, None).await
}

#[tokio::test]
async fn c077_without_credentials_objects_are_forbidden() {
    assert_eq!(
        anonymous("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/web-1").await.as_deref(),
        Some(
            "pods.metrics.k8s.io \"web-1\" is forbidden: User \"system:anonymous\" cannot get resource \"pods\" \
             in API group \"metrics.k8s.io\" in the namespace \"default\""
        )
    );
    assert_eq!(
        anonymous("/api/v1/nodes").await.as_deref(),
        Some(
            "nodes is forbidden: User \"system:anonymous\" cannot list resource \"nodes\" in API group \"\" \
             at the cluster scope"
        )
    );
}

#[tokio::test]
async fn c078_probes_need_no_credentials() {
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(anonymous(path).await, None, "{path}");
    }
}

#[tokio::test]
async fn c079_without_credentials_paths_are_forbidden_whether_they_exist_or_not() {
    for path in ["/metrics", "/version", "/openapi/v2", "/apis", "/", "/readyz/ping", "/readyz/", "/livez/.."]
    {
        let expected = format!("forbidden: User \"system:anonymous\" cannot get path {path:?}");
        assert_eq!(anonymous(path).await, Some(expected));
    }
}

#[tokio::test]
async fn c069_a_watch_is_asked_for_as_a_watch() {
    let path = "/apis/metrics.k8s.io/v1/nodes";
    let text = message(&UserInfo::anonymous(), &Method::GET, path, Some("watch=true")).await.unwrap();
    assert!(text.contains("cannot watch resource \"nodes\""), "{text}");
    let text = message(&UserInfo::anonymous(), &Method::DELETE, path, None).await.unwrap();
    assert!(text.contains("cannot deletecollection resource"), "{text}");
    let path = "/apis/metrics.k8s.io/v1/nodes/n1/status";
    let text = message(&UserInfo::anonymous(), &Method::GET, path, None).await.unwrap();
    assert!(text.contains("cannot get resource \"nodes/status\""), "{text}");
}

#[tokio::test]
async fn with_fixed_tokens_whoever_has_a_name_may_read_everything() {
    for user in [UserInfo::new("admin", &[AUTHENTICATED]), UserInfo::new("root", &[MASTERS])] {
        assert_eq!(message(&user, &Method::GET, "/apis/metrics.k8s.io/v1/pods", None).await, None);
    }
}

/// A delegated authorizer over a cluster that gives this status.
fn delegated(status: serde_json::Value) -> (Arc<FakeCluster>, Authorizer) {
    let (cluster, client) = FakeCluster::new(move |_, _| access_review(&status));
    let (metrics, ttl) = (Auth::default(), Duration::from_secs(10));
    let reviews = AccessReviews::new(client, ttl, ttl, &metrics);
    (cluster, Authorizer::Delegated { reviews, metrics: metrics.authorization })
}

async fn check(authorizer: &Authorizer, user: &UserInfo, path: &str) -> Result<(), ApiError> {
    authorizer.check(user, &Attributes::new(&Method::GET, path, &Query::default())).await
}

const NODES: &str = "/apis/metrics.k8s.io/v1/nodes";

#[tokio::test(start_paused = true)]
async fn c077_the_cluster_is_asked_about_anonymous_callers_too() {
    let (cluster, authorizer) = delegated(json!({"allowed": true}));
    assert_eq!(check(&authorizer, &UserInfo::anonymous(), NODES).await, Ok(()));
    let asked = &cluster.calls()[0].1["spec"];
    assert_eq!(
        (&asked["user"], &asked["groups"]),
        (&json!("system:anonymous"), &json!(["system:unauthenticated"]))
    );
}

#[tokio::test(start_paused = true)]
async fn c078_c088_probes_and_masters_are_not_asked_about() {
    let (cluster, authorizer) = delegated(json!({"allowed": false}));
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(check(&authorizer, &UserInfo::anonymous(), path).await, Ok(()));
    }
    assert_eq!(check(&authorizer, &UserInfo::new("root", &["g", MASTERS]), NODES).await, Ok(()));
    assert!(cluster.calls().is_empty());
    assert!(check(&authorizer, &UserInfo::anonymous(), "/readyz/ping").await.is_err());
    assert_eq!(cluster.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn c086_a_refusal_says_why_and_a_failure_says_nothing_of_itself() {
    let (cluster, authorizer) = delegated(json!({"allowed": false, "reason": "not today"}));
    let user = UserInfo::new("view", &[]);
    let error = check(&authorizer, &user, NODES).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nodes.metrics.k8s.io is forbidden: User \"view\" cannot list resource \"nodes\" in API group \
         \"metrics.k8s.io\" at the cluster scope: not today"
    );
    let error = check(&authorizer, &user, "/metrics").await.unwrap_err();
    assert_eq!(error.to_string(), "forbidden: User \"view\" cannot get path \"/metrics\": not today");
    cluster.set(|_, _| failure(500));
    let error = check(&authorizer, &user, "/version").await.unwrap_err();
    assert_eq!(error, ApiError::Internal("whether this is allowed could not be found out"));
    assert_eq!(error.code(), 500);
}

#[tokio::test(start_paused = true)]
async fn c087_allowed_and_denied_is_denied() {
    let (_, authorizer) = delegated(json!({"allowed": true, "denied": true}));
    let outcome = check(&authorizer, &UserInfo::new("view", &[]), NODES).await;
    assert!(matches!(outcome, Err(ApiError::Forbidden { .. })), "{outcome:?}");
}
