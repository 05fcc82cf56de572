//! The stand-in is what it says it is, as kubectl and plain requests see it.

#[path = "stand_in/writes.rs"]
mod writes;

use std::{
    collections::BTreeMap,
    process::{Command, Output},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::apiserver::{
    AGGREGATOR, AGGREGATOR_TOKEN, ApiServer,
    dial::Connection,
    make::{Pod, node},
    reviews::{Fault, User},
};

const DEADLINE: Duration = Duration::from_secs(20);

fn stand_in() -> ApiServer {
    let api = ApiServer::start();
    api.cluster.reviews.issue("root", User::new("root", &["system:masters"]));
    api.cluster.nodes.put(node("n1", &[("zone", "a")]));
    for name in ["web-1", "web-2"] {
        api.cluster.pods.put(Pod::new("default", name, "n1").label("app", name).object());
    }
    api
}

async fn ask(
    connection: &mut Connection,
    token: &str,
    path: &str,
    body: Option<Value>,
) -> Response<Incoming> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::new(Bytes::from(body.map_or_else(String::new, |body| body.to_string()))));
    connection.send(request.unwrap()).await.unwrap()
}

async fn json_of(response: Response<Incoming>) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The lines of a watch.
struct Events(Incoming);

impl Events {
    async fn next(&mut self) -> Option<Value> {
        let frame = timeout(DEADLINE, self.0.frame()).await.expect("an event in time")?.ok()?;
        Some(serde_json::from_slice(frame.data_ref().unwrap()).unwrap())
    }

    /// Type and name of the next one.
    async fn named(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_from_a_list_through_its_selector() {
    let api = stand_in();
    let mut connection = api.target().http1(None).await.unwrap();
    let path = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D%2Cstatus.phase%3DRunning";
    let (status, list) = json_of(ask(&mut connection, AGGREGATOR_TOKEN, path, None).await).await;
    assert_eq!((status, list["items"].as_array().unwrap().len()), (200, 2));
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("{path}&watch=true&allowWatchBookmarks=true&resourceVersion={version}");
    let mut events = Events(ask(&mut connection, AGGREGATOR_TOKEN, &watch, None).await.into_body());

    let pending = |pod: &mut Value| pod["status"]["phase"] = json!("Succeeded");
    api.cluster.pods.put(Pod::new("default", "web-3", "n1").object());
    api.cluster.pods.change("default", "web-3", pending);
    api.cluster.pods.change("default", "web-1", |pod| pod["metadata"]["labels"]["x"] = json!("y"));
    api.cluster.pods.delete("default", "web-2");
    assert_eq!(events.named().await, pair("ADDED", "web-3"));
    assert_eq!(events.named().await, pair("DELETED", "web-3"), "it left the selection");
    assert_eq!(events.named().await, pair("MODIFIED", "web-1"));
    assert_eq!(events.named().await, pair("DELETED", "web-2"));
    api.cluster.pods.bookmark();
    assert_eq!(events.named().await.0, "BOOKMARK");
    api.cluster.pods.compact();
    api.cluster.pods.put(Pod::new("default", "web-4", "n1").object());
    assert_eq!(events.named().await, pair("ADDED", "web-4"), "an open watch has seen what is compacted");
    api.cluster.pods.end_watches();
    assert_eq!(events.next().await, None);

    let mut connection = api.target().http1(None).await.unwrap();
    let mut late = Events(ask(&mut connection, AGGREGATOR_TOKEN, &watch, None).await.into_body());
    assert_eq!(late.next().await.unwrap()["object"]["code"], 410);
    assert_eq!(late.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_watches_may_begin_with_what_is_there() {
    let api = stand_in();
    let mut connection = api.target().http1(None).await.unwrap();
    let (_, first) = json_of(ask(&mut connection, "root", "/api/v1/pods?limit=1", None).await).await;
    let next = format!("/api/v1/pods?limit=1&continue={}", first["metadata"]["continue"].as_str().unwrap());
    let (_, second) = json_of(ask(&mut connection, "root", &next, None).await).await;
    let name = |page: &Value| page["items"][0]["metadata"]["name"].clone();
    assert_eq!((name(&first), name(&second)), (json!("web-1"), json!("web-2")));
    assert_eq!(second["metadata"].get("continue"), None);

    let path = "/api/v1/nodes?watch=1&timeoutSeconds=1&allowWatchBookmarks=true";
    let mut events = Events(ask(&mut connection, "root", path, None).await.into_body());
    assert_eq!(events.named().await, pair("ADDED", "n1"));
    assert_eq!(events.named().await.0, "BOOKMARK", "a watch that ends says how far it was");
    assert_eq!(events.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aggregator_may_do_what_its_roles_grant_and_no_more() {
    let api = stand_in();
    let mut connection = api.target().http2(None).await.unwrap();
    let url = |path: &str| format!("https://localhost/api/v1/{path}");
    let maps = "namespaces/kube-system/configmaps";
    let expected = [
        ("pods", 200),
        ("nodes", 200),
        ("namespaces", 403),
        ("configmaps", 403),
        (maps, 403),
        ("namespaces/kube-system/configmaps?watch=true", 403),
        ("namespaces/kube-system/configmaps/other", 403),
        ("namespaces/kube-system/configmaps/extension-apiserver-authentication", 200),
        (
            "namespaces/kube-system/configmaps?fieldSelector=metadata.name%3Dextension-apiserver-authentication",
            200,
        ),
    ];
    for (path, status) in expected {
        let response = ask(&mut connection, AGGREGATOR_TOKEN, &url(path), None).await;
        assert_eq!(response.status(), status, "{path}");
    }
    let response = ask(&mut connection, "nobody's", &url("pods"), None).await;
    assert_eq!(response.status(), 401);
    assert_eq!(api.cluster.seen(AGGREGATOR).len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_follow_the_rules_and_fail_on_command() {
    let api = stand_in();
    let reviews = &api.cluster.reviews;
    reviews.issue("alice's", User::new("alice", &["g1"]).extra("scopes", "view"));
    reviews.issue("agent's", User::new("agent", &[]).audience("kubevitals"));
    let mut connection = api.target().http2(None).await.unwrap();
    let path = "https://localhost/apis/authentication.k8s.io/v1/tokenreviews";
    let mut review = async |token: &str, audiences: Value| {
        let body = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
            "spec": {"token": token, "audiences": audiences}});
        json_of(ask(&mut connection, AGGREGATOR_TOKEN, path, Some(body)).await).await
    };
    let (status, answer) = review("alice's", json!(null)).await;
    assert_eq!((status, &answer["status"]["authenticated"]), (201, &json!(true)));
    assert_eq!(
        answer["status"]["user"],
        json!({"username": "alice", "groups": ["g1"], "extra": {"scopes": ["view"]}})
    );
    assert_eq!(review("unknown", json!(null)).await.1["status"].get("authenticated"), None);
    assert_eq!(review("agent's", json!(null)).await.1["status"].get("authenticated"), None);
    let (_, answer) = review("agent's", json!(["kubevitals", "other"])).await;
    assert_eq!(answer["status"]["audiences"], json!(["kubevitals"]));
    assert_eq!(review("", json!(null)).await.0, 422);
    assert_eq!(reviews.of_tokens.count(), 4);
    reviews.of_tokens.fail(Fault::Status(429));
    assert_eq!(review("alice's", json!(null)).await.0, 429);
    reviews.of_tokens.fail(Fault::Hang);
    assert!(timeout(Duration::from_millis(300), review("alice's", json!(null))).await.is_err());
    reviews.of_tokens.recover();
    assert_eq!(review("alice's", json!(null)).await.0, 201);

    let path = "https://localhost/apis/authorization.k8s.io/v1/subjectaccessreviews?timeout=10s";
    let body = |user: &str, verb: &str| {
        json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"user": user,
            "groups": ["readers"], "resourceAttributes": {"group": "metrics.k8s.io", "verb": verb}}})
    };
    for (user, verb, status, allowed) in
        [("u", "list", 201, json!(true)), ("u", "create", 201, json!(false)), ("", "list", 201, json!(true))]
    {
        let answer = ask(&mut connection, AGGREGATOR_TOKEN, path, Some(body(user, verb))).await;
        let (code, answer) = json_of(answer).await;
        assert_eq!((code, &answer["status"]["allowed"]), (status, &allowed), "{user} {verb}");
    }
    assert_eq!(reviews.of_access.received()[0].query, "timeout=10s");
    let refused = ask(&mut connection, "root", path, Some(body("u", "list"))).await;
    assert_eq!(refused.status(), 403, "only the aggregator reviews");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_and_are_refused_on_command() {
    let api = stand_in();
    let mut connection = api.target().http1(None).await.unwrap();
    let mut events = Events(ask(&mut connection, "root", "/api/v1/pods?watch=true", None).await.into_body());
    assert_eq!(events.named().await.0, "ADDED");
    assert_eq!(events.named().await.0, "ADDED");
    api.disconnect();
    assert_eq!(events.next().await, None);
    api.set_away(true);
    assert!(api.target().http1(None).await.is_err());
    api.set_away(false);
    assert!(api.target().http1(None).await.is_ok());
}

/// Runs kubectl as root of the cluster.
fn kubectl(api: &ApiServer, arguments: &[&str]) -> (Option<i32>, String) {
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = api.kubeconfig(files.path(), "root");
    let Output { status, stdout, stderr } = Command::new("kubectl")
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", files.path())
        .args(["--request-timeout=20s"])
        .args(arguments)
        .output()
        .expect("kubectl is installed");
    let text = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (status.code(), text.concat())
}

#[test]
fn kubectl_finds_its_way() {
    let api = stand_in();
    for (arguments, expected) in [
        (&["get", "nodes"][..], "n1"),
        (&["get", "pods", "-o", "name"], "pod/web-1\npod/web-2\n"),
        (&["get", "pods", "-A", "-l", "app in (web-2)"], "web-2"),
        (&["get", "pods", "--field-selector", "metadata.name=web-1"], "web-1"),
        (&["describe", "pod", "web-1"], "registry.test/app:1"),
        (&["get", "ns"], "kube-system"),
        (&["api-versions"], "authorization.k8s.io/v1"),
        (&["auth", "can-i", "list", "pods"], "yes"),
        (&["version"], "v1.36.0"),
    ] {
        let (code, text) = kubectl(&api, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn without_a_server_behind_it_the_group_is_unavailable() {
    let api = stand_in();
    let (code, text) = kubectl(&api, &["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("currently unable to handle the request"), "{text}");
    let statuses: BTreeMap<u16, usize> =
        api.poll(crate::apiserver::poll::Release::Both).iter().fold(BTreeMap::new(), |mut all, polled| {
            *all.entry(polled.status).or_default() += 1;
            all
        });
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&0]);
}
