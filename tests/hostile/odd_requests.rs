//! Requests that are strange by themselves: selectors, headers, paths, methods, upgrades.

use http::Method;

use crate::{
    chain::{NOBODY, READER},
    field::{Attempt, Field},
    tally::Caller::{Reader, Unwelcome},
};

const PODS: &str = "/apis/metrics.k8s.io/v1/pods";

/// From somebody who may read: an error or an answer, soon.
pub(crate) async fn huge_selectors(field: &Field) {
    let number = field.number();
    let query = match number % 6 {
        0 => format!("labelSelector=app%3D{}", "a".repeat(60_000)),
        1 => format!("labelSelector={}", vec!["app%20in%20(a,b,c)"; 3000].join(",")),
        2 => format!("labelSelector=app%20in%20({})", vec!["web"; 12_000].join(",")),
        3 => format!("fieldSelector={}", vec!["metadata.name!=a"; 3500].join(",")),
        4 => format!("labelSelector={}", "(".repeat(60_000)),
        _ => format!("{}labelSelector=app%3Dweb", "x=1&".repeat(15_000)),
    };
    let attempt = Attempt::get(&format!("{PODS}?{query}")).bearer(READER);
    field.send("huge selectors", Reader, None, &attempt).await;
}

/// Within what a client library sends.
pub(crate) async fn many_headers(field: &Field) {
    let number = field.number();
    let mut attempt = Attempt::get(PODS);
    let (count, length) = *field.one(&[(90, 100), (500, 10), (3000, 20), (20, 60_000), (1, 900_000)]);
    for index in 0..count {
        attempt = attempt.with(&format!("x-{number}-{index}"), "v".repeat(length));
    }
    field.send("header floods", Unwelcome, None, &attempt).await;
}

/// Spellings with which a path could be judged as one and served as another.
const TRICKS: [&str; 14] = [
    "/apis/metrics.k8s.io/v1/namespaces/team-1%2f..%2fteam-2/pods",
    "/apis/metrics.k8s.io/v1/namespaces/../pods",
    "/apis/metrics.k8s.io/v1/namespaces/%2e%2e/pods",
    "/livez/../apis/metrics.k8s.io/v1/pods",
    "/readyz/%2e%2e/metrics",
    "//apis/metrics.k8s.io/v1/pods",
    "/apis//metrics.k8s.io/v1/pods",
    "/apis/metrics.k8s.io/v1/pods%00",
    "/apis/metrics.k8s.io/v1/pods/;/livez",
    "/livez;/../metrics",
    "/apis/metrics.k8s.io/v1/namespaces//pods",
    "/apis/metrics.k8s.io/v1/%70ods",
    "/healthz%2f..%2fversion",
    "/apis/metrics.k8s.io/v1/namespaces/%ff/pods/%c0%af",
];

pub(crate) async fn path_tricks(field: &Field) {
    let attempt = Attempt::get(field.word(&TRICKS));
    let attempt = if field.number().is_multiple_of(2) { attempt.bearer(NOBODY) } else { attempt };
    field.send("path tricks", Unwelcome, None, &attempt).await;
}

/// Nobody may write, and unknown methods are no way around it.
pub(crate) async fn methods(field: &Field) {
    let names = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO", "get", "PROPFIND"];
    let method = Method::from_bytes(field.word(&names).as_bytes()).expect("a token");
    let mut attempt = Attempt::get(field.word(&[PODS, "/apis/metrics.k8s.io/v1/nodes/node-1", "/apis"]));
    attempt.method = method;
    field.send("methods that are not served", Unwelcome, None, &attempt.bearer(READER)).await;
}

/// A token where browsers' web sockets carry it, which no upgrade ever brings here.
pub(crate) async fn websocket_tokens(field: &Field) {
    let attempt = Attempt::get(PODS)
        .with("Sec-WebSocket-Version", "13")
        .with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.cmVhZGVy");
    field.send("web socket tokens", Unwelcome, None, &attempt).await;
}

/// From somebody who may read: every parameter out of its range.
pub(crate) async fn odd_parameters(field: &Field) {
    let queries = [
        "watch=1&timeoutSeconds=99999999999999999999",
        "limit=-9223372036854775808&continue=%ff%fe",
        "timeout=1ns",
        "timeout=99999999h",
        "resourceVersion=abc&resourceVersionMatch=Exact&sendInitialEvents=true",
        "includeObject=Object&pretty=true&labelSelector=%zz;%00",
        "fieldSelector=metadata.name%3D%5C",
    ];
    let accepts = [
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/yaml",
        "*/*;q=0",
        "application/cbor",
        "\"",
        "*/*",
    ];
    let path = format!("{PODS}?{}", field.word(&queries));
    let attempt = Attempt::get(&path).bearer(READER).with("Accept", field.word(&accepts));
    field.send("odd parameters", Reader, None, &attempt).await;
}
