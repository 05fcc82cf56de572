//! Whole requests through the API, with a cluster that is asked.

use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::{Body, to_bytes};
use http::{Request, Response, header::CONNECTION};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::*;
use crate::{
    api::{self, ApiState, fixture},
    auth::{
        fake::{Answer, CLIENT, FakeCluster, Signer, Wish, access_review, config_map, failure, token_review},
        trust::Trust,
    },
    tls::clients::PeerCertificates,
};

const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

fn state(client: &Client, trust: Trust) -> ApiState {
    let (metrics, ttl) = (Auth::default(), Duration::from_secs(10));
    let tokens = TokenReviews::new(client.clone(), Vec::new(), ttl, &metrics).unwrap();
    let delegated =
        Delegated::new(Arc::new(ArcSwap::from_pointee(trust)), tokens, metrics.authentication.clone());
    let reviews = AccessReviews::new(client.clone(), ttl, ttl, &metrics);
    ApiState {
        authenticator: Arc::new(Authenticator::Delegated(delegated)),
        authorizer: Arc::new(Authorizer::Delegated { reviews, metrics: metrics.authorization }),
        ..fixture::state(false)
    }
}

/// An API that trusts nobody, before a cluster with these answers to token and access reviews.
fn api(
    tokens: impl Fn() -> Answer + Send + 'static,
    access: impl Fn() -> Answer + Send + 'static,
) -> (Arc<FakeCluster>, ApiState) {
    let (cluster, client) =
        FakeCluster::new(move |uri, _| if uri.contains("tokenreviews") { tokens() } else { access() });
    (cluster, state(&client, Trust::default()))
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::get(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Body::empty()).unwrap()
}

async fn send(state: &ApiState, request: Request<Body>) -> (Response<()>, Value) {
    let response = api::router(state.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (Response::from_parts(parts, ()), serde_json::from_slice(&body).unwrap_or_default())
}

const BEARER: (&str, &str) = ("authorization", "Bearer t");

fn alice() -> Answer {
    token_review(&json!({"authenticated": true, "user": {"username": "alice"}}))
}

fn allowed() -> Answer {
    access_review(&json!({"allowed": true}))
}

#[tokio::test(start_paused = true)]
async fn c111_a_request_ends_when_its_own_time_is_over_whoever_is_waited_for() {
    let hang: fn() -> Answer = || Answer::Hang;
    let stalls: [[fn() -> Answer; 2]; 2] = [[alice, hang], [hang, allowed]];
    for [tokens, access] in stalls {
        let (_, state) = api(tokens, access);
        let begun = Instant::now();
        let (response, body) = send(&state, request(&format!("{NODES}?timeout=1s"), &[BEARER])).await;
        assert_eq!((response.status().as_u16(), begun.elapsed().as_secs()), (504, 1));
        assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("Status"), &json!("v1")));
        assert_eq!((&body["reason"], &body["code"]), (&json!("Timeout"), &json!(504)));
    }
}

#[tokio::test(start_paused = true)]
async fn c111_a_time_that_makes_no_sense_is_no_answer_before_the_caller_is_known() {
    let (cluster, state) = api(alice, allowed);
    let path = format!("{NODES}?timeout=abc");
    assert_eq!(send(&state, request(&path, &[BEARER])).await.0.status(), 400);
    cluster.set(|_, _| access_review(&json!({"allowed": false})));
    assert_eq!(send(&state, request(&path, &[])).await.0.status(), 403);
}

#[tokio::test(start_paused = true)]
async fn c086_when_nobody_can_say_what_is_allowed_the_answer_is_a_whole_status() {
    let (_, state) = api(alice, || failure(500));
    let (response, body) = send(&state, request(NODES, &[BEARER])).await;
    assert_eq!(response.status(), 500);
    // Better than the text that servers in Go send.
    assert_eq!((&body["kind"], &body["reason"]), (&json!("Status"), &json!("InternalError")));
    assert!(!body.to_string().contains("told to fail"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn c081_a_bad_token_is_refused_on_probes_too_and_ends_the_connection() {
    let (cluster, state) = api(|| token_review(&json!({"authenticated": false})), allowed);
    for path in [NODES, "/readyz"] {
        let (response, body) = send(&state, request(path, &[BEARER])).await;
        assert_eq!((response.status().as_u16(), &body["reason"]), (401, &json!("Unauthorized")));
        assert_eq!(response.headers()[CONNECTION], "close");
    }
    assert_eq!(cluster.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn c099_impersonation_is_refused_and_nothing_is_asked() {
    let (cluster, state) = api(alice, allowed);
    let (response, body) = send(&state, request(NODES, &[BEARER, ("impersonate-user", "root")])).await;
    assert_eq!((response.status().as_u16(), &body["reason"]), (403, &json!("Forbidden")));
    assert_eq!(cluster.calls().len(), 1, "the token alone");
}

#[tokio::test(start_paused = true)]
async fn c016_c017_who_comes_without_groups_through_the_proxy_is_authenticated_and_stays_connected() {
    let (clients, proxy) = (Signer::new("clients"), Signer::new("proxy"));
    let (cluster, client) = FakeCluster::new(|_, _| allowed());
    let state = state(&client, Trust::from_config_map(&config_map(&clients, &proxy)).unwrap());
    let shown: PeerCertificates = proxy.shown(Wish { name: "front-proxy-client", ..CLIENT });
    for (user, path) in [
        ("system:aggregator", "/version"),
        ("system:kube-aggregator", "/apis/metrics.k8s.io/v1beta1"),
        ("system:anonymous", "/apis"),
    ] {
        let mut request = request(path, &[("x-remote-user", user)]);
        request.extensions_mut().insert(shown.clone());
        let (response, _) = send(&state, request).await;
        assert_eq!(response.status(), 200, "{user}");
        assert!(!response.headers().contains_key(CONNECTION), "{user}");
        let spec = cluster.calls().remove(0).1["spec"].clone();
        let groups = if user == "system:anonymous" { json!([]) } else { json!(["system:authenticated"]) };
        assert_eq!((&spec["user"], &spec["groups"]), (&json!(user), &groups));
    }
}
