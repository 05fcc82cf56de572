//! No agent at all: kubelets alone answer `kubectl top`.

use std::process::Command;

use tokio::time::Duration;

use crate::{
    apiserver::{ApiServer, make::Pod, reviews::User},
    kubelet::{Kubelet, container, millis, seconds},
    program::wait_until,
    rig::Rig,
};

/// What every test here gives the aggregator.
pub(crate) const FLAGS: [&str; 3] =
    ["--kubelet-fallback", "--kubelet-use-node-status-port", "--metric-resolution=10s"];

/// The longest that first numbers may take: polls begin after 3 s and are 5 s apart at first; and busy cores.
pub(crate) const FIRST: Duration = Duration::from_secs(40);

/// A page of one pod and its node, each using a constant number of thousandths of a CPU since 1970.
pub(crate) fn page(pod: &str, millicores: u64, memory: u64) -> String {
    let now = millis();
    // Milliseconds times thousandths are microseconds.
    let cpu = seconds((now - (now / 100_000_000 * 100_000_000)) * millicores * 1000);
    let node =
        format!("node_cpu_usage_seconds_total {cpu} {now}\nnode_memory_working_set_bytes {memory} {now}\n");
    container(["default", pod, "main"], &cpu, memory, now, 1_700_000_000_000) + &node
}

/// Starts a kubelet for a node with one pod, which the API server knows.
pub(crate) fn node_with_pod(api: &ApiServer, node: &str, millicores: u64) -> Kubelet {
    let pod = format!("pod-of-{node}");
    api.cluster.pods.put(Pod::new("default", &pod, node).object());
    let kubelet = Kubelet::start(&api.pki.serving, &["127.0.0.1"], move || page(&pod, millicores, 64 << 20));
    api.cluster.nodes.put(kubelet.node(node));
    kubelet
}

/// Many nodes, each with its own task and connection, all at one stand-in: what each of them costs.
#[tokio::test(flavor = "multi_thread")]
async fn a_polled_node_costs_little_memory() {
    const NODES: u32 = 300;
    let rig = Rig::with(ApiServer::start(), &FLAGS);
    let kubelet = Kubelet::start(&rig.api.pki.serving, &["127.0.0.1"], || page("p", 100, 4096));
    let polled = || rig.aggregator.metrics().get("kubevitals_aggregator_kubelet_polls_total{outcome=\"ok\"}");
    rig.logged("polling kubelets of nodes", 1).await;
    let (_, before) = rig.aggregator.program.footprint();
    for n in 0..NODES {
        rig.api.cluster.nodes.put(kubelet.node(&format!("many-{n}")));
    }
    tokio::task::block_in_place(|| {
        wait_until("every node is polled twice", FIRST * 2, || {
            let polls = polled();
            (polls >= f64::from(2 * NODES)).then_some(()).ok_or_else(|| format!("{polls} polls"))
        });
    });
    let (descriptors, after) = rig.aggregator.program.footprint();
    let each = after.saturating_sub(before) / u64::from(NODES);
    eprintln!(
        "{NODES} polled nodes: resident {before} -> {after} KiB, {each} KiB each, {descriptors} descriptors"
    );
    assert_eq!(kubelet.connections(), u64::from(NODES), "each connection is kept");
    assert!(each < 128, "{each} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubelets_alone_answer_kubectl_top() {
    let api = ApiServer::start();
    let kubelets = [node_with_pod(&api, "k1", 250), node_with_pod(&api, "k2", 0)];
    let rig = Rig::with(api, &FLAGS);
    rig.api.cluster.nodes.delete("", "n1");
    rig.api.cluster.reviews.issue("reader's", User::new("jane", &["readers", "system:masters"]));
    let kubeconfig = rig.api.kubeconfig(rig.files.path(), "reader's");
    let begun = std::time::Instant::now();
    let top = |what: &str| {
        let output = Command::new("kubectl")
            .args(["--kubeconfig", &kubeconfig.display().to_string(), "top", what, "--no-headers"])
            .output()
            .unwrap();
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        (lines.collect::<Vec<_>>(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    tokio::task::block_in_place(|| {
        wait_until("the group is available", FIRST, || {
            rig.api.check_availability().then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        wait_until("kubectl top pods", FIRST, || {
            let (lines, error) = top("pods");
            // Zero is a number: an idle pod is served.
            (lines == ["pod-of-k1 250m 64Mi", "pod-of-k2 0m 64Mi"])
                .then_some(())
                .ok_or(format!("{lines:?} {error}"))
        });
        eprintln!("first numbers {:?} after the start", begun.elapsed());
        let (lines, error) = top("nodes");
        assert_eq!(lines.len(), 2, "{lines:?} {error}");
        assert!(lines[0].starts_with("k1 250m 6% 64Mi"), "{lines:?}");
        assert!(lines[1].starts_with("k2 0m 0% 64Mi"), "{lines:?}");
    });
    let ready = rig.get(&rig.admin(), "/readyz/kubelets-polled").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    for kubelet in &kubelets {
        let requests = kubelet.requests();
        assert!(requests.len() >= 2);
        assert!(requests[0].contains("authorization: Bearer aggregator-of-kubevitals"), "{}", requests[0]);
        assert!(requests[0].starts_with("GET /metrics/resource HTTP/1.1"));
        assert_eq!(kubelet.connections(), 1, "one connection is kept");
    }
}
