//! A node's wall clock that is set wrong, and right again.
//!
//! The agent asks the kernel itself for the time, so no library can stand in between, and the machine's clock is not
//! ours to set. So the agent runs in the test's own process, on the node's host, with another wall clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    thread,
    time::Duration,
};

use clap::Parser as _;
use kubevitals::sample::WallTime;
use kubevitals_agent::config::{Cli, Command, Config};
use tokio_util::sync::CancellationToken;

use crate::{
    answers::{Key, Served},
    api::forms::Usage,
    grounds::Estate,
    ledger::wall,
    polling::Client,
    program::skipped,
};

const HOUR: Duration = Duration::from_secs(3600);

const ALL: [Client; 3] = [Client::FrontProxy, Client::Direct(0), Client::Direct(1)];

/// How far the clock is wrong, microseconds.
static WRONG: AtomicI64 = AtomicI64::new(0);

fn wrong_clock() -> WallTime {
    WallTime(wall().saturating_add_signed(WRONG.load(Ordering::Relaxed)))
}

/// An agent in this process; it ends when told to.
fn run(config: Config, shutdown: CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(kubevitals_agent::run(config, shutdown)).unwrap();
    runtime.shutdown_background();
}

fn config(estate: &Estate, index: usize) -> Config {
    let hosts: Vec<String> = estate.replicas.iter().map(|replica| replica.host.address.to_string()).collect();
    let flags = estate.agents[index].common_flags(&hosts);
    let words = ["kubevitals-agent", "run"].map(ToOwned::to_owned).into_iter().chain(flags);
    let Command::Run(flags) = Cli::try_parse_from(words).unwrap().command else { panic!("not run") };
    Config { wall_clock: wrong_clock, listen: None, ..flags.resolve().unwrap() }
}

/// About as much CPU as the counters really move on by, over windows that are neither stretched nor shrunk.
fn is_right(served: &Served) -> bool {
    let is_sane = |usage: &Usage| (35_000_000..200_000_000).contains(&usage.nanocores);
    served.usages.values().all(is_sane) && served.window < Duration::from_secs(8)
}

/// The newest timestamp that anybody was told.
fn newest(estate: &Estate, pods: &[Key]) -> u64 {
    estate.polling.look(0, |seen| {
        let served = seen.iter().flat_map(|seen| seen.answer.iter().flatten());
        let ours = served.filter(|one| pods.contains(&one.key));
        ours.map(|one| one.timestamp).max().unwrap_or_default()
    })
}

#[test]
fn rates_know_nothing_of_a_wall_clock_that_is_stepped() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    let index = 3;
    let pods: Vec<Key> =
        estate.keys_of(index).into_iter().filter(|key| matches!(key, Key::Pod(..))).collect();
    for key in &estate.keys_of(index) {
        estate.distrust_times(key);
    }
    estate.agents[index].kill();
    let (config, shutdown) = (config(&estate, index), CancellationToken::new());
    thread::scope(|scope| {
        let (stop, host) = (shutdown.clone(), &estate.agents[index].host);
        let guard = shutdown.drop_guard();
        scope.spawn(move || {
            host.enter();
            run(config, stop);
        });
        let from = estate.polling.count();
        let seconds = |time: Duration| i64::try_from(time.as_micros()).unwrap();
        for wrong in [seconds(HOUR), 0, -seconds(HOUR), 0] {
            WRONG.store(wrong, Ordering::Relaxed);
            // What is published never goes back: set back, it goes on from where it was.
            let hour = if wrong > 0 { HOUR.as_secs() } else { 0 };
            let mut told = wall() / 1_000_000 + hour;
            for _ in 0..2 {
                let is_new = |served: &Served| served.timestamp > told && is_right(served);
                estate.wait_for_clients(&format!("right at {wrong}"), &ALL, &pods, is_new);
                told = newest(&estate, &pods);
            }
        }
        let wrong: Vec<Served> = estate.polling.look(from, |seen| {
            let served = seen.iter().flat_map(|seen| seen.answer.iter().flatten());
            served.filter(|one| pods.contains(&one.key) && !is_right(one)).cloned().collect()
        });
        assert_eq!(wrong, [], "usage while the clock was stepped");
        drop(guard);
    });
    // Another process would date its numbers by the right clock, an hour before these.
    estate.judge("a clock stepped four times").assert_clean();
}
