//! Pods of other nodes.

use crate::{
    apiserver::make::{Pod, node},
    program::{PATIENCE, wait_until},
    rig::{NODE, Rig},
    witness::{self, WITNESS},
};

const REFUSED: &str = "kubevitals_aggregator_ingest_refused_announcements_total{reason=\"foreign_pod\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_names_pods_of_another_node_adds_nothing_is_counted_and_disturbs_nobody() {
    const LIES: u32 = 50;
    let rig = Rig::start();
    witness::start(&rig).await;
    // The liar claims the witness's pods to be its own, with another load, beside an honest one.
    let own = Pod::new("shop", "own", NODE);
    rig.run(&own, 100);
    let true_pods: Vec<Pod> = (0..LIES).map(|n| Pod::new("witness", &format!("more-{n}"), WITNESS)).collect();
    for pod in &true_pods {
        rig.run(pod, 300);
    }
    let served = |count: usize| move |answer: &crate::rig::Answer| answer.items().len() == count;
    let path = "/apis/metrics.k8s.io/v1/namespaces/witness/pods";
    rig.until(&rig.admin(), path, served(true_pods.len() + 1)).await;
    for pod in &true_pods {
        rig.fleet.run(&Pod { node: NODE.to_owned(), ..pod.clone() }, 9000);
    }
    rig.agent(NODE, &[rig.ingest()]);
    rig.until(&rig.admin(), "/apis/metrics.k8s.io/v1/namespaces/shop/pods", served(1)).await;

    assert_eq!(rig.aggregator.metrics().get(REFUSED).to_bits(), f64::from(LIES).to_bits());
    // The witness's containers, its nodes' own counters apart, and the one of the liar that is its own.
    wait_until("only true containers", PATIENCE, || {
        let containers = rig.aggregator.metrics().get("kubevitals_aggregator_containers");
        let expected = f64::from(LIES + 2);
        if containers.to_bits() == expected.to_bits() { Ok(()) } else { Err(containers.to_string()) }
    });
    let answer = rig.get(&rig.admin(), path).await;
    for item in answer.items() {
        let cpu = item["containers"][0]["usage"]["cpu"].as_str().unwrap();
        assert!(["250m", "300m"].contains(&cpu), "{item}");
    }
    let log = rig.aggregator.program.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("pods of another node")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(WITNESS) && lines[0].contains(NODE), "{lines:?}");
    assert_eq!(rig.fleet.ends(NODE), [] as [String; 0], "its stream goes on");
    witness::lost_nothing(&rig, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_made_anew_under_their_names_on_other_nodes_are_never_refused() {
    let rig = Rig::start();
    rig.api.cluster.nodes.put(node("n2", &[]));
    for node in [NODE, "n2"] {
        rig.agent(node, &[rig.ingest()]);
    }
    let path = "/apis/metrics.k8s.io/v1/namespaces/shop/pods/web-0";
    let mut pod = Pod::new("shop", "web-0", NODE);
    for round in 0..6_u32 {
        // The agent sees it before the watch does, and after the watch has told that it is gone.
        rig.fleet.run(&pod, 100);
        if round % 2 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        }
        rig.api.cluster.pods.put(pod.object());
        rig.until(&rig.admin(), path, |answer| answer.status == 200).await;
        rig.api.cluster.pods.delete("shop", "web-0");
        let next = if pod.node == NODE { "n2" } else { NODE };
        let successor = Pod { generation: pod.generation + 1, node: next.to_owned(), ..pod.clone() };
        rig.fleet.run(&successor, 100);
        rig.fleet.end(&pod);
        pod = successor;
    }
    assert_eq!(rig.aggregator.metrics().get(REFUSED).to_bits(), 0);
    assert_eq!(rig.fleet.all_ends(), []);
}
