use std::time::Duration;

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::{
    auth::fake::{Answer, FakeCluster, Signer, config_map, failure},
    tls::{Authority, Serving},
};

const DEADLINE: Duration = Duration::from_secs(20);

fn settings() -> Arc<Settings> {
    Serving::new(Authority::generate().unwrap().issue(&[]).unwrap()).api_config().unwrap()
}

fn object(data: &BTreeMap<String, String>, version: u64) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "data": data,
        "metadata": {"name": NAME, "namespace": NAMESPACE, "resourceVersion": version.to_string()}})
}

/// The names of the trusted authorities.
fn authorities(trust: &ArcSwap<Trust>) -> Vec<Vec<u8>> {
    trust.load().authorities().iter().map(|name| name.as_ref().to_vec()).collect()
}

#[tokio::test(start_paused = true)]
async fn c101_a_missing_configmap_is_named_at_the_start_and_trusts_nobody() {
    for code in [404, 403] {
        let (cluster, client) = FakeCluster::new(move |_, _| failure(code));
        let mut follower = Follower::new(client, vec![settings()], TrustMetrics::default());
        let error = follower.load().await.unwrap_err().to_string();
        assert!(error.starts_with("configmap kube-system/extension-apiserver-authentication cannot be read"));
        assert!(error.contains("--authentication-tolerate-lookup-failure"), "{error}");
        let calls = cluster.calls();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].0, format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"));
        assert!(authorities(&follower.trust()).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_yet_is_asked_again() {
    let data = config_map(&Signer::new("clients"), &Signer::new("proxy"));
    let mut away = 3;
    let (_, client) = FakeCluster::new(move |_, _| {
        away -= 1;
        match away {
            2 => Answer::Unreachable,
            0..2 => failure(503),
            _ => Answer::Json(200, object(&data, 1)),
        }
    });
    let mut follower = Follower::new(client, vec![settings()], TrustMetrics::default());
    follower.load().await.unwrap();
    assert_eq!(authorities(&follower.trust()).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_does_not_hold_up_the_start_for_ever() {
    let (cluster, client) = FakeCluster::new(|_, _| Answer::Hang);
    let mut follower = Follower::new(client, vec![settings()], TrustMetrics::default());
    let begun = tokio::time::Instant::now();
    let error = follower.load().await.unwrap_err().to_string();
    assert!(error.ends_with("no answer in time"), "{error}");
    assert_eq!((cluster.calls().len(), begun.elapsed().as_secs()), (5, 54));
}

/// A cluster whose list holds `data` and whose watch says what the sender is given.
fn watched(data: BTreeMap<String, String>) -> (Arc<FakeCluster>, Client, mpsc::Sender<Value>) {
    let (events, mut receiver) = {
        let (sender, receiver) = mpsc::channel::<Value>(8);
        (sender, Some(receiver))
    };
    let (cluster, client) = FakeCluster::new(move |uri, _| {
        if !uri.contains("watch=true") {
            let list = json!({"kind": "ConfigMapList", "apiVersion": "v1",
                "metadata": {"resourceVersion": "1"}, "items": [object(&data, 1)]});
            return Answer::Json(200, list);
        }
        let Some(receiver) = receiver.take() else { return Answer::Hang };
        let lines = ReceiverStream::new(receiver)
            .map(|event| Ok::<_, std::io::Error>(Bytes::from(format!("{event}\n"))));
        Answer::Stream(Body::from_stream(lines))
    });
    (cluster, client, events)
}

fn modified(data: &BTreeMap<String, String>, version: u64) -> Value {
    json!({"type": "MODIFIED", "object": object(data, version)})
}

async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, held).await.expect("in time");
}

#[tokio::test]
async fn c100_c101_c103_good_versions_are_taken_over_and_bad_ones_change_nothing() {
    let clients = Signer::new("clients");
    let first = config_map(&clients, &Signer::new("proxy"));
    let (cluster, client, events) = watched(first);
    let (metrics, shutdown) = (TrustMetrics::default(), CancellationToken::new());
    let follower = Follower::new(client, vec![settings()], metrics.clone());
    let trust = follower.trust();
    let authorities = || authorities(&trust);
    let running = tokio::spawn(follower.run(shutdown.clone()));
    until(|| metrics.updates.get() == 1).await;
    let before = authorities();
    assert_eq!(before.len(), 2);

    let second = config_map(&clients, &Signer::new("new"));
    let mut broken = second.clone();
    broken.insert("requestheader-allowed-names".to_owned(), "[".to_owned());
    events.send(modified(&broken, 2)).await.unwrap();
    until(|| metrics.refused.get() == 1).await;
    assert_eq!(authorities(), before);
    events.send(json!({"type": "DELETED", "object": object(&broken, 3)})).await.unwrap();
    events.send(modified(&BTreeMap::new(), 4)).await.unwrap();
    until(|| metrics.refused.get() == 2).await;
    assert_eq!(authorities(), before);
    events.send(modified(&second, 5)).await.unwrap();
    until(|| metrics.updates.get() == 2).await;
    assert_ne!(authorities(), before);

    // The role allows this one by name, not all of them.
    for (uri, _) in cluster.calls() {
        assert!(uri.contains(&format!("fieldSelector=metadata.name%3D{NAME}")), "{uri}");
    }
    shutdown.cancel();
    timeout(DEADLINE, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_seen_again_is_not_taken_over_again() {
    let data = config_map(&Signer::new("clients"), &Signer::new("proxy"));
    let (_, client, events) = watched(data.clone());
    let (metrics, shutdown) = (TrustMetrics::default(), CancellationToken::new());
    let follower = Follower::new(client, vec![settings()], metrics.clone());
    let trust = follower.trust();
    let running = tokio::spawn(follower.run(shutdown.clone()));
    until(|| metrics.updates.get() == 1).await;
    let held = trust.load_full();
    events.send(modified(&data, 2)).await.unwrap();
    let mut changed = data;
    changed.insert("requestheader-allowed-names".to_owned(), "nonsense".to_owned());
    events.send(modified(&changed, 3)).await.unwrap();
    events.send(modified(&changed, 4)).await.unwrap();
    until(|| metrics.refused.get() == 1).await;
    assert!(Arc::ptr_eq(&held, &trust.load()));
    shutdown.cancel();
    timeout(DEADLINE, running).await.unwrap().unwrap();
    assert_eq!((metrics.updates.get(), metrics.refused.get()), (1, 1));
}
