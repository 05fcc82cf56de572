//! Cables that are pulled out, and packets that arrive in one direction only.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    answers::Key,
    grounds::{Estate, REAL},
    ledger::wall,
    polling::Client,
    program::{long, skipped},
};

/// How old numbers may get; the default in the long form.
fn stale() -> Duration {
    Duration::from_secs(if long() { 30 } else { 5 })
}

/// A cut that nobody need notice, and one that is longer than numbers may get old.
fn cuts() -> [Duration; 2] {
    let seconds = if long() { [8, 45] } else { [3, 12] };
    seconds.map(Duration::from_secs)
}

fn estate() -> Estate {
    Estate::start(&[&format!("--stale-after={}s", stale().as_secs())])
}

/// No number of these was said to be newer than this moment, since then.
fn assert_nothing_newer(estate: &Estate, keys: &[Key], from: usize, wall_micros: u64) {
    estate.polling.look(from, |seen| {
        for one in seen.iter().flat_map(|seen| seen.answer.iter().flatten()) {
            let is_newer = one.timestamp * 1_000_000 > wall_micros + 1_000_000;
            assert!(!(keys.contains(&one.key) && is_newer), "{one:?} is newer than {wall_micros}");
        }
    });
}

#[test]
fn a_node_that_is_cut_off_ages_vanishes_and_comes_back() {
    if skipped("root") {
        return;
    }
    let mut estate = estate();
    let keys = estate.keys_of(REAL);
    let [short_cut, long_cut] = cuts();

    let (from, cut) = (estate.polling.count(), wall());
    estate.network.plug(&estate.agents[REAL].host, false);
    thread::sleep(short_cut);
    assert_nothing_newer(&estate, &keys, from, cut);
    estate.network.plug(&estate.agents[REAL].host, true);
    let healed = Instant::now();
    estate.wait_for_fresh(&keys);
    eprintln!("fresh again {:?} after a cut of {short_cut:?}", healed.elapsed());

    let (from, cut, began) = (estate.polling.count(), wall(), Instant::now());
    estate.network.plug(&estate.agents[REAL].host, false);
    // A second for the tick before the cut.
    thread::sleep(stale().saturating_sub(Duration::from_millis(1500)));
    for key in &keys {
        estate.release(key);
    }
    estate.wait_for_absence(&keys);
    let vanished = began.elapsed();
    eprintln!("gone {vanished:?} after the cut");
    assert!(vanished < stale() + Duration::from_secs(5));
    for key in &keys {
        estate.forbid(key);
    }
    thread::sleep(long_cut.saturating_sub(began.elapsed()));
    assert_nothing_newer(&estate, &keys, from, cut);
    for key in &keys {
        estate.permit(key);
    }
    estate.network.plug(&estate.agents[REAL].host, true);
    let healed = Instant::now();
    estate.wait_for_fresh(&keys);
    eprintln!("fresh again {:?} after a cut of {long_cut:?}", healed.elapsed());
    for key in &keys {
        estate.expect(key);
    }
    estate.wait_for_fresh(&estate.expected());
    estate.judge("a node cut off twice").assert_clean();
}

#[test]
fn an_aggregator_that_is_cut_off_is_left_out_and_comes_back() {
    if skipped("root") {
        return;
    }
    let mut estate = estate();
    for cut in cuts() {
        estate.excuse(Client::Direct(1));
        estate.excuse(Client::FrontProxy);
        estate.network.plug(&estate.replicas[1].host, false);
        estate.service.wait_for(1, false);
        estate.no_excuse(Client::FrontProxy);
        thread::sleep(cut);
        estate.allow_lag();
        estate.network.plug(&estate.replicas[1].host, true);
        let healed = Instant::now();
        estate.service.wait_for(1, true);
        let ready = healed.elapsed();
        estate.wait_for_fresh(&estate.expected());
        estate.forbid_lag();
        eprintln!("an endpoint {ready:?} and fresh {:?} after a cut of {cut:?}", healed.elapsed());
        estate.no_excuse(Client::Direct(1));
    }
    estate.wait_for_fresh(&estate.expected());
    estate.judge("an aggregator cut off twice").assert_clean();
}

#[test]
fn packets_that_arrive_one_way_only_cost_one_stream_at_most() {
    if skipped("root") {
        return;
    }
    let mut estate = estate();
    let cut = cuts()[1];
    for agent_is_deaf in [true, false] {
        let (index, replica) = (2, 1);
        let keys = estate.keys_of(index);
        let deafen = |estate: &Estate, is_deaf| {
            let (agent, aggregator) = (&estate.agents[index].host, &estate.replicas[replica].host);
            if agent_is_deaf { agent.deafen(aggregator, is_deaf) } else { aggregator.deafen(agent, is_deaf) }
        };
        // Through the layer, every other answer is of the aggregator that does not hear of the node.
        for key in &keys {
            estate.release(key);
        }
        deafen(&estate, true);
        thread::sleep(cut);
        let other = [Client::Direct(1 - replica)];
        let second = wall() / 1_000_000 - 2;
        estate.wait_for_clients("the other has it", &other, &keys, |one| one.timestamp >= second);
        deafen(&estate, false);
        let healed = Instant::now();
        estate.wait_for_fresh(&keys);
        eprintln!("fresh again {:?} after {cut:?} one way (deaf agent: {agent_is_deaf})", healed.elapsed());
        for key in &keys {
            estate.expect(key);
        }
    }
    estate.wait_for_fresh(&estate.expected());
    estate.judge("two cuts in one direction").assert_clean();
}
