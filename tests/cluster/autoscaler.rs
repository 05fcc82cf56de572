//! The real horizontal pod autoscaler scales a Deployment up under load, and down after it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    measured,
    metrics::get,
    pods::{container, spec},
    stage::{Stage, on_stage},
    wait::{now_s, seconds, wait_for},
};

/// What a pod may use, and what it asks for: under load it is far above 100 percent even where the node is busy elsewhere,
/// and at rest far below.
const LIMIT: u32 = 200;
const REQUEST: u32 = 20;

/// Time for the first pod to become ready and idle before the load begins.
const BEFORE: f64 = 60.0;

/// How long the load lasts. The autoscaler decides every 15 s, and has to decide once while it lasts.
const LOAD: f64 = 75.0;

/// Longest from the load to a decision: the window has to fill with more than the target and a tenth, and two rounds of
/// the autoscaler.
const DECISION: f64 = 60.0;

/// Most replicas.
const MOST: i64 = 3;

/// Works while the node's clock is between two times, and rests otherwise. Every pod of the Deployment does the same,
/// however late it came.
fn work_between(begin: f64, end: f64) -> String {
    format!(
        "while :; do now=$(date +%s); if [ $now -ge {begin:.0} ] && [ $now -lt {end:.0} ]; then n=0; \
         while [ $n -lt 20000 ]; do n=$((n + 1)); done; else sleep 1; fi; done"
    )
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn the_autoscaler_scales_up_under_load_and_down_after_it() {
    on_stage("hpa", async |stage| {
        let version = newest_version(&stage).await;
        scale_up_and_down(&stage, &version, autoscaler_v2()).await;
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn the_autoscaler_of_version_1_scales_up_under_load_and_down_after_it() {
    on_stage("hpa-v1", async |stage| {
        let mut autoscaler = autoscaler_v1();
        // What version 2 calls behavior is kept in version 1 as this annotation.
        let key = "autoscaling.alpha.kubernetes.io/behavior";
        autoscaler["metadata"]["annotations"] = json!({key: behavior().to_string()});
        scale_up_and_down(&stage, "v1", autoscaler).await;
    });
}

/// The defaults, but scaling down without their five minutes of waiting. Complete, because version 1 takes its
/// annotation as it is.
fn behavior() -> Value {
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    json!({
        "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [percent, pods]},
        "scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [percent]},
    })
}

fn autoscaler_v1() -> Value {
    json!({
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "work"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "work"},
            "minReplicas": 1,
            "maxReplicas": MOST,
            "targetCPUUtilizationPercentage": 100,
        },
    })
}

fn autoscaler_v2() -> Value {
    let mut autoscaler = autoscaler_v1();
    let spec = &mut autoscaler["spec"];
    spec.as_object_mut().expect("an object").remove("targetCPUUtilizationPercentage");
    let target = json!({"type": "Utilization", "averageUtilization": 100});
    spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    spec["behavior"] = behavior();
    autoscaler
}

/// The newest version of the autoscaling API that kube-apiserver has and that knows `behavior`.
async fn newest_version(stage: &Stage) -> String {
    let group = get(&stage.client, "/apis/autoscaling").await.expect("every cluster has autoscaling");
    let versions = group["versions"].as_array().expect("a group has versions");
    let has = |wanted: &str| versions.iter().any(|version| version["version"] == wanted);
    let version = ["v2", "v2beta2"].into_iter().find(|version| has(version));
    version.expect("autoscaling/v2 is there since 1.23, v2beta2 before").to_owned()
}

/// The autoscaler's state: how many replicas it wants, its latest change, and the object.
async fn state(stage: &Stage, version: &str) -> Result<(i64, Option<f64>, Value), String> {
    let namespace = &stage.namespace;
    let path = format!("/apis/autoscaling/{version}/namespaces/{namespace}/horizontalpodautoscalers/work");
    let object = get(&stage.client, &path).await?;
    let status = &object["status"];
    let scaled = status["lastScaleTime"].as_str().map(|time| seconds(time.parse().expect("a time")));
    Ok((status["desiredReplicas"].as_i64().unwrap_or(0), scaled, object))
}

async fn create(stage: &Stage, version: &str, mut autoscaler: Value, script: &str) {
    let mut work = container(stage, "work", script, Some(LIMIT));
    work["resources"]["requests"]["cpu"] = json!(format!("{REQUEST}m"));
    let labels = json!({"app": "work"});
    let template = json!({"metadata": {"labels": labels}, "spec": spec(&[work])});
    let deployment = json!({
        "metadata": {"name": "work"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    });
    let deployments: Api<Deployment> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let deployment = serde_json::from_value(deployment).expect("a deployment");
    deployments.create(&PostParams::default(), &deployment).await.expect("a deployment can be created");
    autoscaler["apiVersion"] = json!(format!("autoscaling/{version}"));
    let path = format!("/apis/autoscaling/{version}/namespaces/{}/horizontalpodautoscalers", stage.namespace);
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&autoscaler).expect("JSON"));
    let created = stage.client.request::<Value>(request.expect("a request")).await;
    created.expect("an autoscaler can be created");
}

async fn scale_up_and_down(stage: &Stage, version: &str, autoscaler: Value) {
    let begin = now_s().ceil() + BEFORE;
    let end = begin + LOAD;
    create(stage, version, autoscaler, &work_between(begin, end)).await;
    let wait = |until: f64| Duration::from_secs_f64((until - now_s()).max(1.0));

    // Before the load: the autoscaler sees an idle pod and has nothing to do.
    wait_for("the autoscaler has seen an idle pod", wait(begin), async || {
        let (desired, _, object) = state(stage, version).await?;
        let status = object["status"].to_string();
        let reads = status.contains("currentCPUUtilizationPercentage") || status.contains("averageValue");
        if desired == 1 && reads { Ok(()) } else { Err(status) }
    })
    .await;
    assert!(now_s() < begin, "the pod was not ready in time");

    let (desired, scaled) = wait_for("the autoscaler scales up", wait(begin + DECISION), async || {
        let (desired, scaled, object) = state(stage, version).await?;
        if desired > 1 { Ok((desired, scaled)) } else { Err(object["status"].to_string()) }
    })
    .await;
    let scaled = scaled.expect("who has scaled says when") - begin;
    measured!("autoscaling/{version}: {desired} replicas wanted {scaled:.0} s after the load began");
    assert!(scaled >= 0.0, "scaled before the load");

    let most = wait_for("all replicas are wanted", wait(end + 30.0), async || {
        let (desired, _, object) = state(stage, version).await?;
        if desired == MOST { Ok(now_s() - begin) } else { Err(object["status"].to_string()) }
    })
    .await;
    measured!("{MOST} replicas wanted {most:.0} s after the load began");

    let scaled = wait_for("the autoscaler scales down", wait(end + 2.0 * DECISION), async || {
        let (desired, scaled, object) = state(stage, version).await?;
        if desired == 1 { Ok(scaled) } else { Err(object["status"].to_string()) }
    })
    .await;
    let after = scaled.expect("who has scaled says when") - end;
    measured!("1 replica wanted {after:.0} s after the load ended");
    assert!(after >= 0.0, "scaled down under load");
}
