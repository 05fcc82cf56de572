//! Pods of known usage are served with it: the cases that metrics-server's own end-to-end tests have, made exact.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    forms::Pod,
    measured,
    metrics::{VERSIONS, list, nodes, pods},
    pods::{BURN, IDLE, container, spec, started},
    stage::{Stage, on_stage},
    wait::{now_s, wait_for},
};
use serde_json::json;

/// What is served for an endless loop that is held at 50 millicores: metrics-server's own tests allow as much. A node that
/// is busy elsewhere gives less; `accuracy` compares with what it gave.
const FIFTY: std::ops::RangeInclusive<f64> = 40.0..=60.0;

/// A pod has its numbers within this time of its start.
const SOON: Duration = Duration::from_secs(60);

/// As soon as the window is free of the start.
fn settled(pod: &Pod) -> bool {
    pod.window >= Duration::from_secs(10)
}

fn names(pod: &Pod) -> Vec<&str> {
    pod.containers.keys().map(String::as_str).collect()
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn lists_of_pods_and_nodes_are_not_empty_in_either_version() {
    on_stage("lists", async |stage| {
        for version in VERSIONS {
            let pods = list(&stage.client, version, "pods").await.unwrap();
            let nodes = list(&stage.client, version, "nodes").await.unwrap();
            measured!("{version}: {} pods on {} nodes", pods.len(), nodes.len());
            assert!(!pods.is_empty() && !nodes.is_empty());
        }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn every_node_with_a_ready_agent_is_served_alone_and_in_the_list() {
    on_stage("nodes", async |stage| {
        let agents = stage.nodes_with_agents().await;
        assert!(!agents.is_empty(), "no agent is ready");
        let listed = nodes(&stage.client, "v1").await.unwrap();
        let missing: BTreeSet<_> = agents.iter().filter(|node| !listed.contains_key(*node)).collect();
        assert!(missing.is_empty(), "not in the list: {missing:?}");
        for node in &agents {
            let path = format!("/apis/metrics.k8s.io/v1beta1/nodes/{node}");
            let served = crate::metrics::get(&stage.client, &path).await.unwrap();
            measured!("{node}: {}, {:.1} s old", served["usage"], now_s() - listed[node].timestamp as f64);
        }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_container_held_at_50_millicores_is_served_with_50() {
    on_stage("cpu", async |stage| {
        stage.run("cpu", spec(&[container(&stage, "burn", BURN, Some(50))])).await;
        let served = stage.served("cpu", SOON, settled).await;
        let millicores = served.usage().nanocores as f64 / 1e6;
        measured!("{millicores:.1} m over {:?}", served.window);
        assert!(FIFTY.contains(&millicores), "{served:?}");
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_container_that_holds_50_mib_is_served_with_50() {
    on_stage("memory", async |stage| {
        // Files of a memory volume are memory of whoever wrote them, and never reclaimable cache.
        let fill = format!("dd if=/dev/zero of=/fill/fifty bs=1048576 count=50 && {IDLE}");
        let mut container = container(&stage, "hold", &fill, None);
        container["volumeMounts"] = json!([{"name": "fill", "mountPath": "/fill"}]);
        let mut spec = spec(&[container]);
        spec["volumes"] = json!([{"name": "fill", "emptyDir": {"medium": "Memory"}}]);
        stage.run("memory", spec).await;
        let served = stage.served("memory", SOON, settled).await;
        let mib = served.usage().memory as f64 / f64::from(1 << 20);
        measured!("{mib:.2} MiB");
        assert!((50.0..=53.0).contains(&mib), "{served:?}");
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn an_init_container_that_has_ended_is_not_served() {
    on_stage("init", async |stage| {
        let mut spec = spec(&[container(&stage, "app", BURN, Some(50))]);
        spec["initContainers"] = json!([container(&stage, "init", "sleep 10", None)]);
        stage.run("init", spec).await;
        let served = stage.served("init", SOON, |_| true).await;
        measured!("{:?}", names(&served));
        assert_eq!(names(&served), ["app"]);
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_sidecar_is_a_container_of_its_own() {
    on_stage("sidecar", async |stage| {
        let burn = |name| container(&stage, name, BURN, Some(50));
        stage.run("two", spec(&[burn("app"), burn("sidecar")])).await;
        let served = stage.served("two", SOON, settled).await;
        let millicores = served.containers.values().map(|usage| usage.nanocores as f64 / 1e6);
        let millicores: Vec<f64> = millicores.collect();
        measured!("{:?} with {millicores:.1?} m", names(&served));
        assert_eq!(names(&served), ["app", "sidecar"]);
        assert!(millicores.iter().all(|used| FIFTY.contains(used)), "{served:?}");
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_restartable_init_container_is_served_beside_the_app() {
    on_stage("restartable", async |stage| {
        let minor = stage.minor_version().await;
        // On by default since 1.29.
        if minor < 29 {
            measured!("LEFT OUT: Kubernetes 1.{minor} has no restartable init containers");
            return;
        }
        let mut init = container(&stage, "sidecar", BURN, Some(50));
        init["restartPolicy"] = json!("Always");
        let mut spec = spec(&[container(&stage, "app", BURN, Some(50))]);
        spec["initContainers"] = json!([init]);
        stage.run("restartable", spec).await;
        let served = stage.served("restartable", SOON, |_| true).await;
        measured!("{:?}", names(&served));
        assert_eq!(names(&served), ["app", "sidecar"]);
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_new_pod_is_served_within_seconds_and_a_deleted_one_is_not_served() {
    on_stage("lifecycle", async |stage| {
        let pod = stage.run("short", spec(&[container(&stage, "idle", IDLE, None)])).await;
        stage.served("short", SOON, |_| true).await;
        let after = now_s() - started(&pod);
        measured!("served {after:.1} s after its container started (whole seconds)");
        assert!(after < 10.0, "{after} s until the first number");
        stage.end("short").await;
        let gone = now_s();
        wait_for("the pod is not served any more", Duration::from_secs(5), async || {
            let served = pods(&stage.client, "v1", &stage.namespace).await?;
            if served.is_empty() { Ok(()) } else { Err(format!("{served:?}")) }
        })
        .await;
        measured!("not served {:.2} s after the pod was gone", now_s() - gone);
    });
}

impl Stage {
    /// The minor version of kube-apiserver; some providers write a plus sign after it.
    pub(crate) async fn minor_version(&self) -> u32 {
        let version =
            crate::metrics::get(&self.client, "/version").await.expect("kube-apiserver has a version");
        let minor = crate::forms::text(&version["minor"]);
        minor.trim_end_matches('+').parse().expect("a minor version is a number")
    }
}
