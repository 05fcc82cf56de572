//! kube-apiserver away, and nodes that leave the cluster.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    answers::Key,
    grounds::{Estate, REAL, key},
    program::{long, skipped, wait_until},
};

/// A watch has so long to tell.
const WATCHED: Duration = Duration::from_secs(2);

#[test]
fn numbers_go_on_while_the_api_server_is_away_and_pods_are_right_on_its_return() {
    if skipped("root") {
        return;
    }
    let away = Duration::from_secs(if long() { 300 } else { 20 });
    let mut estate = Estate::start(&[]);
    let lost = estate.run(REAL, "lost-1", &["main"]);
    estate.wait_for_full(&[key(&lost)]);
    estate.expect(&key(&lost));

    estate.api.set_away(true);
    wait_until("no watch is open", WATCHED * 5, || match estate.api.cluster.pods.watches() {
        0 => Ok(()),
        open => Err(format!("{open} are")),
    });
    // Its containers go on: only kube-apiserver knows that it is to go.
    estate.api.cluster.pods.delete("shop", "lost-1");
    let young = estate.run(1, "young-2", &["main"]);
    thread::sleep(away);
    estate.wait_for_fresh(&estate.expected());
    estate.release(&key(&lost));
    let returned = Instant::now();
    estate.api.set_away(false);
    estate.wait_for_absence(&[key(&lost)]);
    eprintln!("the deleted pod was gone {:?} after the return", returned.elapsed());
    estate.wait_for_full(&[key(&young)]);
    eprintln!("the new pod was there {:?} after the return", returned.elapsed());
    assert!(returned.elapsed() < Duration::from_secs(10));
    estate.forbid(&key(&lost));
    estate.expect(&key(&young));
    estate.end_containers(REAL, &lost);
    estate.wait_for_fresh(&estate.expected());
    estate.judge(&format!("kube-apiserver away for {away:?}")).assert_clean();
}

#[test]
fn a_drained_node_takes_its_pods_along_and_nothing_else() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    let index = 4;
    let keys = estate.keys_of(index);
    for key in &keys {
        estate.release(key);
    }
    let took = estate.agents[index].end();
    eprintln!("the agent ended {took:?} after the signal");
    for key in &keys {
        if let Key::Pod(namespace, name) = key {
            estate.api.cluster.pods.delete(namespace, name);
        }
    }
    estate.api.cluster.nodes.delete("", &estate.agents[index].node.clone());
    let deleted = Instant::now();
    estate.wait_for_absence(&keys);
    eprintln!("gone {:?} after they were deleted", deleted.elapsed());
    // Each key is waited for in turn, and each of that takes some answers.
    assert!(deleted.elapsed() < WATCHED * 5);
    for key in &keys {
        estate.forbid(key);
    }
    estate.wait_for_fresh(&estate.expected());
    estate.judge("a node drained").assert_clean();
}
