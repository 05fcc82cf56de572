//! Selectors, parameters, paths and methods at their edges, over the whole chain.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};

use crate::{
    apiserver::{SERVICE, make::Pod},
    rig::{Answer, BASES, NODE, Rig, Who},
};

/// Pods `one` (a=b, age=10), `two` (a=c, age=old) and `three` (no labels), all served.
async fn labelled() -> (Rig, Who) {
    let rig = Rig::start();
    rig.agent(NODE, &[rig.ingest()]);
    let pod = |name: &str| Pod::new("shop", name, NODE);
    rig.run(&pod("one").label("a", "b").label("age", "10"), 100);
    rig.run(&pod("two").label("a", "c").label("age", "old"), 100);
    rig.run(&pod("three"), 100);
    let admin = rig.admin();
    let served = |answer: &Answer| answer.status == 200 && answer.items().len() == 3;
    rig.until(&admin, &format!("{}/pods", BASES[0]), served).await;
    rig.until(&admin, &format!("{}/nodes/{NODE}", BASES[0]), |answer| answer.status == 200).await;
    (rig, admin)
}

/// Names of the pods of an answer.
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.items().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The same requests of both versions, and what each has to bring.
async fn select(rig: &Rig, who: &Who, expected: &[(&str, &[&str])]) {
    for base in BASES {
        for (query, wanted) in expected {
            let answer = rig.get(who, &format!("{base}/pods?{query}")).await;
            assert_eq!(names(&answer), *wanted, "{query}");
        }
    }
}

async fn refuse(rig: &Rig, who: &Who, queries: &[&str]) {
    for base in BASES {
        for query in queries {
            let (code, reason, message) = rig.get(who, &format!("{base}/pods?{query}")).await.failure();
            assert_eq!((code, reason.as_str()), (400, "BadRequest"), "{query}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c058_an_unequal_label_may_be_missing() {
    let (rig, admin) = labelled().await;
    select(&rig, &admin, &[("labelSelector=a%21%3Db", &["three", "two"])]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c060_comparisons_are_of_integers_and_keys_and_values_have_limits() {
    let (rig, admin) = labelled().await;
    select(
        &rig,
        &admin,
        &[
            ("labelSelector=age%3E9", &["one"]),
            ("labelSelector=age%3C11", &["one"]),
            ("labelSelector=age%3E10", &[]),
            ("labelSelector=missing%3C1", &[]),
        ],
    )
    .await;
    let long = "x".repeat(64);
    let (long_key, long_value) = (format!("labelSelector={long}"), format!("labelSelector=a%3D{long}"));
    let bad = [
        "labelSelector=a%3Cx",
        "labelSelector=foo%2Fbar%2Fbaz",
        "labelSelector=%2Fx",
        &long_key,
        &long_value,
    ];
    refuse(&rig, &admin, &bad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c063_field_values_have_escapes_and_empty_terms_select_all() {
    let (rig, admin) = labelled().await;
    let all: &[&str] = &["one", "three", "two"];
    select(
        &rig,
        &admin,
        &[
            ("fieldSelector=metadata.name%3Da%5C%2Cb", &[]),
            ("fieldSelector=", all),
            ("fieldSelector=%2C", all),
        ],
    )
    .await;
    refuse(&rig, &admin, &["fieldSelector=metadata.name%3Da%5Cb"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c068_what_is_not_known_or_not_readable_in_a_query_is_ignored() {
    let (rig, admin) = labelled().await;
    let all: &[&str] = &["one", "three", "two"];
    let queries = ["nonsense=1", "%zz", "%zz=1&x", "a;b=c", "&&", "labelSelector%zz=a", "nonsense=%zz"];
    let expected: Vec<(&str, &[&str])> = queries.iter().map(|&query| (query, all)).collect();
    select(&rig, &admin, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c070_watching_one_object_is_reading_it() {
    let (rig, admin) = labelled().await;
    for base in BASES {
        for query in ["watch=true", "watch", "watch=1"] {
            let answer = rig.get(&admin, &format!("{base}/nodes/{NODE}?{query}")).await;
            assert_eq!((answer.status, &answer.json()["kind"]), (200, &"NodeMetrics".into()), "{query}");
        }
    }
}

/// The generic `Status` for what is not there.
fn assert_not_there(answer: &Answer, path: &str) {
    let (code, reason, message) = answer.failure();
    let expected = "the server could not find the requested resource";
    assert_eq!((code, reason.as_str(), message.as_str()), (404, "NotFound", expected), "{path}");
    assert_eq!(answer.json()["details"], serde_json::json!({}), "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c071_there_is_no_path_for_watching() {
    let rig = Rig::start();
    for base in BASES {
        for path in ["watch/nodes", "watch/pods", "watch/namespaces/shop/pods", "watch/nodes/n1"] {
            assert_not_there(&rig.get(&rig.admin(), &format!("{base}/{path}")).await, path);
        }
    }
}

/// Where a Go server lists the pods of all namespaces, though what it had allowed was another thing.
#[tokio::test(flavor = "multi_thread")]
async fn c037_an_empty_namespace_is_not_all_namespaces() {
    let (rig, admin) = labelled().await;
    for base in BASES {
        let answer = rig.get(&admin, &format!("{base}/namespaces//pods")).await;
        assert!([400, 404].contains(&answer.failure().0), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c074_documents_cannot_be_posted_to() {
    let rig = Rig::start();
    let admin = rig.admin();
    let mut connection = rig.target().http2(admin.identity.as_ref()).await.unwrap();
    for path in ["/apis", BASES[0], BASES[1], "/apis/metrics.k8s.io", "/version"] {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{SERVICE}{path}"))
            .body(Full::new(Bytes::from("{}")))
            .unwrap();
        *request.headers_mut() = admin.headers.clone();
        let (head, body) = connection.send(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((head.status.as_u16(), &document["reason"]), (405, &"MethodNotAllowed".into()), "{path}");
    }
}
