//! Whether callers may: what is asked of the API server, what is remembered, and what happens when it fails.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    apiserver::reviews::{Decision, Fault, User},
    rig::{Answer, BASES, Rig},
};

/// What the newest review was about, after this request of a user without rights.
async fn reviewed(rig: &Rig, path: &str) -> (Answer, Value) {
    let answer = rig.get(&rig.proxied(&User::new("view", &[])), path).await;
    (answer, rig.api.cluster.reviews.of_access.last()["resourceAttributes"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn c086_a_failing_review_is_500_and_not_remembered() {
    let rig = Rig::start();
    let path = format!("{}/nodes", BASES[0]);
    let reviews = &rig.api.cluster.reviews;
    for fault in [Fault::Status(500), Fault::Status(429), Fault::Garbage, Fault::Hang] {
        reviews.of_access.forget();
        // Somebody new each time, because what was allowed is remembered.
        let reader = rig.proxied(&User::new(&format!("{fault:?}"), &["readers"]));
        reviews.of_access.fail(fault.clone());
        let failed = rig.get(&reader, &path).await;
        // A Status, where a Go server answers in plain text.
        let (code, reason, message) = failed.failure();
        assert_eq!((code, reason.as_str()), (500, "InternalError"), "{fault:?}: {message}");
        let tries = reviews.of_access.count();
        reviews.of_access.recover();
        let recovered = rig.get(&reader, &path).await;
        assert_eq!(recovered.status, 200, "{fault:?}: {recovered:?}");
        let (failed, recovered) = (failed.took, recovered.took);
        eprintln!(
            "access reviews, {fault:?}: 500 after {failed:?} and {tries} tries; 200 after {recovered:?}"
        );
        assert!(failed < Duration::from_secs(13) && recovered < Duration::from_secs(8));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c086_a_denial_gives_its_reason_and_is_remembered() {
    let rig = Rig::start();
    rig.api.cluster.reviews.rule(|_| Decision::no("not on a Sunday"));
    let path = format!("{}/namespaces/default/pods/web-1", BASES[1]);
    for _ in 0..3 {
        let (answer, _) = reviewed(&rig, &path).await;
        let expected = "pods.metrics.k8s.io \"web-1\" is forbidden: User \"view\" cannot get resource \"pods\" in API \
                        group \"metrics.k8s.io\" in the namespace \"default\": not on a Sunday";
        let (code, reason, message) = answer.failure();
        assert_eq!((code, reason.as_str(), message.as_str()), (403, "Forbidden", expected));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(rig.api.cluster.reviews.of_access.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c087_allowed_and_denied_is_denied() {
    let rig = Rig::start();
    let reviews = &rig.api.cluster.reviews;
    reviews.rule(|_| Decision { allowed: true, denied: true, reason: String::new() });
    let (answer, _) = reviewed(&rig, &format!("{}/nodes", BASES[0])).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    for status in [json!({}), json!({"allowed": false}), json!({"denied": true})] {
        reviews.of_access.fail(Fault::Says(status.clone()));
        let path = format!("{}/namespaces/{}/pods", BASES[0], status.to_string().len());
        let (answer, _) = reviewed(&rig, &path).await;
        assert_eq!(answer.status, 403, "{status}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c088_masters_need_no_review() {
    let rig = Rig::start();
    rig.api.cluster.reviews.of_access.fail(Fault::Status(500));
    for path in [format!("{}/nodes", BASES[0]), "/version".to_owned(), "/".to_owned()] {
        let answer = rig.get(&rig.admin(), &path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(rig.api.cluster.reviews.of_access.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c097_selectors_are_part_of_what_is_reviewed() {
    let rig = Rig::start();
    let path = format!(
        "{}/namespaces/default/pods?fieldSelector=metadata.name%3Dweb-1&labelSelector=app+in+%28web%2Cdb%29%2C%21old",
        BASES[0]
    );
    let (_, attributes) = reviewed(&rig, &path).await;
    assert_eq!(attributes["name"], "web-1", "one object, named by a selector");
    assert_eq!(attributes["verb"], "list");
    let requirements = |selector: &str| attributes[selector]["requirements"].clone();
    assert_eq!(
        requirements("fieldSelector"),
        json!([{"key": "metadata.name", "operator": "In", "values": ["web-1"]}])
    );
    let labels = requirements("labelSelector");
    let find = |key: &str| labels.as_array().unwrap().iter().find(|one| one["key"] == key).cloned().unwrap();
    let mut values: Vec<Value> = find("app")["values"].as_array().unwrap().clone();
    values.sort_by_key(ToString::to_string);
    assert_eq!((&find("app")["operator"], values), (&json!("In"), vec![json!("db"), json!("web")]));
    assert_eq!(find("old")["operator"], "DoesNotExist");
}

#[tokio::test(flavor = "multi_thread")]
async fn c098_what_is_asked_for_is_reviewed_by_verb_name_namespace_and_version() {
    let rig = Rig::start();
    for (base, version) in [(BASES[0], "v1"), (BASES[1], "v1beta1")] {
        let (_, attributes) = reviewed(&rig, &format!("{base}/namespaces/default/pods/web-1")).await;
        for (field, value) in [
            ("verb", "get"),
            ("namespace", "default"),
            ("name", "web-1"),
            ("resource", "pods"),
            ("group", "metrics.k8s.io"),
            ("version", version),
        ] {
            assert_eq!(attributes[field], value, "{field}: {attributes}");
        }
        for (path, verb) in
            [("nodes", "list"), ("nodes?watch=true", "watch"), ("nodes/n1", "get"), ("pods", "list")]
        {
            let (_, attributes) = reviewed(&rig, &format!("{base}/{path}")).await;
            assert_eq!(attributes["verb"], verb, "{path}: {attributes}");
            assert!(attributes["namespace"].as_str().unwrap_or_default().is_empty(), "{path}: {attributes}");
        }
    }
    let received = rig.api.cluster.reviews.of_access.received();
    assert!(received.iter().all(|one| one.body["apiVersion"] == "authorization.k8s.io/v1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn c111_a_deadline_ends_a_stalled_review() {
    let rig = Rig::start();
    let reviews = &rig.api.cluster.reviews;
    reviews.of_access.fail(Fault::Hang);
    let (answer, _) = reviewed(&rig, &format!("{}/nodes?timeout=1s", BASES[0])).await;
    let (code, reason, _) = answer.failure();
    eprintln!("c111: {code} after {:?}", answer.took);
    assert_eq!((code, reason.as_str()), (504, "Timeout"));
    assert!((Duration::from_millis(900)..Duration::from_secs(8)).contains(&answer.took), "{:?}", answer.took);
    // Authentication is under the same deadline.
    reviews.of_tokens.fail(Fault::Hang);
    let path = format!("{}/nodes?timeout=1s", BASES[0]);
    let answer = rig.get(&crate::rig::Who::bearer("any"), &path).await;
    assert_eq!(answer.status, 504, "{answer:?}");
    // Without one it would be ten.
    assert!(answer.took < Duration::from_secs(8), "{:?}", answer.took);
}
