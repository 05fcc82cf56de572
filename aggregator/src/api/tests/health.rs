use super::*;
use crate::api::health::{Health, Probe};

async fn probe(health: &Health, path: &str) -> Answer {
    let state = ApiState { health: health.clone(), ..fixture::state(false) };
    send(state, request(&Method::GET, path)).await
}

fn starting() -> Health {
    let health = Health::default();
    health.register("informer-sync", &[Probe::Ready], || Err("pods and nodes are not known yet".to_owned()));
    health
}

#[tokio::test]
async fn c112_probes_are_plain_text_and_verbose_when_they_fail() {
    let health = Health::default();
    let answer = probe(&health, "/readyz?verbose").await;
    assert_eq!((answer.code, answer.text().as_str()), (StatusCode::OK, "[+]ping ok\nreadyz check passed\n"));
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let answer = probe(&starting(), "/readyz").await;
    assert_eq!(answer.code, 500);
    assert_eq!(answer.text(), "[+]ping ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n");
}

#[tokio::test]
async fn c113_checks_can_be_left_out_and_asked_alone() {
    let health = starting();
    assert_eq!(probe(&health, "/readyz?exclude=informer-sync").await.text(), "ok");
    let answer = probe(&health, "/readyz?verbose&exclude=informer-sync&exclude=x").await;
    assert_eq!(answer.code, 200);
    assert!(answer.text().contains("warn: some health checks cannot be excluded: no matches for \"x\"\n"));
    assert_eq!(probe(&health, "/readyz/ping").await.text(), "ok");
    assert_eq!(probe(&health, "/readyz/informer-sync").await.code, 500);
    for path in ["/livez/nosuch", "/livez/informer-sync"] {
        assert_eq!(probe(&health, path).await.code, 404, "{path}");
    }
    // Some probers send POST.
    for path in ["/readyz/ping", "/livez"] {
        let answer = send(fixture::state(false), request(&Method::POST, path)).await;
        assert_eq!((answer.code, answer.text().as_str()), (StatusCode::OK, "ok"));
    }
}

#[tokio::test]
async fn c114_discovery_answers_before_there_is_data_and_readyz_does_not() {
    let health = starting();
    assert_eq!(probe(&health, "/readyz").await.code, 500);
    for path in ["/livez", "/healthz", "/apis/metrics.k8s.io/v1", "/apis", "/openapi/v2"] {
        assert_eq!(probe(&health, path).await.code, 200, "{path}");
    }
    // Lists too, and they are empty.
    for path in
        ["/apis/metrics.k8s.io/v1/namespaces/none/pods", "/apis/metrics.k8s.io/v1/nodes?labelSelector=none"]
    {
        let answer = probe(&health, path).await;
        assert_eq!((answer.code, answer.at("/items")), (StatusCode::OK, serde_json::json!([])), "{path}");
    }
}

#[tokio::test]
async fn c078_single_checks_need_rights_and_their_probes_do_not() {
    for (path, code) in
        [("/readyz", 200), ("/readyz?verbose", 200), ("/readyz/ping", 403), ("/livez/nosuch", 403)]
    {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        assert_eq!(send(fixture::state(false), request).await.code, code, "{path}");
    }
}
