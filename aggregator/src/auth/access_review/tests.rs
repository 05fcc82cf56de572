use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    api::query::Query,
    auth::fake::{Answer, FakeCluster, access_review, failure},
};

const SECOND: Duration = Duration::from_secs(1);

fn reviews(client: Client) -> AccessReviews {
    AccessReviews::new(client, SECOND * 10, SECOND * 5, &metrics::Auth::default())
}

fn wanted(target: &str) -> Attributes {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Attributes::new(&Method::GET, path, &Query::new(query))
}

fn view() -> UserInfo {
    let extra = [("scopes".to_owned(), vec!["s".to_owned()])];
    let user =
        UserInfo { uid: Some("42".to_owned()), extra: extra.into(), ..UserInfo::new("view", &["g1", "g2"]) };
    user.authenticated()
}

const NODES: &str = "/apis/metrics.k8s.io/v1/nodes";

async fn allowed(reviews: &AccessReviews, target: &str) -> Option<bool> {
    reviews.decide(&view(), &wanted(target)).await.ok().map(|decision| decision.allowed)
}

#[tokio::test(start_paused = true)]
async fn c089_the_review_has_everything_that_is_known_of_the_user() {
    let (cluster, client) = FakeCluster::new(|_, _| access_review(&json!({"allowed": true})));
    let reviews = reviews(client);
    assert_eq!(allowed(&reviews, "/metrics").await, Some(true));
    assert_eq!(allowed(&reviews, "/apis/metrics.k8s.io/v1/namespaces/a/pods/x").await, Some(true));
    let calls = cluster.calls();
    assert_eq!(calls[0].0, "/apis/authorization.k8s.io/v1/subjectaccessreviews?timeout=10s");
    assert_eq!(
        calls[0].1["spec"],
        json!({"user": "view", "uid": "42", "groups": ["g1", "g2", "system:authenticated"],
            "extra": {"scopes": ["s"]}, "nonResourceAttributes": {"path": "/metrics", "verb": "get"}})
    );
    assert_eq!(
        calls[1].1["spec"]["resourceAttributes"],
        json!({"verb": "get", "group": "metrics.k8s.io", "version": "v1", "resource": "pods", "namespace": "a",
            "name": "x"})
    );
}

#[tokio::test(start_paused = true)]
async fn c086_a_refusal_has_its_reason_and_is_remembered_for_a_while() {
    let (cluster, client) =
        FakeCluster::new(|_, _| access_review(&json!({"allowed": false, "reason": "not today"})));
    let reviews = reviews(client);
    for _ in 0..2 {
        let decision = reviews.decide(&view(), &wanted(NODES)).await.unwrap();
        assert_eq!(*decision, Decision { allowed: false, reason: Some("not today".to_owned()) });
    }
    assert_eq!(cluster.calls().len(), 1);
    tokio::time::advance(SECOND * 5).await;
    cluster.set(|_, _| access_review(&json!({"allowed": true})));
    assert_eq!(allowed(&reviews, NODES).await, Some(true));
    cluster.set(|_, _| access_review(&json!({"allowed": false})));
    tokio::time::advance(SECOND * 9).await;
    assert_eq!(allowed(&reviews, NODES).await, Some(true), "permissions have a time of their own");
    tokio::time::advance(SECOND).await;
    assert_eq!(allowed(&reviews, NODES).await, Some(false));
}

#[tokio::test(start_paused = true)]
async fn c086_a_failure_is_no_permission_and_not_remembered() {
    let (cluster, client) = FakeCluster::new(|_, _| failure(500));
    let reviews = reviews(client);
    let begun = Instant::now();
    assert_eq!(allowed(&reviews, NODES).await, None);
    assert!((4.0..5.0).contains(&begun.elapsed().as_secs_f64()));
    assert_eq!(cluster.calls().len(), 5);
    for garbled in [json!({"allowed": "yes"}), json!([]), json!({"allowed": true, "denied": "no"})] {
        cluster.set(move |_, _| access_review(&garbled));
        assert_eq!(allowed(&reviews, NODES).await, None);
    }
    cluster.set(|_, _| access_review(&json!({"allowed": true})));
    assert_eq!(allowed(&reviews, NODES).await, Some(true));
}

#[tokio::test(start_paused = true)]
async fn c087_a_denial_beats_a_permission_and_silence_is_none() {
    for status in [json!({"allowed": true, "denied": true}), json!({}), Value::Null] {
        let (_, client) = FakeCluster::new(move |_, _| access_review(&status));
        assert_eq!(allowed(&reviews(client), NODES).await, Some(false));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_differ_in_anything_are_asked_about_apart() {
    let (cluster, client) = FakeCluster::new(|_, _| access_review(&json!({"allowed": true})));
    let reviews = reviews(client);
    let targets = [NODES, "/apis/metrics.k8s.io/v1beta1/nodes", &format!("{NODES}?labelSelector=a"), "/apis"];
    for target in targets {
        assert_eq!(allowed(&reviews, target).await, Some(true));
    }
    assert_eq!(cluster.calls().len(), targets.len());
    let other = UserInfo { uid: Some("43".to_owned()), ..view() };
    assert!(reviews.decide(&other, &wanted(NODES)).await.is_ok());
    assert_eq!(cluster.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_twice_is_not_remembered() {
    let (cluster, client) = FakeCluster::new(|_, _| access_review(&json!({"allowed": true})));
    let reviews = reviews(client);
    // One value of a selector, and everything around it.
    let selected = |length| format!("{NODES}?fieldSelector=metadata.namespace%3D{}", "v".repeat(length));
    let fixed = chosen_bytes(&wanted(&selected(1))) - 1;
    for (length, calls) in [(MEMORABLE - fixed, 1), (MEMORABLE - fixed + 1, 2)] {
        for _ in 0..2 {
            assert_eq!(allowed(&reviews, &selected(length)).await, Some(true));
        }
        assert_eq!(cluster.calls().len(), calls, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_short_requirements_are_not_kept_waiting_without_their_sender() {
    // Three bytes of a path each, and forty of a review.
    let many = vec!["!a"; 450].join(",");
    let (cluster, client) = FakeCluster::new(|_, _| access_review(&json!({"allowed": true})));
    let reviews = reviews(client);
    for _ in 0..2 {
        assert_eq!(allowed(&reviews, &format!("{NODES}?labelSelector={many}")).await, Some(true));
    }
    assert_eq!(cluster.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_review_that_hangs_ends_after_ten_seconds() {
    let (_, client) = FakeCluster::new(|_, _| Answer::Hang);
    let begun = Instant::now();
    assert_eq!(allowed(&reviews(client), NODES).await, None);
    assert_eq!(begun.elapsed().as_secs(), 10);
}
