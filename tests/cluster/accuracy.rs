//! What is served against the node's own counters, and how old it is beside what the kubelet has.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    counters::{PRINT_COUNTERS, Reading, WORK, allowed, readings},
    forms::Pod,
    measured,
    metrics::{nodes, pods},
    pods::{container, node_of, spec},
    stage::{Stage, on_stage},
    wait::now_s,
};

/// Answers that are compared.
const ANSWERS: usize = 20;

/// Counters of memory are kept per core in steps, and an agent and a container cannot read at one moment.
const MEMORY_SLACK: u64 = 1 << 20;

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_is_served_lies_within_what_the_containers_own_counters_allow() {
    on_stage("accuracy", async |stage| {
        let script = format!("{WORK}{PRINT_COUNTERS}");
        let pod = stage.run("counted", spec(&[container(&stage, "work", &script, None)])).await;
        let full = Duration::from_secs(14);
        stage.served("counted", Duration::from_secs(60), |pod| pod.window >= full).await;
        let mut answers: Vec<(f64, Pod)> = Vec::new();
        while answers.len() < ANSWERS {
            let served = pods(&stage.client, "v1", &stage.namespace).await.unwrap();
            answers.push((now_s(), served["counted"].clone()));
            sleep(Duration::from_millis(500)).await;
        }
        // The last answer's second has to be over before the log is read.
        sleep(Duration::from_secs(2)).await;
        let readings = readings(&stage.log("counted", "work").await);
        let widest = answers.iter().map(|(_, pod)| compare(&readings, pod)).fold(0.0, f64::max);
        let oldest = answers.iter().map(|(at, pod)| at - pod.timestamp as f64).fold(0.0, f64::max);
        let used = answers[ANSWERS - 1].1.usage().nanocores as f64 / 1e6;
        measured!(
            "{ANSWERS} answers of about {used:.1} m within bounds at most {widest:.1} m wide; numbers at most \
             {oldest:.1} s old (whole seconds, cut off)"
        );
        report_kubelet(&stage, &node_of(&pod), used).await;
    });
}

/// Fails if an answer is none that the readings allow; returns how wide the bounds were, in millicores.
fn compare(readings: &[Reading], served: &Pod) -> f64 {
    let second = served.timestamp as f64;
    let (low, high) = allowed(readings, served).expect("the log reaches over every window");
    let used = served.usage().nanocores as f64 / 1e9;
    assert!((low..=high).contains(&used), "{used} cores served, {low} to {high} counted; {served:?}");
    let near = readings.iter().filter(|reading| (second - 1.0..second + 2.0).contains(&reading.at));
    let sets: Vec<u64> = near.map(|reading| reading.working_set).collect();
    let least = sets.iter().min().expect("readings of that second").saturating_sub(MEMORY_SLACK);
    let most = sets.iter().max().expect("readings of that second") + MEMORY_SLACK;
    let memory = served.usage().memory;
    assert!((least..=most).contains(&memory), "{memory} bytes served, {least} to {most} counted");
    (high - low) * 1e3
}

/// Prints what the kubelet of a node has of the same pod, and how old it is.
async fn report_kubelet(stage: &Stage, node: &str, used: f64) {
    let wanted = format!("namespace=\"{}\"", stage.namespace);
    let cpu = "container_cpu_usage_seconds_total";
    let mut points = Vec::new();
    for _ in 0..2 {
        let page = match kubelet_page(stage, node).await {
            Ok(page) => page,
            Err(why) => return measured!("LEFT OUT: the kubelet's numbers: {why}"),
        };
        let line = page.lines().find(|line| line.starts_with(cpu) && line.contains(&wanted));
        let Some(point) = line.and_then(point) else {
            return measured!("the kubelet has no number of the pod");
        };
        points.push((now_s() - point.0, point));
        sleep(Duration::from_secs(25)).await;
    }
    let [(_, (t1, c1)), (age, (t2, c2))] = points[..] else { return };
    measured!(
        "the kubelet's number is {age:.1} s old; {:.1} m over {:.1} s, we served {used:.1} m",
        (c2 - c1) / (t2 - t1) * 1e3,
        t2 - t1
    );
}

async fn kubelet_page(stage: &Stage, node: &str) -> Result<String, String> {
    let path = format!("/api/v1/nodes/{node}/proxy/metrics/resource");
    let request = http::Request::get(path).body(Vec::new()).expect("a request");
    stage.client.request_text(request).await.map_err(|error| error.to_string())
}

/// Time in seconds and value of `name{labels} VALUE MILLISECONDS`.
fn point(line: &str) -> Option<(f64, f64)> {
    let mut words = line.rsplit(' ');
    let time: f64 = words.next()?.parse().ok()?;
    Some((time / 1e3, words.next()?.parse().ok()?))
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_nodes_working_set_is_the_kubelets() {
    on_stage("node", async |stage| {
        for node in stage.nodes_with_agents().await {
            let page = match kubelet_page(&stage, &node).await {
                Ok(page) => page,
                Err(why) => return measured!("LEFT OUT: {why}"),
            };
            let line = page.lines().find(|line| line.starts_with("node_memory_working_set_bytes"));
            let (at, kubelets) = line.and_then(point).expect("the kubelet has its node's memory");
            let served = nodes(&stage.client, "v1").await.unwrap()[&node];
            let mib = |bytes: f64| bytes / f64::from(1 << 20);
            let (ours, kubelets) = (mib(served.usage.memory as f64), mib(kubelets));
            let ages = (now_s() - served.timestamp as f64, now_s() - at);
            measured!(
                "{node}: {ours:.0} MiB, {:.1} s old; kubelet {kubelets:.0} MiB, {:.1} s old",
                ages.0,
                ages.1
            );
            // A node's memory moves between the two readings.
            assert!((ours - kubelets).abs() < kubelets * 0.05 + 64.0);
        }
    });
}
