//! The watch in conversation with an API server.

mod api;

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use self::api::FakeApi;
use super::*;
use crate::store::{Limits, node::CounterRef};

/// Long enough for a few backoffs on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

struct World {
    api: FakeApi,
    directory: Arc<Directory>,
    metrics: metrics::Cluster,
    synced: Synced,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    /// A watch of `api` that has begun.
    async fn start(api: FakeApi) -> Self {
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", api.address)}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
        let directory: Arc<Directory> = Arc::default();
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        let limits = Limits { containers: 1, nodes: 1, kept: Duration::from_secs(60) };
        let (store, metrics) = (Arc::new(Store::new(limits)), metrics::Cluster::default());
        let cluster = Cluster::connect(Some(&path), Arc::clone(&directory), store, &metrics).await.unwrap();
        let (synced, shutdown) = (cluster.synced(), CancellationToken::new());
        let task = tokio::spawn(cluster.run(shutdown.clone()));
        Self { api, directory, metrics, synced, shutdown, task }
    }

    async fn synced(&self) {
        timeout(DEADLINE, self.synced.wait()).await.expect("lists are taken over in time");
    }

    /// Waits until the directory's pods, each with the id of its container, are these.
    async fn wait_for_pods(&self, expected: &[(&str, &str)]) {
        let pods = || -> Vec<(String, String)> {
            let pods = self.directory.pods(|_| true);
            pods.iter().map(|pod| (pod.name.to_string(), id(pod))).collect()
        };
        let expected: Vec<_> = expected.iter().map(|&(name, id)| (name.to_owned(), id.to_owned())).collect();
        wait_until(|| pods() == expected, || format!("{:?}", pods())).await;
    }

    async fn wait_for_nodes(&self, expected: &[&str]) {
        let nodes = || -> Vec<String> {
            let nodes = self.directory.nodes();
            nodes.iter().map(|node| node.name.to_string()).collect()
        };
        wait_until(|| nodes() == expected, || format!("{:?}", nodes())).await;
    }

    fn pods_counted(&self) -> metrics::Watch {
        self.metrics.of(metrics::Cluster::PODS)
    }
}

async fn wait_until(mut holds: impl FnMut() -> bool, state: impl Fn() -> String) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(DEADLINE, held).await.is_ok(), "still {}", state());
}

fn id(pod: &crate::directory::PodRecord) -> String {
    match pod.containers.first().map(|container| &container.counter) {
        Some(CounterRef::Container(id)) => id.to_string(),
        _ => String::new(),
    }
}

fn mk_pod(name: &str, id: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}")},
        "spec": {"nodeName": "n1", "containers": [{"name": "web"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "web", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "containerID": format!("containerd://{id}"), "state": {"running": {}}}]}})
}

fn mk_node(name: &str) -> Value {
    json!({"metadata": {"name": name, "creationTimestamp": "2026-11-01T00:00:00Z"}})
}

#[tokio::test]
async fn the_directory_follows_pods_and_nodes() {
    let api = FakeApi::start().await;
    api.pods.put(mk_pod("a", "a1"));
    api.pods.put(mk_pod("b", "b1"));
    api.nodes.put(mk_node("n1"));
    let world = World::start(api).await;
    let World { api, .. } = &world;

    // The first list is there as soon as we are in step.
    world.synced().await;
    assert_eq!(world.directory.pods(|_| true).len(), 2);
    assert_eq!(world.directory.nodes().len(), 1);
    assert_eq!(api.pods.fields.borrow().as_deref(), Some(RUNNING));
    assert_eq!(*api.nodes.fields.borrow(), None);

    // An added pod, a container that restarted, a pod that ended, a deleted one.
    api.pods.put(mk_pod("c", "c1"));
    world.wait_for_pods(&[("a", "a1"), ("b", "b1"), ("c", "c1")]).await;
    api.pods.put(mk_pod("a", "a2"));
    world.wait_for_pods(&[("a", "a2"), ("b", "b1"), ("c", "c1")]).await;
    let mut done = mk_pod("c", "c1");
    done["status"]["phase"] = json!("Succeeded");
    api.pods.put(done);
    world.wait_for_pods(&[("a", "a2"), ("b", "b1")]).await;
    api.pods.delete("b");
    world.wait_for_pods(&[("a", "a2")]).await;
    api.nodes.put(mk_node("n2"));
    world.wait_for_nodes(&["n1", "n2"]).await;
    api.nodes.delete("n1");
    world.wait_for_nodes(&["n2"]).await;

    assert_eq!(world.pods_counted().known.get(), 1);
    assert_eq!(world.pods_counted().events.get(), 6);
    assert_eq!(world.pods_counted().errors.get(), 0);
    assert_eq!(api.pods.lists.load(Ordering::Relaxed), 1);
    world.shutdown.cancel();
    timeout(DEADLINE, world.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_vanished_while_nobody_watched_is_gone_after_the_relist() {
    let api = FakeApi::start().await;
    for name in ["a", "b"] {
        api.pods.put(mk_pod(name, "1"));
        api.nodes.put(mk_node(name));
    }
    let world = World::start(api).await;
    world.synced().await;

    world.api.pods.delete_unseen("a");
    world.api.nodes.delete_unseen("b");
    world.wait_for_pods(&[("b", "1")]).await;
    world.wait_for_nodes(&["a"]).await;
    let counted = world.pods_counted();
    assert!(counted.errors.get() >= 1);
    assert_eq!(counted.known.get(), 1);
    wait_until(|| counted.relists.get() == 1, || counted.relists.get().to_string()).await;

    // And the watch goes on from there.
    world.api.pods.put(mk_pod("c", "1"));
    world.wait_for_pods(&[("b", "1"), ("c", "1")]).await;
}

#[tokio::test]
async fn an_api_server_that_is_away_at_the_start_is_waited_for() {
    let api = FakeApi::start().await;
    api.pods.put(mk_pod("a", "1"));
    api.pods.set_away(true);
    let world = World::start(api).await;
    let errors = world.pods_counted().errors;
    wait_until(|| errors.get() >= 2, || errors.get().to_string()).await;
    let at_once = timeout(Duration::ZERO, world.synced.wait()).await;
    assert!(at_once.is_err(), "nothing was listed");

    world.api.pods.set_away(false);
    world.synced().await;
    assert_eq!(world.directory.pods(|_| true).len(), 1);
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_named() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("missing");
    let store = Arc::new(Store::new(Limits { containers: 1, nodes: 1, kept: Duration::from_secs(60) }));
    let error =
        Cluster::connect(Some(&path), Arc::default(), store, &metrics::Cluster::default()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&path.display().to_string()), "{text}");
}
