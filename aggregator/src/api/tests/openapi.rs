use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;

const V3: &str = "/openapi/v3/apis/metrics.k8s.io";
const PROTOBUF2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF3: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

fn etag(answer: &Answer) -> &str {
    answer.headers[header::ETAG].to_str().unwrap()
}

#[tokio::test]
async fn c018_version_2_is_one_document_that_can_be_revalidated() {
    let answer = get("/openapi/v2").await;
    assert_eq!((answer.code, answer.at("/swagger")), (StatusCode::OK, "2.0".into()));
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    assert!(answer.headers.contains_key(header::LAST_MODIFIED));
    assert!(answer.headers[header::VARY].to_str().unwrap().contains("Accept-Encoding"));
    assert_eq!(etag(&answer).len(), 130);
    for known in [etag(&answer).to_owned(), format!("\"x\", W/{}", etag(&answer))] {
        let again = get_with("/openapi/v2", header::IF_NONE_MATCH, &known).await;
        assert_eq!((again.code, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(etag(&again), etag(&answer));
    }
    assert_eq!(get_with("/openapi/v2", header::IF_NONE_MATCH, "\"x\"").await.code, 200);
}

#[tokio::test]
async fn c019_version_2_comes_as_protobuf_and_nothing_else() {
    for accept in [PROTOBUF2, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"] {
        let answer = accepting("/openapi/v2", accept).await;
        assert_eq!(answer.code, 200);
        assert_eq!(answer.headers[header::CONTENT_TYPE], PROTOBUF2);
        // Field 1, the version of the format.
        assert!(answer.body.windows(5).any(|bytes| bytes == b"\x0a\x032.0"));
    }
    let answer = accepting("/openapi/v2", "text/html").await;
    assert_eq!((answer.code, answer.body.len()), (StatusCode::NOT_ACCEPTABLE, 0));
    assert_eq!(accepting("/openapi/v2", "text/html, */*;q=0.1").await.code, 200);
}

#[tokio::test]
async fn c020_documents_are_compressed_for_whoever_asks() {
    for path in ["/openapi/v2", "/openapi/v3", &format!("{V3}/v1"), "/openapi/v3/version"] {
        let plain = get(path).await;
        assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
        let answer = get_with(path, header::ACCEPT_ENCODING, "gzip").await;
        assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
        assert_eq!(answer.headers[header::CONTENT_LENGTH], answer.body.len().to_string());
        let mut unpacked = Vec::new();
        GzDecoder::new(answer.body.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain.body, "{path}");
    }
}

#[tokio::test]
async fn c021_version_3_lists_its_documents_with_their_hashes() {
    let answer = get("/openapi/v3").await;
    let paths = answer.at("/paths");
    let names: Vec<&String> = paths.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["apis", "apis/metrics.k8s.io", "apis/metrics.k8s.io/v1", "apis/metrics.k8s.io/v1beta1", "version"]
    );
    for (name, entry) in paths.as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let (path, hash) = url.split_once("?hash=").unwrap();
        assert_eq!(path, format!("/openapi/v3/{name}"));
        assert_eq!(hash.len(), 128);
    }
    let again = get_with("/openapi/v3", header::IF_NONE_MATCH, etag(&answer)).await;
    assert_eq!(again.code, 304);
}

#[tokio::test]
async fn c022_a_document_at_its_hash_may_be_kept_for_ever() {
    let index = get("/openapi/v3").await.at("/paths");
    for entry in index.as_object().unwrap().values() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let (_, hash) = url.split_once("?hash=").unwrap();
        // With the time limit that kubectl adds.
        let answer = get(&format!("{url}&timeout=32s")).await;
        assert_eq!((answer.code, answer.at("/openapi")), (StatusCode::OK, "3.0.0".into()));
        assert_eq!(answer.headers[header::CACHE_CONTROL], "public, immutable");
        // A year after the fixture's time.
        assert_eq!(answer.headers[header::EXPIRES], "Mon, 22 Nov 2027 09:47:26 GMT");
        assert_eq!(etag(&answer), format!("\"{hash}\""));
    }
}

#[tokio::test]
async fn c023_a_stale_hash_gets_the_present_document_and_no_redirect() {
    // Better than a Go server: its redirect becomes a 502 at the API server in between.
    let answer = get(&format!("{V3}/v1?hash=ABC")).await;
    assert_eq!((answer.code, answer.at("/openapi")), (StatusCode::OK, "3.0.0".into()));
    assert!(!answer.headers.contains_key(header::LOCATION));
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-cache");
    assert!(!answer.headers.contains_key(header::EXPIRES));
}

#[tokio::test]
async fn c024_a_document_without_hash_can_be_revalidated() {
    for version in VERSIONS {
        let path = format!("{V3}/{version}");
        let answer = get(&path).await;
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-cache");
        let again = get_with(&path, header::IF_NONE_MATCH, etag(&answer)).await;
        assert_eq!((again.code, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
}

#[tokio::test]
async fn c025_version_3_comes_as_protobuf_under_the_same_etag() {
    let json = get(&format!("{V3}/v1beta1")).await;
    for accept in [PROTOBUF3, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"] {
        let answer = accepting(&format!("{V3}/v1beta1"), accept).await;
        assert_eq!(
            (answer.code, answer.headers[header::CONTENT_TYPE].to_str().unwrap()),
            (StatusCode::OK, PROTOBUF3)
        );
        assert_eq!(etag(&answer), etag(&json));
        assert_ne!(answer.body, json.body);
    }
    assert_eq!(accepting(&format!("{V3}/v1"), "text/html").await.code, 406);
}

#[tokio::test]
async fn c026_an_unknown_document_is_a_status() {
    // Better than a Go server, which answers 200 with nothing.
    for path in ["/openapi/v3/nope", "/openapi/v3/apis/metrics.k8s.io/v2", "/openapi/v3/api/v1"] {
        assert!(get(path).await.is_status(404, "NotFound"), "{path}");
    }
}

#[tokio::test]
async fn c027_schemas_of_objects_and_lists_name_their_kinds() {
    for version in VERSIONS {
        let document = get(&format!("{V3}/{version}")).await.json();
        for kind in ["NodeMetrics", "PodMetrics", "NodeMetricsList", "PodMetricsList"] {
            let schema = &document["components"]["schemas"]
                [format!("io.k8s.metrics.pkg.apis.metrics.{version}.{kind}")];
            let expected = serde_json::json!([{"group": "metrics.k8s.io", "version": version, "kind": kind}]);
            assert_eq!(schema["x-kubernetes-group-version-kind"], expected, "{version} {kind}");
        }
    }
}
