//! Programs that the kernel stops for a while and lets go on, as a machine does that swaps or migrates.

use std::{thread, time::Duration};

use rustix::process::Signal;

use crate::{
    grounds::{Estate, REAL},
    polling::Client,
    program::{long, skipped},
};

fn stopped() -> Duration {
    Duration::from_secs(if long() { 10 } else { 6 })
}

#[test]
fn a_stopped_aggregator_disturbs_nobody_and_catches_up() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    estate.excuse(Client::Direct(1));
    estate.excuse(Client::FrontProxy);
    estate.replicas[1].running().signal(Signal::STOP);
    estate.service.wait_for(1, false);
    estate.no_excuse(Client::FrontProxy);
    // Nothing to wait for: the time is what is tested.
    thread::sleep(stopped());
    // It answers at once, and has to read what came meanwhile.
    estate.allow_lag();
    estate.replicas[1].running().signal(Signal::CONT);
    estate.service.wait_for(1, true);
    estate.wait_for_fresh(&estate.expected());
    estate.forbid_lag();
    estate.no_excuse(Client::Direct(1));
    estate.wait_for_fresh(&estate.expected());
    estate.judge("an aggregator stopped").assert_clean();
}

#[test]
fn the_numbers_of_a_stopped_agent_age_and_go_on() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    for index in [REAL, 1] {
        estate.agents[index].running().signal(Signal::STOP);
    }
    thread::sleep(stopped());
    for index in [REAL, 1] {
        estate.agents[index].running().signal(Signal::CONT);
    }
    estate.wait_for_fresh(&estate.expected());
    estate.judge("two agents stopped").assert_clean();
}
