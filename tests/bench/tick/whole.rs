//! Both programs at rest: memory, start-up, size.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    Options,
    figure::{Figures, median},
    ground::Ground,
    program::{Agent, Aggregator, built, wait_until},
};

/// The load of the budget.
const CONTAINERS: usize = 250;

/// A load at which it shows how memory grows.
const MANY: usize = 1000;

/// The agent's history is full, and what the start needed is given back.
const SETTLED: Duration = Duration::from_secs(75);

/// An aggregator that has nothing to do yet.
const IDLE: Duration = Duration::from_secs(5);

const MIB: f64 = 1_048_576.0;

pub(crate) fn run(options: &Options, figures: &mut Figures) {
    for program in ["kubevitals-agent", "kubevitals-aggregator"] {
        let bytes = fs::metadata(built(program)).unwrap().len();
        figures.say(format!("{program}: size"), bytes as f64 / MIB, "MiB");
    }
    let files = tempfile::tempdir().unwrap();
    let mut starts = Vec::new();
    for _ in 0..options.runs.max(1) {
        let begin = Instant::now();
        let aggregator = Aggregator::start(files.path(), &[]);
        starts.push((aggregator.listening - begin).as_secs_f64() * 1e3);
    }
    figures.say("aggregator: start until it listens", median(&starts), "ms");
    let aggregator = Aggregator::start(files.path(), &[]);
    thread::sleep(IDLE);
    let (_, kib) = aggregator.program.footprint();
    figures.say("aggregator, no agents: resident", kib as f64 / 1024.0, "MiB");
    for containers in [CONTAINERS, MANY] {
        agent(containers, options, &aggregator, figures);
    }
}

fn agent(containers: usize, options: &Options, aggregator: &Aggregator, figures: &mut Figures) {
    let ground = Ground::v1(containers, !options.beside_others);
    let cgroups = ground.all().count() as f64;
    let (mut starts, mut last) = (Vec::new(), None);
    for nth in 0..options.runs.max(1) {
        // The one before has to end first: an aggregator hears one agent of a node.
        drop(last.take());
        let job = ground.job(&format!("agent-{nth}"));
        let begin = Instant::now();
        let agent = Agent::inside(&job.processes(), &[aggregator]);
        wait_until("every cgroup is sent", Duration::from_secs(30), || {
            let metrics = agent.metrics();
            let sent = metrics.get("kubevitals_agent_series") >= cgroups
                && metrics.get("kubevitals_agent_stream_payload_bytes_total") > 0.0;
            sent.then_some(()).ok_or_else(|| "not yet".to_owned())
        });
        starts.push(begin.elapsed().as_secs_f64() * 1e3);
        last = Some((agent, job));
    }
    let Some((agent, job)) = last else { return };
    let of = format!("agent, v1, {containers} containers");
    figures.say(format!("{of}: start until the first batch is sent"), median(&starts), "ms");
    thread::sleep(SETTLED);
    let (descriptors, kib) = agent.program.footprint();
    figures.say(format!("{of}: open files"), descriptors as f64, "");
    let resident = kib as f64 / 1024.0;
    let charged = job.number("memory", "memory.usage_in_bytes") as f64 / MIB;
    let kernel = job.number("memory", "memory.kmem.usage_in_bytes") as f64 / MIB;
    if containers == CONTAINERS {
        figures.judge(format!("{of}: resident"), resident, "MiB", 12.0);
        figures.judge(format!("{of}: charged to its cgroup"), charged, "MiB", 18.0);
    } else {
        figures.say(format!("{of}: resident"), resident, "MiB");
        figures.say(format!("{of}: charged to its cgroup"), charged, "MiB");
    }
    figures.say(
        format!("{of}: of that its own, not the program's file"),
        agent.program.anonymous() as f64 / 1024.0,
        "MiB",
    );
    figures.say(format!("{of}: of what is charged, the kernel's"), kernel, "MiB");
}
