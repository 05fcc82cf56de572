use prost::Message as _;

use super::*;
use crate::api::{discovery::messages, encode::envelope::envelope};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const V9: &str = "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList";

#[tokio::test]
async fn c001_groups_are_listed() {
    let answer = get("/apis").await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.at("/kind"), "APIGroupList");
    assert_eq!(answer.at("/apiVersion"), "v1");
    assert_eq!(answer.at("/groups").as_array().unwrap().len(), 1);
    assert_eq!(answer.at("/groups/0/versions/1/version"), "v1beta1");
    assert_eq!(answer.at("/groups/0/preferredVersion/version"), "v1");
    // Caches must not mix it up with the aggregated list.
    assert_eq!(answer.headers[header::VARY], "Accept");
}

#[tokio::test]
async fn c002_the_aggregated_list_can_be_kept_and_revalidated() {
    let answer = accepting("/apis", V2).await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.headers[header::CONTENT_TYPE], V2);
    assert_eq!(answer.headers[header::VARY], "Accept");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "public");
    let etag = answer.headers[header::ETAG].to_str().unwrap();
    let digits = etag.trim_matches('"');
    assert_eq!((etag.len(), digits.len()), (130, 128));
    assert!(digits.chars().all(|digit| matches!(digit, '0'..='9' | 'A'..='F')), "{etag}");
    assert_eq!(
        answer.text(),
        concat!(
            r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":["#,
            r#"{"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1","resources":["#,
            r#"{"resource":"nodes","responseKind":{"group":"","version":"","kind":"NodeMetrics"},"#,
            r#""scope":"Cluster","singularResource":"","verbs":["get","list"]},"#,
            r#"{"resource":"pods","responseKind":{"group":"","version":"","kind":"PodMetrics"},"#,
            r#""scope":"Namespaced","singularResource":"","verbs":["get","list"]}],"freshness":"Current"},"#,
            r#"{"version":"v1beta1","resources":["#,
            r#"{"resource":"nodes","responseKind":{"group":"","version":"","kind":"NodeMetrics"},"#,
            r#""scope":"Cluster","singularResource":"","verbs":["get","list"]},"#,
            r#"{"resource":"pods","responseKind":{"group":"","version":"","kind":"PodMetrics"},"#,
            r#""scope":"Namespaced","singularResource":"","verbs":["get","list"]}],"freshness":"Current"}]}]}"#,
            "\n"
        )
    );
}

#[tokio::test]
async fn c003_parameters_may_stand_in_any_order() {
    let expected = accepting("/apis", V2).await;
    for parameters in [
        "as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io",
        "v=v2; as=APIGroupDiscoveryList; g=apidiscovery.k8s.io",
    ] {
        let answer = accepting("/apis", &format!("application/json;{parameters}")).await;
        assert_eq!(answer.code, 200);
        assert_eq!(answer.headers[header::CONTENT_TYPE], V2);
        assert_eq!(answer.body, expected.body);
    }
}

#[tokio::test]
async fn c004_the_first_version_that_a_client_names_wins() {
    // What kubectl and API servers send.
    let answer = accepting("/apis", &format!("{V2},{V2BETA1},application/json")).await;
    assert_eq!(answer.at("/apiVersion"), "apidiscovery.k8s.io/v2");
    let answer = accepting("/apis", &format!("{V2BETA1},application/json")).await;
    assert_eq!(answer.at("/apiVersion"), "apidiscovery.k8s.io/v2beta1");
}

#[tokio::test]
async fn c005_v2beta1_is_served_to_old_api_servers() {
    // Better than a Go server of today, which answers 406 and is asked again.
    let answer = accepting("/apis", V2BETA1).await;
    assert_eq!(
        (answer.code, answer.headers[header::CONTENT_TYPE].to_str().unwrap()),
        (StatusCode::OK, V2BETA1)
    );
    assert_eq!(answer.at("/items"), accepting("/apis", V2).await.at("/items"));
}

#[tokio::test]
async fn c006_an_unknown_transformation_falls_back_to_the_plain_list() {
    let answer = accepting("/apis", &format!("{V9},application/json")).await;
    assert_eq!(answer.at("/kind"), "APIGroupList");
}

#[tokio::test]
async fn c007_an_unknown_transformation_alone_is_not_acceptable() {
    let answer = accepting("/apis", V9).await;
    assert!(answer.is_status(406, "NotAcceptable"), "{}", answer.text());
}

#[tokio::test]
async fn c008_only_the_present_etag_is_not_modified() {
    let etag = accepting("/apis", V2).await.headers[header::ETAG].to_str().unwrap().to_owned();
    let with = async |accept: &str, known: &str| {
        let mut request = request(&Method::GET, "/apis");
        request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
        request.headers_mut().insert(header::IF_NONE_MATCH, known.parse().unwrap());
        send(fixture::state(false), request).await
    };
    // One ETag stands for all representations.
    for accept in [V2, V2BETA1, &V2.replace("json", "vnd.kubernetes.protobuf")] {
        let answer = with(accept, &etag).await;
        assert_eq!((answer.code, answer.body.len()), (StatusCode::NOT_MODIFIED, 0), "{accept}");
        assert_eq!(answer.headers[header::ETAG], etag);
        assert_eq!(answer.headers[header::CACHE_CONTROL], "public");
        // It would be that of the document.
        assert!(!answer.headers.contains_key(header::CONTENT_LENGTH));
    }
    for other in ["\"X\"", &etag.to_lowercase(), etag.trim_matches('"'), &format!("W/{etag}"), "*"] {
        assert_eq!(with(V2, other).await.code, 200, "{other}");
    }
    // The plain list has none.
    assert_eq!(with("application/json", &etag).await.code, 200);
}

#[tokio::test]
async fn c009_the_aggregated_list_as_protobuf_holds_the_same() {
    for (version, accept) in [("v2", V2), ("v2beta1", V2BETA1)] {
        let accept = accept.replace("json", "vnd.kubernetes.protobuf");
        let answer = accepting("/apis", &accept).await;
        assert_eq!(
            (answer.code, answer.headers[header::CONTENT_TYPE].to_str().unwrap()),
            (StatusCode::OK, accept.as_str())
        );
        let empty = envelope(&format!("apidiscovery.k8s.io/{version}"), "APIGroupDiscoveryList", &[]);
        let head = empty.len() - b"\x12\x00\x1a\x00\x22\x00".len();
        assert_eq!(answer.body[..head], empty[..head]);
        // The message's length takes two bytes; after it come two empty fields.
        let message = &answer.body[head + 3..answer.body.len() - 4];
        let list = messages::DiscoveryList::decode(message).unwrap();
        let expected: Value = accepting("/apis", V2).await.at("/items");
        assert_eq!(serde_json::to_value(&list.items).unwrap(), expected);
    }
}

#[tokio::test]
async fn c010_the_group_has_a_document_with_and_without_slash() {
    let answer = get(GROUP).await;
    assert_eq!(answer.at("/kind"), "APIGroup");
    assert_eq!(answer.at("/apiVersion"), "v1");
    assert_eq!(answer.at("/name"), "metrics.k8s.io");
    assert_eq!(get(&format!("{GROUP}/")).await.body, answer.body);
}

#[tokio::test]
async fn c011_each_version_lists_its_resources() {
    for version in VERSIONS {
        let answer = get(&format!("{GROUP}/{version}")).await;
        assert_eq!(answer.at("/groupVersion"), format!("metrics.k8s.io/{version}"));
        for (index, (name, kind)) in
            [("nodes", "NodeMetrics"), ("pods", "PodMetrics")].into_iter().enumerate()
        {
            let expected = serde_json::json!({
                "name": name, "singularName": "", "namespaced": name == "pods", "kind": kind,
                "verbs": ["get", "list"],
            });
            assert_eq!(answer.at(&format!("/resources/{index}")), expected);
        }
    }
}

#[tokio::test]
async fn plain_documents_come_as_yaml_and_protobuf_too() {
    for (path, kind) in
        [("/apis", "APIGroupList"), (GROUP, "APIGroup"), ("/apis/metrics.k8s.io/v1", "APIResourceList")]
    {
        let yaml = accepting(path, "application/yaml").await;
        assert_eq!(yaml.headers[header::CONTENT_TYPE], "application/yaml");
        assert!(yaml.text().contains(&format!("\nkind: {kind}\n")), "{}", yaml.text());
        let protobuf = accepting(path, "application/vnd.kubernetes.protobuf, */*").await;
        assert_eq!(protobuf.headers[header::CONTENT_TYPE], "application/vnd.kubernetes.protobuf");
        let head =
            [b"k8s\0\x0a".as_slice(), &[6 + u8::try_from(kind.len()).unwrap()], b"\x0a\x02v1\x12"].concat();
        assert!(protobuf.body.starts_with(&head), "{:?}", protobuf.body);
    }
}

#[tokio::test]
async fn c013_an_unknown_version_is_a_status() {
    let answer = get(&format!("{GROUP}/v2")).await;
    assert!(answer.is_status(404, "NotFound"));
    assert_eq!(answer.at("/details"), serde_json::json!({}));
}

#[tokio::test]
async fn c014_an_unknown_path_lists_the_known_ones() {
    for path in ["/api", "/nosuch", "/readyz/a/b"] {
        let answer = get(path).await;
        assert_eq!(answer.code, 404);
        assert_eq!(answer.at("/paths/0"), "/apis");
    }
    let index = get("/").await;
    assert_eq!(index.code, 200);
    let paths = index.at("/paths");
    for path in ["/apis/metrics.k8s.io/v1", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] {
        assert!(paths.as_array().unwrap().iter().any(|held| held == path), "{paths}");
    }
}

#[tokio::test]
async fn c015_the_version_names_the_build() {
    let answer = get("/version").await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.at("/gitVersion"), concat!("v", env!("CARGO_PKG_VERSION")));
    assert!(answer.text().starts_with("{\n"), "indented");
}

#[tokio::test]
async fn c038_the_group_is_spelled_in_lower_case() {
    assert_eq!(get("/apis/METRICS.k8s.io/v1beta1").await.code, 404);
}

#[tokio::test]
async fn the_core_api_of_standalone_is_aggregated_too() {
    let mut request = request(&Method::GET, "/api");
    request.headers_mut().insert(header::ACCEPT, V2.parse().unwrap());
    let answer = send(fixture::state(true), request).await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], V2);
    assert_eq!(answer.at("/items/0/metadata"), serde_json::json!({}));
    assert_eq!(answer.at("/items/0/versions/0/version"), "v1");
    assert_eq!(answer.at("/items/0/versions/0/resources/1/singularResource"), "node");
    let plain = get_core("/api").await;
    assert_eq!(plain.at("/serverAddressByClientCIDRs"), serde_json::json!([]));
}

#[tokio::test]
async fn a_client_of_another_make_reads_the_aggregated_lists_and_the_version() {
    let token: http::HeaderValue = format!("Bearer {TOKEN}").parse().unwrap();
    let service =
        router(fixture::state(true)).map_request(move |mut request: Request<kube::client::Body>| {
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
            request
        });
    let client = kube::Client::new(service, "default");
    assert_eq!(client.apiserver_version().await.unwrap().git_commit, kubevitals::COMMIT);
    let discovery = kube::Discovery::new(client).run_aggregated().await.unwrap();
    let group = discovery.get("metrics.k8s.io").unwrap();
    assert_eq!(group.preferred_version(), Some("v1"));
    let (resource, capabilities) = group.recommended_kind("PodMetrics").unwrap();
    assert_eq!((resource.plural.as_str(), resource.version.as_str()), ("pods", "v1"));
    assert_eq!(capabilities.scope, kube::discovery::Scope::Namespaced);
    assert!(capabilities.supports_operation("list") && !capabilities.supports_operation("watch"));
    assert!(discovery.has_group(""));
}
