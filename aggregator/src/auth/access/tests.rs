use http::Method;

use super::*;
use crate::{
    api::query::Query,
    auth::user::{AUTHENTICATED, MASTERS},
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
