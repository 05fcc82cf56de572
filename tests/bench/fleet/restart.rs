//! A restart of the aggregator, with all agents reconnecting: how long until its answers are complete again. That is asked
//! in steps of which each is cheap until it holds, so that the question is not the load: what the aggregator counts, then
//! a list of all nodes, and then one list of all pods, judged.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    process::Cpu,
    reader::{self, Client},
    seen::Reader,
    stage::Stage,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(180);

/// How a restart went, seconds from the start of the new process.
#[derive(Debug)]
pub(crate) struct Restart {
    /// Until it listened.
    pub(crate) listening: f64,
    /// Until all names were read, all streams were there and all nodes had a whole window.
    pub(crate) names: f64,
    pub(crate) streams: f64,
    pub(crate) whole: f64,
    /// Until a list of everything was asked for that had every pod over a whole window.
    pub(crate) complete: f64,
    pub(crate) aggregator: Cpu,
    pub(crate) ourselves: f64,
}

/// Kills the aggregator, starts it anew, and waits until every pod is served over a whole window.
pub(crate) fn restart(stage: &mut Stage) -> Restart {
    let all = stage.fleet.world.pods();
    stage.set_churn(false);
    stage.wait(|tally| tally.whole == all);
    let ourselves = || Cpu::of(rustix::process::getpid()).all();
    let before = ourselves();
    stage.replace_aggregator();
    let aggregator = stage.aggregator();
    let (started, listening) = (aggregator.started, aggregator.listening);
    let since = |then: Instant| (then - started).as_secs_f64();
    let names = until(|| counts(stage, "cluster_objects{resource=\"pods\"}", all));
    let streams = until(|| counts(stage, "ingest_streams", stage.nodes));
    let (whole, complete) = answers(stage);
    stage.set_churn(true);
    Restart {
        listening: since(listening),
        names: since(names),
        streams: since(streams),
        whole: since(whole),
        complete: since(complete),
        aggregator: Cpu::of(stage.aggregator().program.pid()),
        ourselves: ourselves() - before,
    }
}

fn counts(stage: &Stage, what: &str, wanted: usize) -> bool {
    stage.aggregator().metrics().get(&format!("kubevitals_aggregator_{what}")) >= wanted as f64
}

fn until(mut holds: impl FnMut() -> bool) -> Instant {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not complete in {PATIENCE:?}");
        thread::sleep(LOOK);
    }
    Instant::now()
}

/// When all nodes were whole, and when a list of everything was asked for that was.
fn answers(stage: &Stage) -> (Instant, Instant) {
    let (seen, target) = (Arc::default(), stage.target());
    let (mut reader, mut client) = (Reader::new(&stage.fleet.world, &seen), Client::new(&target));
    let whole = until(|| {
        let found = stage.readers.block_on(reader::list_nodes(&mut reader, &mut client));
        found.is_ok_and(|tally| tally.whole == stage.nodes)
    });
    let mut asked = whole;
    until(|| {
        asked = Instant::now();
        let found = stage.readers.block_on(reader::list_all(&mut reader, &mut client));
        found.is_ok_and(|tally| tally.whole == stage.fleet.world.pods())
    });
    let wrong = &seen.lock().unwrap().wrong;
    assert_eq!(wrong.count, 0, "{:?}", wrong.words);
    (whole, asked)
}
