//! The name server goes wrong, and a replica is replaced by one with another address.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    grounds::Estate,
    names::Mood,
    polling::Client,
    program::{skipped, wait_until},
};

/// Names are looked up every five seconds; this is more than that.
const A_WHILE: Duration = Duration::from_secs(6);

#[test]
fn a_name_server_that_fails_cuts_no_stream() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    for mood in [Mood::Failing, Mood::NoSuchName, Mood::Silent] {
        let asked = estate.names.asked();
        estate.names.set(mood.clone());
        thread::sleep(A_WHILE);
        assert!(estate.names.asked() > asked, "nobody asked while it was {mood:?}");
        // A stream that is lost meanwhile comes back by the addresses that were known.
        if mood == Mood::Silent {
            estate.kill_replica(0);
            estate.restart_replica(0);
        }
        estate.wait_for_fresh(&estate.expected());
    }
    for agent in &estate.agents {
        assert_eq!(agent.streams(), Some(2.0), "{}", agent.node);
    }
    estate.judge("a name server failed three times").assert_clean();
}

#[test]
fn a_replica_with_a_new_address_is_found_and_the_old_one_forgotten() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    let old = estate.replicas[1].host.address;
    estate.kill_replica(1);
    let moved = estate.move_replica(1, 33);
    assert_ne!(estate.replicas[1].host.address, old);
    eprintln!("the new one was an endpoint after {moved:?}");
    let began = Instant::now();
    estate.wait_for_clients("all is told by it", &[Client::Direct(1)], &estate.expected(), |_| true);
    eprintln!("and told all {:?} later", began.elapsed());
    wait_until("the old one is forgotten", Duration::from_secs(30), || {
        let streams: Vec<_> = estate.agents.iter().map(crate::parts::NodeAgent::targets).collect();
        streams.iter().all(|count| *count == Some(2.0)).then_some(()).ok_or_else(|| format!("{streams:?}"))
    });
    estate.judge("a replica replaced").assert_clean();
}
