//! Each part killed or ended in turn, and started again.

use crate::{grounds::Estate, program::skipped};

#[test]
fn agents_that_are_killed_in_turn_leave_no_gap() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    for index in 0..estate.agents.len() {
        estate.agents[index].kill();
        estate.agents[index].start();
        estate.wait_for_fresh(&estate.keys_of(index));
    }
    estate.wait_for_full(&estate.expected());
    estate.judge("five agents killed").assert_clean();
}

#[test]
fn a_rolling_update_of_the_aggregators_fails_no_request() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    for index in 0..estate.replicas.len() {
        estate.end_replica(index);
        let ready = estate.restart_replica(index);
        eprintln!("replica {index} was ready {ready:?} after its start");
    }
    estate.wait_for_fresh(&estate.expected());
    let tally = estate.judge("two aggregators rolled");
    tally.assert_clean();
    assert_eq!(tally.excused[0], 0, "{tally}");
}

#[test]
fn a_killed_aggregator_costs_what_was_in_flight_at_most() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    for index in 0..estate.replicas.len() {
        estate.kill_replica(index);
        let ready = estate.restart_replica(index);
        eprintln!("replica {index} was ready {ready:?} after its start");
    }
    estate.wait_for_fresh(&estate.expected());
    estate.judge("two aggregators killed").assert_clean();
}
