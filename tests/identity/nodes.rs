//! A node that is deleted, and another that comes under its name.

use std::time::{Duration, Instant};

use crate::{
    apiserver::make::node,
    fleet::{Fleet, Load},
    rig::{NODE, Rig, agent_user, ingest},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_added_again_never_shows_the_numbers_of_the_one_before() {
    let rig = Rig::start();
    rig.api.cluster.reviews.issue("agent", agent_user(NODE));
    let old = Fleet::booted(Duration::from_millis(300), "the-machine-before");
    old.load_node(NODE, Load { millicores: 700, memory: 1 << 30 });
    old.agent(NODE, "agent", &[ingest(&rig.aggregator)]);
    let (admin, path) = (rig.admin(), format!("/apis/metrics.k8s.io/v1/nodes/{NODE}"));
    rig.until(&admin, &path, |answer| answer.status == 200).await;

    // The machine dies, and its object is replaced at once.
    drop(old);
    rig.api.cluster.nodes.delete("", NODE);
    let mut again = node(NODE, &[]);
    again["metadata"]["creationTimestamp"] = "2026-11-01T00:00:00Z".into();
    again["metadata"]["uid"] = "another".into();
    rig.api.cluster.nodes.put(again);
    rig.until(&admin, &path, |answer| answer.status == 404).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(rig.get(&admin, &path).await.status, 404);
    }
    rig.fleet.load_node(NODE, Load { millicores: 200, memory: 2 << 30 });
    rig.fleet.agent(NODE, "agent", &[ingest(&rig.aggregator)]);
    let answer = rig.until(&admin, &path, |answer| answer.status == 200).await;
    assert_eq!(answer.json()["usage"]["memory"], "2Gi", "{answer:?}");
}
