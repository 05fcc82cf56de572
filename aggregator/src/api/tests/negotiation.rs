//! Which representation a client gets, of objects and of errors.

use super::*;

const TABLE_V1: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const TABLE_V1BETA1: &str = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn content_type(answer: &Answer) -> &str {
    answer.headers[header::CONTENT_TYPE].to_str().unwrap()
}

#[tokio::test]
async fn c039_no_or_any_accept_header_means_json() {
    for accept in ["", "*/*"] {
        let answer = accepting(&nodes(), accept).await;
        assert_eq!(content_type(&answer), "application/json", "{accept:?}");
        assert_eq!(answer.names(), ["n1", "n2"]);
    }
    assert_eq!(content_type(&get(&nodes()).await), "application/json");
}

#[tokio::test]
async fn c040_yaml_and_protobuf_are_served() {
    let answer = accepting(&format!("{}/n1", nodes()), YAML).await;
    assert_eq!(content_type(&answer), YAML);
    assert!(answer.text().starts_with("apiVersion: metrics.k8s.io/v1beta1\nkind: NodeMetrics\n"));
    for path in [nodes(), format!("{}/n1", nodes()), format!("{GROUP}/v1/pods")] {
        let answer = accepting(&path, PROTOBUF).await;
        assert_eq!(content_type(&answer), PROTOBUF);
        assert!(answer.body.starts_with(b"k8s\0\x0a"), "{path}");
        assert!(answer.body.ends_with(b"\x1a\0\x22\0"), "{path}");
    }
}

#[tokio::test]
async fn c041_the_best_clause_wins() {
    let kubectl_top = accepting(&nodes(), "application/vnd.kubernetes.protobuf, */*").await;
    assert_eq!(content_type(&kubectl_top), PROTOBUF);
    let weighted = accepting(&nodes(), "application/json;q=0.1,application/yaml;q=0.9").await;
    assert_eq!(content_type(&weighted), YAML);
}

#[tokio::test]
async fn c042_what_nobody_offers_is_not_acceptable() {
    assert_eq!(content_type(&accepting(&nodes(), "text/html, */*;q=0.1").await), "application/json");
    let answer = accepting(&nodes(), "text/html").await;
    assert!(answer.is_status(406, "NotAcceptable"));
    assert_eq!(content_type(&answer), "application/json");
    assert_eq!(
        answer.at("/message"),
        "406: Not Acceptable\n\nAvailable representations: \
         application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
    assert_eq!(answer.at("/details"), serde_json::json!({}));
}

#[tokio::test]
async fn c043_cbor_is_not_offered_but_may_be_asked_for_beside_json() {
    assert!(accepting(&nodes(), "application/cbor").await.is_status(406, "NotAcceptable"));
    assert_eq!(accepting(&nodes(), "application/cbor,application/json").await.names(), ["n1", "n2"]);
}

#[tokio::test]
async fn c044_unknown_parameters_are_ignored() {
    for accept in
        ["application/json;charset=utf-8", "application/json;foo=bar", "application/json;stream=watch"]
    {
        assert_eq!(accepting(&nodes(), accept).await.names(), ["n1", "n2"], "{accept}");
    }
    // Better than a Go server, which refuses it.
    assert_eq!(accepting(&nodes(), "application/*").await.names(), ["n1", "n2"]);
}

#[tokio::test]
async fn c045_kubectl_get_is_given_a_table() {
    let answer = accepting(&nodes(), &format!("{TABLE_V1},{TABLE_V1BETA1},application/json")).await;
    assert_eq!(content_type(&answer), "application/json");
    assert_eq!(answer.at("/kind"), "Table");
    assert_eq!(answer.at("/apiVersion"), "meta.k8s.io/v1");
    let names: Vec<Value> =
        (0..4).map(|column| answer.at(&format!("/columnDefinitions/{column}/name"))).collect();
    assert_eq!(names, ["Name", "cpu", "memory", "Window"]);
    assert_eq!(answer.at("/rows/0/cells"), serde_json::json!(["n1", "2", "2Gi", "15s"]));
    assert_eq!(answer.at("/rows/0/object/kind"), "PartialObjectMetadata");
    // Pods sum their containers.
    let pods = accepting(&format!("{GROUP}/v1/pods"), TABLE_V1).await;
    assert_eq!(pods.at("/rows/0/cells"), serde_json::json!(["web-1", "123m", "80Mi", "15.006s"]));
    let one = accepting(&format!("{}/n1", nodes()), TABLE_V1).await;
    assert_eq!(one.at("/rows/0/cells/0"), "n1");
    assert_eq!(one.at("/rows/1"), Value::Null);
}

#[tokio::test]
async fn c046_tables_come_in_the_older_version_too() {
    let answer = accepting(&nodes(), TABLE_V1BETA1).await;
    assert_eq!(answer.at("/apiVersion"), "meta.k8s.io/v1beta1");
    assert_eq!(answer.at("/rows/0/object/apiVersion"), "meta.k8s.io/v1beta1");
    let yaml = accepting(&nodes(), "application/yaml;as=Table;v=v1beta1;g=meta.k8s.io").await;
    assert!(yaml.text().contains("\nkind: Table\n"), "{}", yaml.text());
}

#[tokio::test]
async fn c047_there_are_no_other_tables() {
    for accept in [
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
        "application/json;as=Table;v=v2;g=meta.k8s.io",
        "application/json;as=Table;v=v1;g=foo",
        "application/json;as=Table",
        "application/json;as=Foo;v=v1;g=meta.k8s.io",
    ] {
        let answer = accepting(&nodes(), accept).await;
        assert!(answer.is_status(406, "NotAcceptable"), "{accept}");
        assert_eq!(
            answer.at("/message"),
            "only the following media types are accepted: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
        assert_eq!(answer.at("/details"), Value::Null);
    }
}

#[tokio::test]
async fn c048_an_empty_table_has_neither_columns_nor_rows() {
    let answer = accepting(&format!("{GROUP}/v1/namespaces/none/pods"), TABLE_V1).await;
    assert_eq!(
        answer.text(),
        "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\
         \"columnDefinitions\":null,\"rows\":null}\n"
    );
}

#[tokio::test]
async fn c049_a_table_includes_as_much_of_the_objects_as_asked() {
    let object = async |query: &str| {
        accepting(&format!("{}?includeObject={query}", nodes()), TABLE_V1).await.at("/rows/0/object")
    };
    let whole = object("Object").await;
    assert_eq!(whole["kind"], "NodeMetrics");
    assert_eq!(whole["apiVersion"], "metrics.k8s.io/v1beta1");
    assert_eq!(whole["usage"]["cpu"], "2");
    assert_eq!(object("None").await, Value::Null);
    assert_eq!(object("Metadata").await, object("").await);
    for path in [nodes(), format!("{}/n1", nodes())] {
        let bogus = accepting(&format!("{path}?includeObject=bogus"), TABLE_V1).await;
        assert!(bogus.is_status(400, "BadRequest"));
        assert_eq!(
            bogus.at("/message"),
            "Unable to convert to Table as requested: includeObject: Invalid value: \"bogus\": \
             must be 'Metadata', 'Object', 'None', or empty"
        );
    }
    // Only tables have it.
    assert_eq!(get(&format!("{}?includeObject=bogus", nodes())).await.code, 200);
}

fn partial(media_type: &str, kind: &str, version: &str) -> String {
    format!("{media_type};as={kind};v={version};g=meta.k8s.io")
}

#[tokio::test]
async fn c050_metadata_can_be_asked_for_alone_in_the_right_shape() {
    let (pods, node) = (format!("{GROUP}/v1/pods"), format!("{}/n1", nodes()));
    for version in VERSIONS {
        let list = partial("application/json", "PartialObjectMetadataList", version);
        let one = partial("application/json", "PartialObjectMetadata", version);
        let answer = accepting(&pods, &list).await;
        assert_eq!(answer.at("/kind"), "PartialObjectMetadataList");
        assert_eq!(answer.at("/apiVersion"), format!("meta.k8s.io/{version}"));
        assert_eq!(answer.names(), ["web-1", "web-2", "dns"]);
        assert_eq!(answer.at("/items/0/kind"), "PartialObjectMetadata");
        assert_eq!(answer.at("/items/0/containers"), Value::Null);
        assert_eq!(accepting(&node, &one).await.at("/metadata/labels/zone"), "a");
        // The wrong shape.
        let refused = accepting(&pods, &one).await;
        assert!(refused.is_status(406, "NotAcceptable"));
        assert_eq!(
            refused.at("/message"),
            "you requested PartialObjectMetadata, but the requested object is a list (*metrics.PodMetricsList)"
        );
        let refused = accepting(&node, &list).await;
        assert!(refused.is_status(406, "NotAcceptable"));
        assert_eq!(
            refused.at("/message"),
            "you requested PartialObjectMetadataList, but the requested object is not a list (*metrics.NodeMetrics)"
        );
    }
}

#[tokio::test]
async fn c051_metadata_comes_as_protobuf_too() {
    let node = format!("{}/n1", nodes());
    let answer = accepting(&node, &partial(PROTOBUF, "PartialObjectMetadata", "v1")).await;
    assert_eq!(content_type(&answer), PROTOBUF);
    assert!(answer.body.starts_with(b"k8s\0\x0a\x27\x0a\x0emeta.k8s.io/v1\x12\x15PartialObjectMetadata\x12"));
}

#[tokio::test]
async fn c052_errors_come_as_the_client_reads_and_keep_their_code() {
    let missing = format!("{}/nosuch", nodes());
    let bad = format!("{}?limit=abc", nodes());
    for (path, code) in [(&missing, 404), (&bad, 400)] {
        let yaml = accepting(path, YAML).await;
        assert_eq!((yaml.code.as_u16(), content_type(&yaml)), (code, YAML));
        assert!(yaml.text().starts_with("apiVersion: v1\ncode: "), "{}", yaml.text());
        let protobuf = accepting(path, "application/vnd.kubernetes.protobuf, */*").await;
        assert_eq!((protobuf.code.as_u16(), content_type(&protobuf)), (code, PROTOBUF));
        assert!(protobuf.body.starts_with(b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12"));
        // Nothing that fits: indented JSON.
        for accept in [TABLE_V1, "text/html"] {
            let answer = accepting(path, accept).await;
            let code = if accept == "text/html" { 406 } else { code };
            assert_eq!((answer.code.as_u16(), content_type(&answer)), (code, "application/json"));
            assert!(answer.text().starts_with("{\n  \"kind\": \"Status\",\n"), "{}", answer.text());
        }
    }
    // What comes before negotiation keeps its code.
    let answer = accepting(&format!("{GROUP}/v1/foos"), "text/html").await;
    assert!(answer.is_status(404, "NotFound"), "{}", answer.text());
    assert_eq!(content_type(&answer), "application/json");
}

#[tokio::test]
async fn c055_people_get_indented_text() {
    let indented = |answer: Answer| answer.text().starts_with("{\n  \"kind\"");
    assert!(indented(get(&format!("{}?pretty=true", nodes())).await));
    assert!(indented(get_with(&nodes(), header::USER_AGENT, "curl/8.1").await));
    assert!(!indented(get_with(&format!("{}?pretty=false", nodes()), header::USER_AGENT, "curl/8.1").await));
    assert!(!indented(get(&nodes()).await));
    assert!(indented(accepting(&nodes(), "application/json;pretty=1").await));
    // Only JSON has two forms.
    let yaml = format!("{}?pretty=true", nodes());
    assert_eq!(accepting(&yaml, YAML).await.body, accepting(&nodes(), YAML).await.body);
}

#[tokio::test]
async fn c056_every_response_has_an_audit_id_and_is_not_cached() {
    let name = http::HeaderName::from_static("audit-id");
    for path in [nodes(), "/nosuch".to_owned(), "/readyz".to_owned()] {
        let answer = get(&path).await;
        assert_eq!(answer.headers[&name].len(), 36);
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-cache, private");
    }
    assert_eq!(get_with(&nodes(), name.clone(), "x").await.headers[&name], "x");
    assert_eq!(get_with(&nodes(), name.clone(), "").await.headers[&name].len(), 36);
}
