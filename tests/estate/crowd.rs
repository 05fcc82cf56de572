//! Many agents that come back at one moment.

use std::time::{Duration, Instant};

use crate::{
    answers::Key,
    apiserver::{make::node, reviews::User},
    fleet::Fleet,
    grounds::Estate,
    polling::Client,
    program::{AGENT_ACCOUNT, long, skipped},
};

/// Handshakes of programs that are not optimised take long.
fn agents() -> usize {
    if long() { 300 } else { 60 }
}

#[test]
fn hundreds_of_agents_come_back_to_a_killed_aggregator_in_seconds() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    estate.ignore("crowd-");
    let ca_pem = estate.api.pki.serving.pem();
    let ingests: Vec<_> = estate.replicas.iter().map(|replica| replica.ingest(&ca_pem)).collect();
    let fleet = Fleet::new(Duration::from_secs(1));
    let mut crowd = Vec::new();
    for number in 0..agents() {
        let name = format!("crowd-{number}");
        let token = format!("of-{name}");
        let agent = User::new(AGENT_ACCOUNT, &[])
            .extra("authentication.kubernetes.io/node-name", &name)
            .audience("kubevitals");
        estate.api.cluster.reviews.issue(&token, agent);
        estate.api.cluster.nodes.put(node(&name, &[]));
        fleet.agent(&name, &token, &ingests);
        crowd.push(Key::Node(name));
    }
    let clients = [Client::Direct(0), Client::Direct(1)];
    estate.wait_for_clients("all are served", &clients, &crowd, |_| true);

    estate.kill_replica(0);
    let killed = Instant::now();
    let ready = estate.restart_replica(0);
    estate.wait_for_clients("all are served again", &[Client::Direct(0)], &crowd, |_| true);
    eprintln!("ready {ready:?} after its start, all {} back {:?} after", crowd.len(), killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(40));
    estate.wait_for_fresh(&estate.expected());
    drop(fleet);
    estate.judge("a crowd came back").assert_clean();
}
