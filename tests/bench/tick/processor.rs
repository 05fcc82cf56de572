//! CPU of the agent's program, streaming to an aggregator over TLS: everything that a cgroup of its own is charged.

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Options,
    cgroups::Container,
    figure::{Figures, median},
    ground::Ground,
    measure,
    program::{Agent, Aggregator, wait_until},
    ways,
};

/// The load of the budget.
const CONTAINERS: usize = 100;

/// By then every cgroup is a series, details of all are read, and a batch falls out of the history on every tick.
const SETTLED: Duration = Duration::from_secs(66);

/// How long system calls are counted, seconds.
const COUNTED: u64 = 10;

pub(crate) fn run(options: &Options, figures: &mut Figures) {
    let ground = Ground::v1(CONTAINERS, !options.beside_others);
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let mut runs: Vec<Run> = Vec::new();
    for nth in 0..options.runs.max(1) {
        // The floor right before, at the pace of the agent: the machine's speed changes by the minute.
        let bare = measure::paced(&mut [ways::floor(&ground)], options.rounds)[0] / 1e3;
        let job = ground.job(&format!("agent-{nth}"));
        let agent = settled(&ground, &job, &aggregator);
        runs.push(Run { bare, ..watch(&agent, &job, options.seconds) });
        if nth == 0 {
            report_calls(&agent, ground.all().count(), figures);
            report_payload(&agent, figures);
        }
    }
    report(&runs, figures);
}

/// An agent that sees everything and has come to rest.
fn settled(ground: &Ground, job: &Container, aggregator: &Aggregator) -> Agent {
    let agent = Agent::inside(&job.processes(), &[aggregator]);
    let expected = ground.all().count() as f64;
    wait_until("every cgroup is a series", Duration::from_secs(30), || {
        let series = agent.metrics().get("kubevitals_agent_series");
        (series >= expected).then_some(()).ok_or_else(|| format!("{series} of {expected}"))
    });
    thread::sleep(SETTLED);
    agent
}

/// What the agent took, thousandths of a core.
#[derive(Debug)]
struct Run {
    all: f64,
    /// By name of the thread.
    threads: BTreeMap<String, f64>,
    /// How often a thread went to sleep, per second.
    sleeps: f64,
    /// What the bare reads took just before.
    bare: f64,
}

fn watch(agent: &Agent, job: &Container, seconds: u64) -> Run {
    let (begin, cpu, threads) = (Instant::now(), job.number("cpuacct", "cpuacct.usage"), threads(agent));
    thread::sleep(Duration::from_secs(seconds));
    let after = self::threads(agent);
    let (cpu, took) = (job.number("cpuacct", "cpuacct.usage") - cpu, begin.elapsed().as_secs_f64());
    let change = |name: &String, of: fn(&Thread) -> u64| {
        let before = threads.get(name).map_or(0, of);
        (of(&after[name]) - before) as f64 / took
    };
    Run {
        all: cpu as f64 / 1e6 / took,
        threads: after.keys().map(|name| (name.clone(), change(name, |thread| thread.cpu) / 1e6)).collect(),
        sleeps: after.keys().map(|name| change(name, |thread| thread.sleeps)).sum(),
        bare: 0.0,
    }
}

/// So far.
#[derive(Debug, Clone, Copy, Default)]
struct Thread {
    /// Nanoseconds.
    cpu: u64,
    sleeps: u64,
}

/// By name; those of one name together.
fn threads(agent: &Agent) -> BTreeMap<String, Thread> {
    let mut found: BTreeMap<String, Thread> = BTreeMap::new();
    for entry in fs::read_dir(agent.program.proc("task")).unwrap().flatten() {
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let cpu = read("schedstat").split(' ').next().and_then(|text| text.parse().ok());
        let status = read("status");
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let thread = found.entry(read("comm").trim().to_owned()).or_default();
        thread.cpu += cpu.unwrap_or(0);
        thread.sleeps += sleeps.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    }
    found
}

fn report(runs: &[Run], figures: &mut Figures) {
    let of = format!("program, v1, {CONTAINERS} containers");
    let middle = |value: &dyn Fn(&Run) -> f64| median(&runs.iter().map(value).collect::<Vec<f64>>());
    figures.judge(format!("{of}: all its threads"), middle(&|run| run.all), "milli-cores", 2.0);
    for name in runs[0].threads.keys() {
        let taken = middle(&|run| run.threads.get(name).copied().unwrap_or(0.0));
        figures.say(format!("{of}: thread {name}"), taken, "milli-cores");
    }
    figures.say(format!("{of}: bare reads"), middle(&|run| run.bare), "milli-cores");
    figures.judge(format!("{of}: all its threads"), middle(&|run| run.all / run.bare), "x bare reads", 1.4);
    figures.say(format!("{of}: threads sleep"), middle(&|run| run.sleeps), "times a second");
}

/// System calls, where perf can count them.
fn report_calls(agent: &Agent, cgroups: usize, figures: &mut Figures) {
    let pid = agent.program.proc("").file_name().unwrap().to_owned();
    let counted = Command::new("perf")
        .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p"])
        .arg(pid)
        .args(["sleep", &COUNTED.to_string()])
        .output();
    let text = counted.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    let calls = text.split(',').next().and_then(|calls| calls.trim().parse::<f64>().ok());
    match calls {
        Some(calls) => {
            let calls = calls / COUNTED as f64;
            let of = format!("program, v1, {CONTAINERS} containers");
            figures.say(format!("{of}: all its threads"), calls, "system calls a second");
            figures.say(format!("{of}: all its threads"), calls / cgroups as f64, "system calls a cgroup");
        }
        None => println!("system calls are not counted: perf is missing or may not"),
    }
}

/// Bytes on the wire before TLS, for each container and tick: what else is in a batch is counted with them.
fn report_payload(agent: &Agent, figures: &mut Figures) {
    let payload = || agent.metrics().get("kubevitals_agent_stream_payload_bytes_total");
    let ticks = || agent.metrics().get("kubevitals_agent_ticks_total");
    let before = (payload(), ticks());
    thread::sleep(Duration::from_secs(20));
    let (payload, ticks) = (payload() - before.0, ticks() - before.1);
    let samples = ticks * CONTAINERS as f64;
    let of = format!("program, v1, {CONTAINERS} containers: payload");
    figures.judge(of, payload / samples, "bytes a container and tick", 8.0);
}
