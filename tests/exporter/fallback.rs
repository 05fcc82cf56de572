//! The aggregator's own poller of kubelets takes an agent's exporter for one: over TLS, with a token, and serves what
//! the page says.

use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    api::forms,
    apiserver::make::node,
    cgroups::Workload,
    program::{Agent, PATIENCE, wait_until},
    reader::{Point, read},
    rig::{self, NODE, Who},
    stage::{NAMESPACE, Running, Stage, TEXT, scrape},
};

/// What leads an aggregator without agents to the exporter.
const FLAGS: [&str; 4] = [
    "--kubelet-fallback",
    "--kubelet-use-node-status-port",
    // The exporter's certificate is of its own making, like a kubelet's.
    "--kubelet-insecure-tls",
    "--metric-resolution=10s",
];

/// What that aggregator shows: the token of its kubeconfig.
const TOKEN: &str = "aggregator-of-kubevitals";

/// Two polls, the first after some seconds, on cores that may be busy.
const POLLED: Duration = Duration::from_secs(60);

/// Samples of the container on the page, each once.
type Seen = Vec<Point>;

/// An agent whose exporter is what the node says its kubelet is.
fn exporting(stage: &Stage) -> Agent {
    let file = stage.rig.files.path().join("scraper");
    fs::write(&file, TOKEN).unwrap();
    let token = format!("--exporter-token-file={}", file.display());
    let agent = stage.agent(NODE, &["--exporter-listen=127.0.0.1:0", &token]);
    let mut node = node(NODE, &[]);
    node["status"]["addresses"] = json!([{"type": "InternalIP", "address": "127.0.0.1"}]);
    node["status"]["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": agent.program.port("exporter")}});
    stage.rig.api.cluster.nodes.put(node);
    agent
}

fn look(agent: &Agent, running: &Running, seen: &mut Seen) {
    let taken = read(&scrape(agent.admin_port, "/metrics/resource", TEXT).body, 0).unwrap();
    let pod = taken.pods.get(&(NAMESPACE.to_owned(), running.name().to_owned()));
    if let Some(point) =
        pod.and_then(|containers| containers.get("main")).filter(|&point| seen.last() != Some(point))
    {
        seen.push(*point);
    }
}

/// The two samples of the page of which an answer is made.
fn ends(pod: &forms::Pod, seen: &Seen) -> Option<[Point; 2]> {
    let window = u64::try_from(pod.window.as_millis()).unwrap();
    let last = seen.iter().find(|point| point.time / 1000 == pod.timestamp)?;
    let first = seen.iter().find(|point| point.time + window == last.time)?;
    Some([*first, *last])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_without_agents_serves_what_the_page_says() {
    if crate::program::skipped("root") {
        return;
    }
    let stage = Stage::new();
    let web = stage.run(NODE, "web", [("main", Workload::pulse())]);
    let agent = exporting(&stage);
    let poller = stage.rig.replica_with("poller", &FLAGS);
    let reader: Who = stage.rig.reader();
    let path = format!("/apis/metrics.k8s.io/v1/namespaces/{NAMESPACE}/pods/{}", web.name());
    let mut seen = Seen::new();
    let deadline = tokio::time::Instant::now() + POLLED;
    let (pod, [first, last]) = loop {
        tokio::task::block_in_place(|| look(&agent, &web, &mut seen));
        let answer = rig::get(&rig::target(&poller), &reader, &path).await;
        let pod = (answer.status == 200).then(|| forms::pod(&answer.json()));
        if let Some(found) = pod.and_then(|pod| Some((ends(&pod, &seen)?, pod))) {
            break (found.1, found.0);
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?} of {seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let rate = u128::from(last.cpu - first.cpu) * 1_000_000_000 / pod.window.as_nanos();
    assert_eq!(u128::from(pod.usage().nanocores), rate, "{pod:?} {first:?} {last:?}");
    assert_eq!(pod.usage().memory, last.memory, "{pod:?}");
    eprintln!("{pod:?} of {first:?} and {last:?}");
    tokio::task::block_in_place(|| nothing_was_refused(&poller, &agent));
}

fn nothing_was_refused(poller: &crate::program::Aggregator, agent: &Agent) {
    let metrics = poller.metrics();
    let refused = metrics.sum("kubevitals_aggregator_kubelet_refused_total");
    assert!(refused.abs() < 0.5, "{refused} lines");
    assert!(metrics.get("kubevitals_aggregator_kubelet_polls_total{outcome=\"ok\"}") >= 2.0);
    wait_until("the node is served too", PATIENCE, || {
        let failing = poller.metrics().get("kubevitals_aggregator_failing_kubelets");
        if failing < 0.5 { Ok(()) } else { Err(agent.program.log()) }
    });
}
