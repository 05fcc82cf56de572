//! The honest agent beside a dishonest one.

use std::time::Duration;

use crate::{
    apiserver::make::{Pod, node},
    program::wait_until,
    rig::Rig,
};

/// The witness's node, with a pod of its own.
pub(crate) const WITNESS: &str = "witness";

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts it and waits until its pod is served.
pub(crate) async fn start(rig: &Rig) {
    rig.api.cluster.nodes.put(node(WITNESS, &[]));
    rig.agent(WITNESS, &[rig.ingest()]);
    rig.run(&Pod::new("witness", "web", WITNESS), 250);
    let path = "/apis/metrics.k8s.io/v1/namespaces/witness/pods/web";
    rig.until(&rig.admin(), path, |answer| answer.status == 200).await;
}

/// Shows that nothing it sent is missing, and that its stream never ended. Only batches of other nodes whose agents
/// are of the same fleet may be there besides.
pub(crate) fn lost_nothing(rig: &Rig, others: u64) {
    assert_eq!(rig.fleet.ends(WITNESS), [] as [String; 0]);
    let metrics = || rig.aggregator.metrics();
    assert_eq!(metrics().get("kubevitals_aggregator_ingest_lost_batches_total").to_bits(), 0);
    let sent = rig.fleet.batches();
    wait_until("every batch sent is stored", PATIENCE, || {
        let stored = metrics().get("kubevitals_aggregator_ingest_batches_total");
        let expected = f64::from(u32::try_from(sent - others).unwrap());
        if stored >= expected { Ok(()) } else { Err(format!("{stored} of {expected}")) }
    });
    eprintln!("the witness: {sent} batches sent in all, none lost");
}
