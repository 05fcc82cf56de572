//! Two agents for one node.

use std::time::{Duration, Instant};

use crate::{
    apiserver::make::Pod,
    rig::{Answer, NODE, Rig, agent_user, ingest},
};

/// How long both agents are there.
const BOTH: Duration = Duration::from_secs(8);

fn ended(rig: &Rig, reason: &str) -> f64 {
    let name = format!("kubevitals_aggregator_ingest_streams_ended_total{{reason=\"{reason}\"}}");
    rig.aggregator.metrics().get(&name)
}

/// An agent's pod that was made at this second.
fn agent_pod(rig: &Rig, name: &str, second: u32) -> String {
    let pod = Pod::new("kube-system", name, NODE);
    let mut object = pod.object();
    object["metadata"]["creationTimestamp"] = format!("2026-11-01T00:00:{second:02}Z").into();
    rig.api.cluster.pods.put(object);
    let user = agent_user(NODE)
        .extra("authentication.kubernetes.io/pod-name", name)
        .extra("authentication.kubernetes.io/pod-uid", &pod.uid());
    rig.api.cluster.reviews.issue(name, user);
    name.to_owned()
}

fn timestamp(answer: &Answer) -> String {
    answer.json()["timestamp"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_daemon_set_surges_the_newest_pod_speaks_and_no_number_is_missed() {
    let rig = Rig::start();
    rig.run(&Pod::new("shop", "web", NODE), 100);
    let (old, new) = (agent_pod(&rig, "agent-old", 1), agent_pod(&rig, "agent-new", 2));
    rig.fleet.agent(NODE, &old, &[ingest(&rig.aggregator)]);
    let path = "/apis/metrics.k8s.io/v1/namespaces/shop/pods/web";
    let admin = rig.admin();
    let mut before = timestamp(&rig.until(&admin, path, |answer| answer.status == 200).await);

    rig.fleet.agent(NODE, &new, &[ingest(&rig.aggregator)]);
    let (begun, mut asked, mut advanced) = (Instant::now(), 0, Instant::now());
    let mut longest = Duration::ZERO;
    while begun.elapsed() < BOTH {
        let answer = rig.get(&admin, path).await;
        assert_eq!(answer.status, 200, "a gap after {:?}", begun.elapsed());
        let now = timestamp(&answer);
        assert!(now >= before, "{now} after {before}");
        if now > before {
            longest = longest.max(advanced.elapsed());
            advanced = Instant::now();
        }
        (before, asked) = (now, asked + 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Also when none came any more.
    longest = longest.max(advanced.elapsed());
    let (replaced, outranked) = (ended(&rig, "replaced"), ended(&rig, "outranked"));
    eprintln!("{asked} answers, longest step {longest:?}; replaced {replaced}, outranked {outranked}");
    assert_eq!(replaced.to_bits(), f64::from(1).to_bits(), "the node changes hands once");
    assert!(outranked >= 1.0, "the old one comes back and is told");
    assert!(longest < BOTH / 2, "{longest:?}");
}
