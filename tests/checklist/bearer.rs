//! Bearer tokens: one review for each, what is remembered, and what happens when reviews fail.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    apiserver::{
        ApiServer,
        reviews::{Fault, User},
    },
    rig::{Answer, BASES, DEADLINE, Rig, Who, ask, get},
};

fn nodes() -> String {
    format!("{}/nodes", BASES[1])
}

fn rig() -> Rig {
    let rig = Rig::start();
    rig.api.cluster.reviews.issue("good", User::new("reader", &["readers"]));
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn c080_a_valid_token_that_may_is_served() {
    let rig = rig();
    assert_eq!(rig.get(&Who::bearer("good"), &nodes()).await.status, 200);
    let received = rig.api.cluster.reviews.of_tokens.received();
    let body = &received[0].body;
    assert_eq!((received.len(), &body["apiVersion"]), (1, &json!("authentication.k8s.io/v1")));
    assert_eq!(body["spec"]["token"], "good");
    assert!([Value::Null, json!([])].contains(&body["spec"]["audiences"]), "{body}");
    let spec = rig.api.cluster.reviews.of_access.last();
    assert_eq!(spec["user"], "reader");
    assert_eq!(spec["groups"], json!(["readers", "system:authenticated"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn c080_audiences_are_asked_for_and_have_to_be_granted() {
    let rig = Rig::with(ApiServer::start(), &["--api-audiences=metrics,other"]);
    let reviews = &rig.api.cluster.reviews;
    reviews.issue("for-us", User::new("reader", &["readers"]).audience("metrics"));
    reviews.issue("for-the-api", User::new("reader", &["readers"]));
    assert_eq!(rig.get(&Who::bearer("for-us"), &nodes()).await.status, 200);
    assert_eq!(reviews.of_tokens.last()["audiences"], json!(["metrics", "other"]));
    assert_eq!(rig.get(&Who::bearer("for-the-api"), &nodes()).await.status, 401);
    // A reviewer that ignores audiences vouches for nobody.
    let user = json!({"username": "reader", "groups": ["readers"]});
    reviews.of_tokens.fail(Fault::Says(json!({"authenticated": true, "user": user})));
    assert_eq!(rig.get(&Who::bearer("whose"), &nodes()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn c081_an_invalid_token_is_reviewed_once_and_is_nobody_anywhere() {
    let rig = rig();
    let who = Who::bearer("bad");
    for path in [nodes(), nodes(), "/readyz".to_owned()] {
        let (code, reason, message) = rig.get(&who, &path).await.failure();
        assert_eq!(
            (code, reason.as_str(), message.as_str()),
            (401, "Unauthorized", "Unauthorized"),
            "{path}"
        );
    }
    assert_eq!(rig.api.cluster.reviews.of_tokens.count(), 1);
    assert_eq!(rig.api.cluster.reviews.of_access.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c082_fifty_requests_with_one_token_need_one_review_of_each_kind() {
    let rig = rig();
    let mut connection = rig.target().http2(None).await.unwrap();
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(ask(&mut connection, &Who::bearer("good"), &nodes()).await.unwrap().status, 200);
    }
    let reviews = &rig.api.cluster.reviews;
    assert!(begun.elapsed() < Duration::from_secs(10), "longer than answers are kept");
    assert_eq!((reviews.of_tokens.count(), reviews.of_access.count()), (1, 1));
}

/// So many first requests at one time.
async fn at_once(rig: &Rig, count: usize) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let target = rig.target();
        requests.spawn(async move { get(&target, &Who::bearer("good"), &nodes()).await });
    }
    requests.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn c083_twenty_first_requests_at_one_time_share_one_review() {
    let rig = rig();
    let reviews = &rig.api.cluster.reviews;
    reviews.of_tokens.fail(Fault::Late(Duration::from_secs(1)));
    reviews.of_access.fail(Fault::Late(Duration::from_secs(1)));
    let answers = at_once(&rig, 20).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!((reviews.of_tokens.count(), reviews.of_access.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn c083_a_caller_that_goes_away_leaves_its_review_to_the_next() {
    let rig = rig();
    let reviews = &rig.api.cluster.reviews;
    reviews.of_tokens.fail(Fault::Late(Duration::from_secs(1)));
    let target = rig.target();
    let first = tokio::spawn(async move { get(&target, &Who::bearer("good"), &nodes()).await });
    reviews.of_tokens.wait_for(1).await;
    first.abort();
    assert_eq!(rig.get(&Who::bearer("good"), &nodes()).await.status, 200);
    assert_eq!(reviews.of_tokens.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c084_a_review_whose_connection_is_lost_is_tried_again() {
    let rig = rig();
    let reviews = &rig.api.cluster.reviews;
    reviews.of_tokens.fail(Fault::Hang);
    let target = rig.target();
    let waiting = tokio::spawn(async move { get(&target, &Who::bearer("good"), &nodes()).await });
    reviews.of_tokens.wait_for(1).await;
    reviews.of_tokens.recover();
    rig.api.disconnect();
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, reviews.of_tokens.count()), (200, 2), "{answer:?}");
    eprintln!("a review whose connection was lost: 200 after {:?}", answer.took);
    assert!(answer.took < Duration::from_secs(8), "{:?}", answer.took);
}

/// Fails once under the fault, then is right as soon as the fault is over.
async fn fails_and_recovers(fault: Fault) -> (Duration, Duration, usize) {
    let rig = rig();
    let reviews = &rig.api.cluster.reviews;
    reviews.of_tokens.fail(fault.clone());
    let failed = rig.get(&Who::bearer("good"), &nodes()).await;
    assert_eq!(failed.failure().0, 401, "{failed:?}");
    let tries = reviews.of_tokens.count();
    reviews.of_tokens.recover();
    let recovered = rig.get(&Who::bearer("good"), &nodes()).await;
    assert_eq!(recovered.status, 200, "an error is not remembered: {recovered:?}");
    let (failed, recovered) = (failed.took, recovered.took);
    eprintln!("token reviews, {fault:?}: 401 after {failed:?} and {tries} tries; 200 after {recovered:?}");
    assert!(recovered < Duration::from_secs(8), "{recovered:?}");
    (failed, recovered, tries)
}

#[tokio::test(flavor = "multi_thread")]
async fn c084_a_failing_review_is_tried_five_times_and_not_remembered() {
    for fault in [Fault::Status(500), Fault::Status(429)] {
        let (failed, _, tries) = fails_and_recovers(fault).await;
        assert!((2..=5).contains(&tries), "{tries}");
        assert!((Duration::from_secs(3)..Duration::from_secs(15)).contains(&failed), "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c085_a_hanging_review_is_given_up_after_ten_seconds() {
    let (failed, ..) = fails_and_recovers(Fault::Hang).await;
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&failed), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c085_an_api_server_that_is_away_lets_nobody_in_until_it_is_back() {
    let rig = rig();
    rig.api.set_away(true);
    let failed = rig.get(&Who::bearer("good"), &nodes()).await;
    assert_eq!(failed.failure().0, 401);
    eprintln!("api server away: 401 after {:?}", failed.took);
    assert!(failed.took < Duration::from_secs(13), "{:?}", failed.took);
    rig.api.set_away(false);
    let recovered = rig.get(&Who::bearer("good"), &nodes()).await;
    eprintln!("api server back: 200 after {:?}", recovered.took);
    assert_eq!(recovered.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn c084_answers_that_make_no_sense_let_nobody_in() {
    let rig = rig();
    let reviews = &rig.api.cluster.reviews;
    reviews.of_tokens.fail(Fault::Garbage);
    let garbled = rig.get(&Who::bearer("good"), &nodes()).await;
    assert_eq!(garbled.failure().0, 401);
    for (token, status) in [
        ("nameless", json!({"authenticated": true, "user": {}})),
        ("no-user", json!({"authenticated": true})),
        (
            "not-quite",
            json!({"authenticated": false, "user": {"username": "admin", "groups": ["system:masters"]}}),
        ),
        ("odd", json!({"authenticated": "yes", "user": {"username": "admin"}})),
        ("null", json!(null)),
    ] {
        reviews.of_tokens.fail(Fault::Says(status));
        let answer = rig.get(&Who::bearer(token), &nodes()).await;
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
    }
    reviews.of_tokens.recover();
    assert_eq!(rig.get(&Who::bearer("good"), &nodes()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn c081_a_revoked_token_is_let_in_no_longer_than_answers_are_kept() {
    let rig = rig();
    assert_eq!(rig.get(&Who::bearer("good"), &nodes()).await.status, 200);
    rig.api.cluster.reviews.revoke("good");
    let revoked = Instant::now();
    let mut admitted = Duration::ZERO;
    loop {
        let begun = revoked.elapsed();
        match rig.get(&Who::bearer("good"), &nodes()).await.status {
            200 => admitted = begun,
            status => break assert_eq!(status, 401),
        }
        assert!(begun < DEADLINE, "still let in after {begun:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("a revoked token was let in until {admitted:?} later");
    assert!(admitted < Duration::from_secs(10), "{admitted:?}");
}
