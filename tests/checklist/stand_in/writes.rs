//! The stand-in takes writes as an API server does.

use bytes::Bytes;
use http::{Request, header::AUTHORIZATION};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{DEADLINE, json_of, stand_in};
use crate::apiserver::{
    AGGREGATOR, AGGREGATOR_TOKEN, ApiServer,
    access::{Access, Grant},
    faults::Wrong,
};

const MERGE: &str = "application/merge-patch+json";
const SECRETS: &str = "/api/v1/namespaces/ns/secrets";

/// Sends one request, as `METHOD PATH`, and returns status and document.
async fn send(api: &ApiServer, token: &str, what: &str, kind: &str, body: &Value) -> (u16, Value) {
    let (method, path) = what.split_once(' ').unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", kind)
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let mut connection = api.target().http1(None).await.unwrap();
    json_of(connection.send(request).await.unwrap()).await
}

async fn root(api: &ApiServer, what: &str, body: &Value) -> (u16, Value) {
    send(api, "root", what, "application/json", body).await
}

fn secret(value: &str) -> Value {
    json!({"metadata": {"name": "s"}, "data": {"key": value}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_created_once_and_replaced_by_who_has_seen_it() {
    let api = stand_in();
    let (status, first) = root(&api, &format!("POST {SECRETS}"), &secret("YQ==")).await;
    assert_eq!(
        (status, &first["kind"], &first["metadata"]["namespace"]),
        (201, &json!("Secret"), &json!("ns"))
    );
    let (status, again) = root(&api, &format!("POST {SECRETS}"), &secret("Yg==")).await;
    assert_eq!((status, &again["reason"]), (409, &json!("AlreadyExists")));

    let one = format!("PUT {SECRETS}/s");
    let mut second = first.clone();
    second["data"]["key"] = json!("Yg==");
    let (status, second) = root(&api, &one, &second).await;
    assert_eq!(status, 200);
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let (status, stale) = root(&api, &one, &first).await;
    assert_eq!((status, &stale["reason"]), (409, &json!("Conflict")));
    // What changes nothing has no new version.
    let (_, same) = root(&api, &one, &second).await;
    assert_eq!(same["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);

    assert_eq!(root(&api, &format!("DELETE {SECRETS}/s"), &json!({})).await.0, 200);
    assert_eq!(root(&api, &format!("GET {SECRETS}/s"), &json!({})).await.0, 404);
    assert_eq!(root(&api, &one, &secret("YQ==")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_change_what_they_name() {
    let api = stand_in();
    let services = api.cluster.objects("apiregistration.k8s.io", "apiservices");
    services
        .put(json!({"metadata": {"name": "v1.x"}, "spec": {"group": "x", "insecureSkipTLSVerify": true}}));
    let version = services.get("", "v1.x").unwrap()["metadata"]["resourceVersion"].clone();
    let path = "PATCH /apis/apiregistration.k8s.io/v1/apiservices/v1.x";
    let merge = json!({"metadata": {"resourceVersion": version},
        "spec": {"caBundle": "YQ==", "insecureSkipTLSVerify": null}});
    let (status, patched) = send(&api, "root", path, MERGE, &merge).await;
    assert_eq!((status, &patched["spec"]), (200, &json!({"group": "x", "caBundle": "YQ=="})));
    let (status, _) = send(&api, "root", path, MERGE, &merge).await;
    assert_eq!(status, 409, "it has seen an older one");

    let operations = json!([{"op": "test", "path": "/spec/caBundle", "value": "YQ=="},
        {"op": "replace", "path": "/spec/caBundle", "value": "Yg=="},
        {"op": "remove", "path": "/spec/group"}]);
    let (status, patched) = send(&api, "root", path, "application/json-patch+json", &operations).await;
    assert_eq!((status, &patched["spec"]), (200, &json!({"caBundle": "Yg=="})));
    assert_eq!(send(&api, "root", path, "application/json-patch+json", &operations).await.0, 422);

    let applied = json!({"metadata": {"name": "c"}, "data": {"a": "1"}});
    let path = "PATCH /api/v1/namespaces/ns/configmaps/c";
    let apply = "application/apply-patch+yaml";
    api.cluster.grant(Grant::new("root", &["patch"], "", "configmaps"));
    assert_eq!(send(&api, "root", path, apply, &applied).await.0, 400);
    let path = format!("{path}?fieldManager=m");
    assert_eq!(send(&api, "root", &path, apply, &applied).await.0, 201);
    assert_eq!(send(&api, "root", &path, apply, &applied).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aggregator_may_what_it_was_granted_and_all_it_asks_is_kept() {
    let api = stand_in();
    let get = format!("GET {SECRETS}/s");
    let ask =
        async |what: &str| send(&api, AGGREGATOR_TOKEN, what, "application/json", &secret("YQ==")).await.0;
    assert_eq!(ask(&get).await, 403);
    api.cluster.grant(Grant::new(AGGREGATOR, &["get"], "", "secrets").namespace("ns").names(&["s"]));
    assert_eq!(ask(&get).await, 404);
    assert_eq!(ask(&format!("POST {SECRETS}")).await, 403);
    api.cluster.grant(Grant::new(AGGREGATOR, &["create"], "", "secrets").namespace("ns"));
    assert_eq!(ask(&format!("POST {SECRETS}")).await, 201);
    assert_eq!((ask(&get).await, ask(&format!("GET {SECRETS}/t")).await), (200, 403));
    let last = api.cluster.accesses(AGGREGATOR).pop().unwrap();
    let text = str::to_owned;
    let expected = Access {
        user: text(AGGREGATOR),
        verb: "get",
        group: text(""),
        resource: text("secrets"),
        namespace: text("ns"),
        name: text("t"),
    };
    assert_eq!(last, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_wrong_as_often_as_wanted() {
    let api = stand_in();
    let faults = &api.cluster.faults;
    faults.fail("list", "secrets", 2, Wrong::Status(500));
    let list = async || root(&api, &format!("GET {SECRETS}"), &json!({})).await.0;
    assert_eq!((list().await, list().await, list().await), (500, 500, 200));
    faults.fail("list", "secrets", usize::MAX, Wrong::Hang);
    let hung = tokio::time::timeout(std::time::Duration::from_millis(200), list()).await;
    assert!(hung.is_err());
    faults.recover();
    assert_eq!(tokio::time::timeout(DEADLINE, list()).await.unwrap(), 200);
}
