use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::auth::{
    fake::{Answer, FakeCluster, failure, token_review},
    user::AUTHENTICATED,
};

const TTL: Duration = Duration::from_secs(10);

fn reviews(client: Client, audiences: &[&str]) -> TokenReviews {
    let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
    TokenReviews::new(client, audiences, TTL, &metrics::Auth::default()).unwrap()
}

fn alice() -> Value {
    json!({"authenticated": true, "user": {"username": "alice", "uid": "7", "groups": ["g"], "extra": {"k": ["v"]}}})
}

/// The user named, `Some("")` for nobody; `None` for an error.
async fn name(reviews: &TokenReviews, token: &str) -> Option<String> {
    let found = reviews.user(token).await.ok()?;
    Some(found.map(|user| user.name.clone()).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn c080_the_review_has_the_token_and_the_audiences_and_names_the_user() {
    let (cluster, client) = FakeCluster::new(|_, _| token_review(&alice()));
    let user = reviews(client.clone(), &[]).user("t").await.unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_deref()), ("alice", Some("7")));
    assert_eq!(user.groups, ["g", AUTHENTICATED]);
    assert_eq!(user.extra["k"], ["v"]);
    assert_eq!(reviews(client, &["a", "b"]).user("t").await, Ok(None), "meant for nobody in particular");
    let calls = cluster.calls();
    assert_eq!(calls[0].0, URI);
    assert_eq!(calls[0].1["apiVersion"], "authentication.k8s.io/v1");
    assert_eq!(calls[0].1["kind"], "TokenReview");
    assert_eq!(calls[0].1["spec"], json!({"token": "t"}));
    assert_eq!(calls[1].1["spec"], json!({"token": "t", "audiences": ["a", "b"]}));
}

#[tokio::test(start_paused = true)]
async fn a_token_for_other_audiences_is_nobodys() {
    for (audiences, expected) in [(json!(["x", "b"]), "alice"), (json!(["x"]), ""), (json!([]), "")] {
        let mut status = alice();
        status["audiences"] = audiences;
        let (_, client) = FakeCluster::new(move |_, _| token_review(&status));
        assert_eq!(name(&reviews(client, &["a", "b"]), "t").await.as_deref(), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn c081_that_a_token_is_nobodys_is_remembered_for_a_while() {
    let refusals = [
        json!({"authenticated": false}),
        json!({"error": "invalid bearer token"}),
        json!({"authenticated": true, "user": {"username": ""}}),
        json!({"authenticated": true}),
    ];
    for refusal in refusals {
        let (cluster, client) = FakeCluster::new(move |_, _| token_review(&refusal));
        let reviews = reviews(client, &[]);
        for _ in 0..2 {
            assert_eq!(name(&reviews, "t").await.as_deref(), Some(""));
        }
        assert_eq!(cluster.calls().len(), 1);
        cluster.set(|_, _| token_review(&alice()));
        tokio::time::advance(TTL).await;
        assert_eq!(name(&reviews, "t").await.as_deref(), Some("alice"));
    }
}

#[tokio::test(start_paused = true)]
async fn c082_a_token_used_often_is_reviewed_once() {
    let (cluster, client) = FakeCluster::new(|_, _| token_review(&alice()));
    let reviews = reviews(client, &[]);
    for _ in 0..50 {
        assert_eq!(name(&reviews, "t").await.as_deref(), Some("alice"));
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(cluster.calls().len(), 1);
    assert_eq!(name(&reviews, "other").await.as_deref(), Some("alice"));
    assert_eq!(cluster.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn c083_many_first_requests_at_once_cause_one_review() {
    let (cluster, client) = FakeCluster::new(|_, _| {
        let Answer::Json(code, review) = token_review(&alice()) else { panic!() };
        Answer::Late(Duration::from_secs(1), code, review)
    });
    let reviews = reviews(client, &[]);
    let names = futures_util::future::join_all((0..20).map(|_| name(&reviews, "t"))).await;
    assert!(names.iter().all(|name| name.as_deref() == Some("alice")), "{names:?}");
    assert_eq!(cluster.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn c084_a_failing_review_is_tried_five_times_and_not_remembered() {
    for fault in [500, 503, 429, 0] {
        let (cluster, client) =
            FakeCluster::new(move |_, _| if fault == 0 { Answer::Unreachable } else { failure(fault) });
        let reviews = reviews(client, &[]);
        let begun = Instant::now();
        assert_eq!(name(&reviews, "t").await, None);
        let took = begun.elapsed().as_secs_f64();
        assert!((4.0..5.0).contains(&took), "{fault}: {took}");
        assert_eq!(cluster.calls().len(), 5, "{fault}");
        cluster.set(|_, _| token_review(&alice()));
        assert_eq!(name(&reviews, "t").await.as_deref(), Some("alice"), "at once");
    }
}

#[tokio::test(start_paused = true)]
async fn c084_a_review_that_fails_only_at_first_succeeds() {
    let mut failures = 3;
    let (cluster, client) = FakeCluster::new(move |_, _| {
        failures -= 1;
        if failures >= 0 { failure(500) } else { token_review(&alice()) }
    });
    assert_eq!(name(&reviews(client, &[]), "t").await.as_deref(), Some("alice"));
    assert_eq!(cluster.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_will_not_change_is_not_asked_for_again() {
    let garbage = || Answer::Text(200, "{\"kind\":\"TokenReview\",\"status\":[]".to_owned());
    let other = || Answer::Json(200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}));
    let answers: [fn() -> Answer; 4] = [|| failure(403), || failure(404), garbage, other];
    for answer in answers {
        let (cluster, client) = FakeCluster::new(move |_, _| answer());
        assert_eq!(name(&reviews(client, &[]), "t").await, None);
        assert_eq!(cluster.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn c085_a_review_that_hangs_ends_after_ten_seconds() {
    let (cluster, client) = FakeCluster::new(|_, _| Answer::Hang);
    let reviews = reviews(client, &[]);
    let begun = Instant::now();
    assert_eq!(reviews.user("t").await, Err(ReviewError::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), 10);
    cluster.set(|_, _| token_review(&alice()));
    assert_eq!(name(&reviews, "t").await.as_deref(), Some("alice"), "at once");
}

#[tokio::test(start_paused = true)]
async fn a_review_of_many_slow_failures_ends_after_thirty_seconds() {
    let (cluster, client) = FakeCluster::new(|_, _| Answer::Late(Duration::from_secs(9), 500, Value::Null));
    let begun = Instant::now();
    assert_eq!(reviews(client, &[]).user("t").await, Err(ReviewError::TimedOut));
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(cluster.calls().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_token_too_long_to_be_one_is_nobodys_and_not_asked_about() {
    let (cluster, client) = FakeCluster::new(|_, _| token_review(&alice()));
    assert_eq!(name(&reviews(client, &[]), &"t".repeat(LONGEST + 1)).await.as_deref(), Some(""));
    assert!(cluster.calls().is_empty());
}
