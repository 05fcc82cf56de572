use http_body_util::BodyExt as _;
use prost::Message;

use super::*;
use crate::api::{discovery, encode::golden, health::Health, query::InvalidOption};

/// Two errors: one about an object, one with causes.
fn errors() -> [ApiError; 2] {
    [
        ApiError::no_sample("nodemetrics", "n3".to_owned()),
        ApiError::Invalid(vec![InvalidOption::ExactZero, InvalidOption::InitialEventsOnList]),
    ]
}

async fn body(encoding: Encoding, of: &ApiError) -> Vec<u8> {
    let response = error(encoding, || discovery::paths(false, &Health::default()), of);
    assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), encoding.content_type());
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn c052_a_status_has_its_golden_text() {
    let mut file = String::new();
    for of in errors() {
        for (name, encoding) in [
            ("json", Encoding::JSON),
            ("json indented", Encoding::JSON.indented(true)),
            ("yaml", Encoding::YAML),
        ] {
            let name = format!("{} {name}", of.code().as_u16());
            file.push_str(&golden::section(&name, body(encoding, &of).await));
        }
    }
    assert_eq!(file, include_str!("../encode/golden/status.txt"));
}

#[tokio::test]
async fn c052_a_status_has_its_golden_bytes() {
    let files =
        [include_str!("../encode/golden/status-404.hex"), include_str!("../encode/golden/status-422.hex")];
    for (of, file) in errors().iter().zip(files) {
        assert_eq!(body(Encoding::Protobuf, of).await, golden::bytes(file), "{of:?}");
    }
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(bytes = "vec", required, tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Decoded {
    #[prost(string, required, tag = "2")]
    status: String,
    #[prost(string, required, tag = "3")]
    message: String,
    #[prost(string, required, tag = "4")]
    reason: String,
    #[prost(message, optional, tag = "5")]
    details: Option<DecodedDetails>,
    #[prost(int32, required, tag = "6")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct DecodedDetails {
    #[prost(string, required, tag = "1")]
    name: String,
    #[prost(string, required, tag = "2")]
    group: String,
    #[prost(string, required, tag = "3")]
    kind: String,
    #[prost(message, repeated, tag = "4")]
    causes: Vec<DecodedCause>,
}

#[derive(Clone, PartialEq, Message)]
struct DecodedCause {
    #[prost(string, required, tag = "1")]
    reason: String,
    #[prost(string, required, tag = "2")]
    message: String,
    #[prost(string, required, tag = "3")]
    field: String,
}

/// Without what is empty, as JSON has it.
fn as_json(decoded: &Decoded) -> serde_json::Value {
    let mut value = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": decoded.status,
        "message": decoded.message, "reason": decoded.reason, "code": decoded.code,
    });
    if let Some(details) = &decoded.details {
        let causes = details.causes.iter().map(|cause| {
            serde_json::json!({"reason": cause.reason, "message": cause.message, "field": cause.field})
        });
        let causes: Vec<serde_json::Value> = causes.collect();
        let mut members = serde_json::Map::new();
        for (key, text) in [("name", &details.name), ("group", &details.group), ("kind", &details.kind)] {
            if !text.is_empty() {
                members.insert(key.to_owned(), text.clone().into());
            }
        }
        if !causes.is_empty() {
            members.insert("causes".to_owned(), causes.into());
        }
        value["details"] = members.into();
    }
    value
}

#[tokio::test]
async fn c052_a_protobuf_status_says_the_same_as_json() {
    for of in errors().into_iter().chain([ApiError::Unauthorized, ApiError::MethodNotAllowed]) {
        let protobuf = body(Encoding::Protobuf, &of).await;
        let raw = Unknown::decode(protobuf.strip_prefix(b"k8s\0").unwrap()).unwrap().raw;
        let decoded = Decoded::decode(raw.as_slice()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body(Encoding::JSON, &of).await).unwrap();
        assert_eq!(as_json(&decoded), json);
    }
}

#[tokio::test]
async fn c073_a_head_names_no_length_that_a_get_would_not() {
    let served = async |method: http::Method| {
        // axum says how long a body is when it knows.
        let router = axum::Router::new().fallback(async |request: axum::extract::Request| {
            let call = Call::from(request.into_parts().0);
            let mut response =
                Response::new(Body::from_stream(tokio_stream::iter([Ok::<_, Infallible>("piece")])));
            finish(&call, &mut response);
            response
        });
        let request = http::Request::builder().method(method).body(Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let length = response.headers().get(CONTENT_LENGTH).cloned();
        (length, response.into_body().collect().await.unwrap().to_bytes())
    };
    assert_eq!(served(http::Method::GET).await, (None, Bytes::from("piece")));
    assert_eq!(served(http::Method::HEAD).await, (None, Bytes::new()));
}
