//! Updates and losses while users ask ten times a second.
//!
//! An update must not be noticed at all. A replica or an agent that is deleted without grace may cost what was in
//! flight, and is counted.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    counters::{PRINT_COUNTERS, WORK, readings},
    installation::{AGENT, AGGREGATOR},
    measured,
    pods::{container, node_of, spec},
    poll::{Poll, Seen, Steady},
    stage::{Stage, on_stage},
    wait::{now, wait_for},
};

/// How long is polled before and after an event: longer than the window of the numbers and than an agent's backoff.
const BESIDE: Duration = Duration::from_secs(20);

/// Longest an update or a recovery may take. New pods may have to wait for an image.
const RECOVERY: Duration = Duration::from_secs(240);

/// A pod that prints its own counters, and polling of it that has been undisturbed for a while.
async fn polling(stage: &Arc<Stage>) -> (Poll, String) {
    let script = format!("{WORK}{PRINT_COUNTERS}");
    let pod = stage.run("steady", spec(&[container(stage, "work", &script, None)])).await;
    stage.served("steady", Duration::from_secs(60), |pod| pod.window >= Duration::from_secs(14)).await;
    let node = node_of(&pod);
    let poll = Poll::start(stage, Steady { pod: "steady".to_owned(), node: node.clone() });
    sleep(BESIDE).await;
    let seen = judged(stage, &poll).await;
    measured!("undisturbed: {seen}");
    assert_unnoticed(&seen);
    (poll, node)
}

/// What was seen until now, compared with the steady pod's counters.
async fn judged(stage: &Stage, poll: &Poll) -> Seen {
    let seen = poll.seen();
    seen.judge(&readings(&stage.log("steady", "work").await))
}

fn assert_unnoticed(seen: &Seen) {
    assert!(seen.failed.is_empty() && seen.gaps.is_empty() && seen.wrong.is_empty(), "{seen}");
    assert!(seen.judged > 0, "{seen}");
    // Replicas are one tick apart at most, and whole seconds are cut off.
    assert!(seen.largest_step_back <= 2, "{seen}");
}

/// What `kubectl rollout restart` does.
fn restart() -> Patch<Value> {
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": now().to_string()});
    Patch::Strategic(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
}

async fn aggregators_updated(stage: &Stage) {
    wait_for("the Deployment is updated", RECOVERY, async || {
        let deployment = stage.aggregators().get(AGGREGATOR).await.map_err(|error| error.to_string())?;
        let (wanted, status) = (deployment.spec.unwrap().replicas, deployment.status.unwrap());
        let done = status.observed_generation >= deployment.metadata.generation
            && [status.replicas, status.updated_replicas, status.available_replicas] == [wanted; 3];
        if done { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

async fn agents_updated(stage: &Stage) {
    wait_for("the DaemonSet is updated", RECOVERY, async || {
        let set = stage.agents().get(AGENT).await.map_err(|error| error.to_string())?;
        let status = set.status.unwrap();
        let wanted = Some(status.desired_number_scheduled);
        let done = status.observed_generation >= set.metadata.generation
            && [status.updated_number_scheduled, status.number_available] == [wanted; 2];
        if done { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_ref().expect("a pod has a name")
}

/// Deletes a pod of the installation without grace.
async fn kill(stage: &Stage, pod: &Pod) {
    let now = DeleteParams::default().grace_period(0);
    drop(stage.installed_pods().delete(name(pod), &now).await.expect("a pod can be deleted"));
}

/// Waits until another pod is ready in the place of one that was killed.
async fn replaced(stage: &Stage, component: &str, killed: &Pod, count: usize) {
    wait_for(&format!("{} is replaced", name(killed)), RECOVERY, async || {
        let ready = stage.ready(component).await;
        let names: Vec<_> = ready.iter().map(name).collect();
        if names.len() == count && !names.contains(&name(killed)) {
            Ok(())
        } else {
            Err(format!("{names:?}"))
        }
    })
    .await;
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_rolling_update_of_the_aggregators_is_not_noticed() {
    on_stage("update", async |stage| {
        let (poll, _) = polling(&stage).await;
        let began = Instant::now();
        stage.aggregators().patch(AGGREGATOR, &PatchParams::default(), &restart()).await.unwrap();
        aggregators_updated(&stage).await;
        let took = began.elapsed();
        sleep(BESIDE).await;
        let seen = judged(&stage, &poll).await;
        measured!("updated in {took:.1?}; {seen}");
        assert_unnoticed(&seen);
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_rolling_update_of_the_agents_is_not_noticed() {
    on_stage("agents", async |stage| {
        let (poll, _) = polling(&stage).await;
        let began = Instant::now();
        stage.agents().patch(AGENT, &PatchParams::default(), &restart()).await.unwrap();
        agents_updated(&stage).await;
        let took = began.elapsed();
        sleep(BESIDE).await;
        let seen = judged(&stage, &poll).await;
        measured!("updated in {took:.1?}; {seen}");
        assert_unnoticed(&seen);
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_killed_agent_leaves_no_gap() {
    on_stage("agent", async |stage| {
        let (poll, node) = polling(&stage).await;
        let agents = stage.ready("agent").await;
        let agent = agents.iter().find(|agent| node_of(agent) == node).expect("the node has an agent");
        let (began, before) = (Instant::now(), poll.seen().latest);
        kill(&stage, agent).await;
        // A number of after the loss: the one before was at most two ticks old.
        wait_for("numbers go on", RECOVERY, async || {
            let latest = poll.seen().latest;
            if latest > before + 2 { Ok(()) } else { Err(format!("the latest is of {latest}")) }
        })
        .await;
        let took = began.elapsed();
        replaced(&stage, "agent", agent, agents.len()).await;
        sleep(BESIDE).await;
        let seen = judged(&stage, &poll).await;
        measured!("numbers went on after {took:.1?}; {seen}");
        assert_unnoticed(&seen);
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_killed_aggregator_costs_what_was_in_flight_at_most() {
    on_stage("aggregator", async |stage| {
        let (poll, _) = polling(&stage).await;
        let replicas = stage.ready("aggregator").await;
        if replicas.len() < 2 {
            measured!("LEFT OUT: one replica alone cannot be lost without notice");
            return;
        }
        let (began, killed) = (Instant::now(), poll.elapsed());
        kill(&stage, &replicas[0]).await;
        replaced(&stage, "aggregator", &replicas[0], replicas.len()).await;
        let took = began.elapsed();
        sleep(BESIDE).await;
        let seen = judged(&stage, &poll).await;
        measured!("all replicas available after {took:.1?}; {seen}");
        // Until kube-apiserver and the nodes know of the new endpoints, a request may still be sent to the lost one.
        let late = seen.failed.iter().filter(|(at, _)| *at > killed + Duration::from_secs(5)).count();
        assert_eq!(late, 0, "failures long after the loss: {seen}");
        let told = Seen { failed: Vec::new(), ..seen };
        assert_unnoticed(&told);
    });
}
