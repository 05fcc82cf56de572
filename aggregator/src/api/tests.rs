//! The API request by request. A name that begins with `c029` is item 29 of the conformance checklist.

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use fixture::TOKEN;

mod negotiation;

const GROUP: &str = "/apis/metrics.k8s.io";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

struct Answer {
    code: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| unreachable!("{}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    fn names(&self) -> Vec<String> {
        let items = self.at("/items");
        let names = items
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.pointer("/metadata/name").and_then(Value::as_str).unwrap().to_owned());
        names.collect()
    }

    fn is_status(&self, code: u16, reason: &str) -> bool {
        self.code == code
            && self.at("/kind") == "Status"
            && self.at("/apiVersion") == "v1"
            && self.at("/status") == "Failure"
            && self.at("/reason") == reason
            && self.at("/code") == code
    }
}

async fn send(state: ApiState, request: Request<Body>) -> Answer {
    let response = router(state).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { code: parts.status, headers: parts.headers, body }
}

fn request(method: &Method, path: &str) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    builder.header(header::AUTHORIZATION, format!("Bearer {TOKEN}")).body(Body::empty()).unwrap()
}

async fn get(path: &str) -> Answer {
    send(fixture::state(false), request(&Method::GET, path)).await
}

async fn get_core(path: &str) -> Answer {
    send(fixture::state(true), request(&Method::GET, path)).await
}

async fn get_with(path: &str, name: http::HeaderName, value: &str) -> Answer {
    let mut request = request(&Method::GET, path);
    request.headers_mut().insert(name, value.parse().unwrap());
    send(fixture::state(false), request).await
}

async fn accepting(path: &str, accept: &str) -> Answer {
    get_with(path, header::ACCEPT, accept).await
}

fn nodes() -> String {
    format!("{GROUP}/v1beta1/nodes")
}

async fn node_names(query: &str) -> Vec<String> {
    get(&format!("{}?{query}", nodes())).await.names()
}

async fn pod_names(query: &str) -> Vec<String> {
    get(&format!("{GROUP}/v1/pods?{query}")).await.names()
}

mod discovery;
mod health;
mod openapi;

mod objects {
    use super::*;

    #[tokio::test]
    async fn c029_nodes_list_is_sorted_in_both_versions() {
        for version in VERSIONS {
            let answer = get(&format!("{GROUP}/{version}/nodes")).await;
            assert_eq!(answer.code, 200);
            assert_eq!(answer.at("/kind"), "NodeMetricsList");
            assert_eq!(answer.at("/apiVersion"), format!("metrics.k8s.io/{version}"));
            assert_eq!(answer.at("/metadata"), serde_json::json!({}));
            assert_eq!(answer.names(), ["n1", "n2"]);
        }
    }

    #[tokio::test]
    async fn c030_every_container_has_cpu_and_memory() {
        let answer = get(&format!("{GROUP}/v1/pods")).await;
        assert_eq!(answer.names(), ["web-1", "web-2", "dns"]);
        assert_eq!(
            answer.at("/items/0/containers/1"),
            serde_json::json!({"name": "proxy", "usage": {"cpu": "3m", "memory": "16Mi"}})
        );
    }

    #[tokio::test]
    async fn c031_a_namespace_without_pods_is_an_empty_list() {
        let answer = get(&format!("{GROUP}/v1/namespaces/none/pods")).await;
        assert_eq!((answer.code, answer.at("/items")), (StatusCode::OK, serde_json::json!([])));
    }

    #[tokio::test]
    async fn c032_one_node_has_its_time_and_window() {
        let answer = get(&format!("{GROUP}/v1/nodes/n1")).await;
        assert_eq!(answer.at("/timestamp"), "2026-11-22T09:47:25Z");
        assert_eq!(answer.at("/metadata/creationTimestamp"), "2026-11-22T09:47:26Z");
        assert_eq!(answer.at("/window"), "15s");
        assert_eq!(answer.at("/usage"), serde_json::json!({"cpu": "2", "memory": "2Gi"}));
    }

    #[tokio::test]
    async fn c033_missing_nodes_are_named() {
        let unknown = get(&format!("{GROUP}/v1/nodes/nosuch")).await;
        assert!(unknown.is_status(404, "NotFound"));
        assert_eq!(unknown.at("/details/name"), "nosuch");
        let silent = get(&format!("{GROUP}/v1/nodes/n3")).await;
        assert_eq!(silent.at("/message"), "nodemetrics.metrics.k8s.io \"n3\" not found");
    }

    #[tokio::test]
    async fn c034_missing_pods_are_named() {
        let unknown = get(&format!("{GROUP}/v1/namespaces/default/pods/nosuch")).await;
        assert!(unknown.is_status(404, "NotFound"));
        assert_eq!(unknown.at("/message"), "pods \"nosuch\" not found");
        let silent = get(&format!("{GROUP}/v1/namespaces/default/pods/web-3")).await;
        assert_eq!(silent.at("/message"), "podmetrics.metrics.k8s.io \"default/web-3\" not found");
    }

    #[tokio::test]
    async fn c035_slashes_at_the_end_and_escapes_are_understood() {
        assert_eq!(get(&format!("{}/", nodes())).await.names(), ["n1", "n2"]);
        for path in ["n1/", "%6e1"] {
            assert_eq!(get(&format!("{}/{path}", nodes())).await.at("/metadata/name"), "n1");
        }
    }

    #[tokio::test]
    async fn c036_other_paths_below_the_group_are_not_found() {
        for path in
            ["nodes/n1/status", "foos", "pods/web-1", "namespaces/default/nodes", "namespaces/default"]
        {
            let answer = get(&format!("{GROUP}/v1/{path}")).await;
            assert!(answer.is_status(404, "NotFound"), "{path}: {}", answer.text());
        }
        // c037 and c071.
        for path in ["namespaces//pods", "watch/nodes"] {
            assert!(get(&format!("{GROUP}/v1/{path}")).await.is_status(404, "NotFound"), "{path}");
        }
    }

    #[tokio::test]
    async fn c110_only_the_three_probes_themselves_need_no_place() {
        let mut state = fixture::state(false);
        state.in_flight = inflight::InFlight::new(1, prometheus_client::metrics::gauge::Gauge::default());
        let _taken = state.in_flight.place(false).unwrap();
        let code = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            send(state.clone(), request).await.code
        };
        for path in ["/livez", "/readyz", "/healthz", "/live%7a"] {
            assert_eq!(code(path).await, 200, "{path}");
        }
        // Whether anybody may ask for these the cluster must say first.
        for path in ["/livez/", "/readyz/", "/readyz/ping"] {
            assert_eq!(code(path).await, 429, "{path}");
        }
    }

    #[tokio::test]
    async fn c126_a_panic_is_one_requests_500() {
        let state = fixture::state(false);
        let get = async |path: &str| send(state.clone(), request(&Method::GET, path)).await;
        for path in ["nodes/panic", "namespaces/panic/pods"] {
            let answer = get(&format!("{GROUP}/v1/{path}")).await;
            assert!(answer.is_status(500, "InternalError"), "{}", answer.text());
        }
        assert_eq!(get(&nodes()).await.code, 200);
        let counted = get("/metrics").await.text();
        for (verb, resource) in [("GET", "nodes"), ("LIST", "pods")] {
            let labels =
                format!("verb=\"{verb}\",group=\"metrics.k8s.io\",version=\"v1\",resource=\"{resource}\"");
            let series = format!("apiserver_request_total{{{labels},subresource=\"\",code=\"500\"}} 1\n");
            assert!(counted.contains(&series), "{counted}");
        }
        // Neither places nor a shutdown wait for what panicked.
        state.in_flight.drain().await;
    }
}

mod parameters {
    use super::*;

    #[tokio::test]
    async fn c057_label_selectors_select() {
        assert_eq!(node_names("labelSelector=zone%3Da").await, ["n1"]);
        assert_eq!(node_names("labelSelector=zone+in+(a,b)").await, ["n1", "n2"]);
        assert_eq!(node_names("labelSelector=zone!%3Da").await, ["n2"]);
        assert_eq!(node_names("labelSelector=!zone").await, Vec::<String>::new());
        // c058: an absent label is not equal to anything; c059: blanks select everything.
        assert_eq!(pod_names("labelSelector=zone!%3Da").await, ["web-1", "web-2", "dns"]);
        assert_eq!(node_names("labelSelector=%20").await, ["n1", "n2"]);
    }

    #[tokio::test]
    async fn c059_a_bad_selector_is_a_bad_request_with_the_parsers_words() {
        let answer = get(&format!("{}?labelSelector=a%3Db,,c%3Dd", nodes())).await;
        assert!(answer.is_status(400, "BadRequest"));
        assert_eq!(answer.at("/message"), "found ',', expected: identifier after ','");
        assert_eq!(answer.at("/details"), Value::Null);
        for selector in
            [",", "a%3Db%3Dc", "zone+in+a", "zone+in+(a", "%3Db", "a%3Db+c", "a%3Cx", "foo/bar/baz", "/x"]
        {
            let answer = get(&format!("{}?labelSelector={selector}", nodes())).await;
            assert!(answer.is_status(400, "BadRequest"), "{selector}");
        }
    }

    #[tokio::test]
    async fn c061_field_selectors_select() {
        assert_eq!(pod_names("fieldSelector=metadata.name%3Dweb-1").await, ["web-1"]);
        assert_eq!(pod_names("fieldSelector=metadata.name!%3Dweb-1").await, ["web-2", "dns"]);
        assert_eq!(pod_names("fieldSelector=metadata.namespace%3Dkube-system").await, ["dns"]);
        assert_eq!(pod_names("fieldSelector=spec.nodeName%3Dn1").await, ["web-1", "dns"]);
        assert_eq!(node_names("fieldSelector=metadata.namespace%3D").await, ["n1", "n2"]);
        // c063.
        assert_eq!(pod_names("fieldSelector=metadata.name%3Da%5C,b").await, Vec::<String>::new());
        assert_eq!(node_names("fieldSelector=,").await, ["n1", "n2"]);
    }

    #[tokio::test]
    async fn c062_other_fields_are_bad_requests() {
        let answer = get(&format!("{}?fieldSelector=status.phase%3DRunning", nodes())).await;
        assert!(answer.is_status(400, "BadRequest"));
        assert_eq!(
            answer.at("/message"),
            "\"status.phase\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }

    #[tokio::test]
    async fn c064_both_selectors_must_hold() {
        assert_eq!(
            pod_names("labelSelector=app%3Dweb&fieldSelector=metadata.name!%3Dweb-1").await,
            ["web-2"]
        );
    }

    #[tokio::test]
    async fn c065_lists_are_always_complete() {
        for query in
            ["limit=1", "limit=0", "limit=-1", "continue=abc", "resourceVersion=abc", "resourceVersion=0"]
        {
            let answer = get(&format!("{}?{query}", nodes())).await;
            assert_eq!(answer.names(), ["n1", "n2"], "{query}");
            assert_eq!(answer.at("/metadata"), serde_json::json!({}));
        }
        assert!(get(&format!("{}?limit=abc", nodes())).await.is_status(400, "BadRequest"));
    }

    #[tokio::test]
    async fn c066_options_that_exclude_each_other_are_invalid() {
        let answer = get(&format!("{}?resourceVersionMatch=Exact", nodes())).await;
        assert!(answer.is_status(422, "Invalid"));
        assert_eq!(answer.at("/details/kind"), "ListOptions");
        assert_eq!(answer.at("/details/causes/0/field"), "resourceVersionMatch");
        // c067.
        let answer = get(&format!("{}?sendInitialEvents=true", nodes())).await;
        assert!(answer.is_status(422, "Invalid"));
    }

    #[tokio::test]
    async fn c067_timeouts_are_durations() {
        for bad in ["timeout=abc", "timeoutSeconds=abc"] {
            assert!(get(&format!("{}?{bad}", nodes())).await.is_status(400, "BadRequest"), "{bad}");
        }
        for good in ["timeout=32s", "timeout=1h", "timeout=0", "timeout=-1s", "unknown=1&%zz"] {
            assert_eq!(node_names(good).await, ["n1", "n2"], "{good}");
        }
    }

    #[tokio::test]
    async fn c069_a_watch_of_a_list_is_refused_and_c070_of_one_object_ignored() {
        for query in ["watch=true", "watch", "watch=1", "watch=true&sendInitialEvents=true"] {
            let answer = get(&format!("{}?{query}", nodes())).await;
            assert!(answer.is_status(405, "MethodNotAllowed"));
            assert_eq!(
                answer.at("/message"),
                "watch is not supported on resources of kind \"nodes.metrics.k8s.io\""
            );
            assert_eq!(
                answer.at("/details"),
                serde_json::json!({"group": "metrics.k8s.io", "kind": "nodes"})
            );
        }
        assert_eq!(get(&format!("{}/n1?watch=true&labelSelector=,", nodes())).await.code, 200);
    }
}

mod methods {
    use super::*;

    #[tokio::test]
    async fn c072_only_reading_is_allowed() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            // c074: documents too.
            for path in [nodes(), format!("{}/n1", nodes()), "/apis".to_owned(), "/version".to_owned()] {
                let answer = send(fixture::state(false), request(&method, &path)).await;
                assert!(answer.is_status(405, "MethodNotAllowed"), "{method} {path}");
                assert_eq!(answer.at("/details"), serde_json::json!({}));
            }
        }
    }

    #[tokio::test]
    async fn c073_head_has_the_headers_of_get_and_no_body() {
        let answer = send(fixture::state(false), request(&Method::HEAD, &nodes())).await;
        assert_eq!((answer.code, answer.body.len()), (StatusCode::OK, 0));
        let length = get(&nodes()).await.body.len();
        assert_eq!(answer.headers[header::CONTENT_LENGTH], length.to_string());
    }

    #[tokio::test]
    async fn c075_a_body_is_ignored() {
        let mut request = request(&Method::GET, &nodes());
        *request.body_mut() = Body::from("garbage");
        request.headers_mut().insert(header::CONTENT_TYPE, "text/foo".parse().unwrap());
        assert_eq!(send(fixture::state(false), request).await.code, 200);
    }
}

mod access {
    use super::*;

    async fn as_sent(path: &str, authorization: Option<&str>) -> Answer {
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        send(fixture::state(false), request).await
    }

    #[tokio::test]
    async fn c077_without_credentials_everything_but_probes_is_forbidden() {
        let answer = as_sent(&nodes(), None).await;
        assert!(answer.is_status(403, "Forbidden"));
        assert!(answer.at("/message").as_str().unwrap().contains("User \"system:anonymous\""));
        assert_eq!(answer.at("/details"), serde_json::json!({"group": "metrics.k8s.io", "kind": "nodes"}));
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        for path in ["/metrics", "/version", "/openapi/v2", "/apis", "/", "/nosuch"] {
            assert!(as_sent(path, None).await.is_status(403, "Forbidden"), "{path}");
        }
    }

    #[tokio::test]
    async fn c078_probes_answer_everybody() {
        for path in ["/healthz", "/livez", "/readyz"] {
            let answer = as_sent(path, None).await;
            assert_eq!((answer.code, answer.text().as_str()), (StatusCode::OK, "ok"));
        }
    }

    #[tokio::test]
    async fn c081_wrong_credentials_are_unauthorized_even_for_probes() {
        for path in [nodes(), "/readyz".to_owned()] {
            let answer = as_sent(&path, Some("Bearer wrong")).await;
            assert!(answer.is_status(401, "Unauthorized"));
            assert_eq!(answer.at("/message"), "Unauthorized");
            assert_eq!(answer.at("/details"), Value::Null);
            assert!(!answer.headers.contains_key(header::WWW_AUTHENTICATE));
        }
    }

    #[tokio::test]
    async fn c099_nobody_acts_as_somebody_else() {
        let name = http::HeaderName::from_static("impersonate-user");
        assert!(get_with(&nodes(), name, "root").await.is_status(403, "Forbidden"));
    }
}

mod core_api {
    use super::*;

    #[tokio::test]
    async fn it_serves_what_kubectl_top_looks_up() {
        assert_eq!(get_core("/api").await.at("/versions/0"), "v1");
        assert_eq!(get_core("/api/v1").await.at("/resources/1/name"), "nodes");
        assert_eq!(get_core("/api/v1/nodes").await.names(), ["n1", "n2", "n3"]);
        assert_eq!(get_core("/api/v1/nodes?labelSelector=zone%3Db").await.names(), ["n2", "n3"]);
        assert_eq!(get_core("/api/v1/nodes?fieldSelector=metadata.name%3Dn2").await.names(), ["n2"]);
        assert_eq!(get_core("/api/v1/nodes/n1").await.at("/status/allocatable/cpu"), "4");
        assert_eq!(get_core("/api/v1/namespaces").await.names(), ["default", "kube-system"]);
        assert_eq!(get_core("/api/v1/namespaces/default/pods").await.at("/items"), serde_json::json!([]));
    }

    #[tokio::test]
    async fn what_it_does_not_know_is_not_found() {
        for path in ["/api/v1/nodes/nosuch", "/api/v1/namespaces/default/pods/web-1", "/api/v1/secrets"] {
            assert!(get_core(path).await.is_status(404, "NotFound"), "{path}");
        }
        assert!(get_core("/api/v1/nodes?watch=1").await.is_status(405, "MethodNotAllowed"));
        assert_eq!(get("/api/v1/nodes").await.code, 404);
    }
}
