//! Measurements to figures.

use crate::{
    Options,
    crowd::Crowd,
    figure::Figures,
    phase::Measured,
    probe::Latency,
    restart::Restart,
    seen::{Faults, Seen},
};

/// What the budgets of design.md are for: L1 and L5.
const L1: usize = 1000;
const L5: usize = 5000;

/// What the aggregator may take for its readers, KiB: for a request that is answered the pieces on their way, for a
/// connection the buffers of TLS and HTTP/2, for a watcher that takes nothing two messages, for a watched pod its items.
const OF_REQUEST: u64 = 256;
const OF_CONNECTION: u64 = 64;
const OF_WATCHER: u64 = 512;
const OF_WATCHED_POD: f64 = 0.5;

/// So many requests are answered at one time (`--max-requests-inflight`).
const IN_FLIGHT: u64 = 400;

/// Memory counts as flat while the last third of a run has at most so much more than the second.
const FLAT: f64 = 1.02;

/// Of how many nodes, and the rest of a figure's name.
fn of(nodes: usize) -> impl Fn(&str) -> String {
    move |what| format!("{nodes} nodes: {what}")
}

/// The load of the budget.
pub(crate) fn steady(figures: &mut Figures, options: &Options, measured: &Measured) {
    let nodes = measured.nodes;
    let of = of(nodes);
    let mcores = |seconds: f64| seconds * 1000.0 / measured.seconds;
    let (user, system) = (mcores(measured.cpu.user), mcores(measured.cpu.system));
    figures.say(of("aggregator CPU, user"), user, "milli-cores");
    figures.say(of("aggregator CPU, system"), system, "milli-cores");
    let cpu = of(&format!("aggregator CPU with {} autoscalers", options.lists(nodes)));
    budget(figures, cpu, user + system, "milli-cores", (nodes == L1).then_some(40.0));
    let most = match nodes {
        L1 => Some(128.0),
        L5 => Some(600.0),
        _ => None,
    };
    let resident = measured.resident.last().copied().unwrap_or_default();
    budget(figures, of("aggregator memory, resident"), mebibytes(resident), "MiB", most);
    budget(figures, of("aggregator memory, peak"), mebibytes(measured.peak), "MiB", most);
    if let Some(growth) = growth(&measured.resident) {
        figures.judge(of("memory of the last third by that of the second"), growth, "", FLAT);
    }
    let a_sample = |bytes: u64| bytes as f64 / measured.samples as f64;
    figures.judge(of("payload of a sample"), a_sample(measured.payload), "bytes", 8.0);
    figures.say(of("on the socket for a sample"), a_sample(measured.written), "bytes");
    judged(figures, &of, &measured.seen);
    ingest(figures, &of, measured);
    readings(figures, &of, &measured.seen);
    generator(figures, &of, measured);
}

/// Mean memory of the last third of the looks by that of the second; of a minute at least.
fn growth(resident: &[u64]) -> Option<f64> {
    let third = resident.len() / 3;
    let mean = |looks: &[u64]| looks.iter().sum::<u64>() as f64 / looks.len() as f64;
    (third >= 40).then(|| mean(&resident[resident.len() - third..]) / mean(&resident[third..third * 2]))
}

/// One line for each minute of a long run.
pub(crate) fn minute(nth: u64, measured: &Measured) {
    let Measured { seconds, cpu, seen, .. } = measured;
    println!(
        "  minute {nth}: {:.0} MiB, peak {:.0}; {:.0} milli-cores; {} pods and {} nodes judged: {} wrong, {} missing, {} \
         failed; {} lost, {} refused, {} streams anew; ourselves {:.0} MiB",
        mebibytes(measured.resident.last().copied().unwrap_or_default()),
        mebibytes(measured.peak),
        cpu.all() * 1000.0 / seconds,
        seen.pods,
        seen.nodes,
        seen.wrong.count + seen.stale.count,
        seen.missing.count + seen.short.count,
        seen.failed.count,
        measured.lost,
        measured.refused,
        measured.welcomed,
        mebibytes(measured.ourselves),
    );
}

/// Whether everything served was right.
fn judged(figures: &mut Figures, of: &impl Fn(&str) -> String, seen: &Seen) {
    figures.say(of("numbers judged"), seen.pods as f64, "pods");
    figures.say(of("numbers judged"), seen.nodes as f64, "nodes");
    let mut none = |what: &str, faults: &Faults| {
        figures.judge(of(what), faults.count as f64, "", 0.0);
        faults.words.iter().for_each(|fault| println!("  {fault}"));
    };
    none("wrong numbers", &seen.wrong);
    none("stale numbers", &seen.stale);
    none("pods and nodes missing in lists", &seen.missing);
    none("windows shorter than promised", &seen.short);
    none("failed requests", &seen.failed);
}

fn ingest(figures: &mut Figures, of: &impl Fn(&str) -> String, measured: &Measured) {
    figures.judge(of("batches lost"), measured.lost, "", 0.0);
    figures.judge(of("samples refused"), measured.refused, "", 0.0);
    figures.judge(of("streams that had to begin anew"), measured.welcomed as f64, "", 0.0);
}

/// Batches that were made and wanted and never stored, of all since the aggregator began.
pub(crate) fn account(figures: &mut Figures, nodes: usize, left: f64) {
    figures.judge(of(nodes)("batches wanted and never stored, since the start"), left.abs(), "", 0.0);
}

fn readings(figures: &mut Figures, of: &impl Fn(&str) -> String, seen: &Seen) {
    let mean = seen.ages.iter().sum::<f64>() / seen.ages.len().max(1) as f64;
    figures.judge(of("age of a number, mean"), mean, "ms", 600.0);
    spread(figures, &of("age of a number"), "ms", &seen.ages, &[(990, None), (999, Some(1100.0))]);
    let visible = of("from a batch sent to its numbers in an answer");
    spread(figures, &visible, "ms", &seen.visible, &[(500, None), (990, None)]);
    let first = of("from a new pod's cgroup to its first number");
    spread(figures, &first, "ms", &seen.first, &[(500, None), (990, None), (1000, Some(1500.0))]);
    let selected = of("list of 30 pods by label, among other readers");
    spread(figures, &selected, "ms", &seen.selected, &[(500, None), (990, None)]);
    spread(figures, &of("list of all nodes, JSON"), "ms", &seen.all_nodes, &[(500, None), (1000, None)]);
    spread(figures, &of("list of everything, JSON"), "ms", &seen.full, &[(500, None), (1000, None)]);
}

/// What all this costs ourselves, and whether we were in time.
fn generator(figures: &mut Figures, of: &impl Fn(&str) -> String, measured: &Measured) {
    for name in ["fleet-agents", "fleet-readers", "fleet-probes", "fleet-crowd", "stand-in"] {
        let used = measured.threads.get(name).copied().unwrap_or_default().all();
        figures.say(of(&format!("CPU of our own {name}")), used * 1000.0 / measured.seconds, "milli-cores");
    }
    figures.say(of("memory of our own"), mebibytes(measured.ourselves), "MiB");
    let late = of("batch handed over after it was due");
    spread(figures, &late, "ms", &measured.late, &[(500, None), (990, None), (999, None), (1000, None)]);
}

/// Lists by label, and what of their time is not theirs.
pub(crate) fn latency(figures: &mut Figures, nodes: usize, latency: &Latency, seen: &Seen) {
    let of = of(nodes);
    let lists = of("list of 30 pods by label while ingesting");
    let most = |most: f64| (nodes == L1 || nodes == L5).then_some(most);
    spread(figures, &lists, "ms", &latency.lists, &[(500, most(0.3)), (990, most(1.0)), (999, None)]);
    let control = of("its control, a probe on the same connection");
    spread(figures, &control, "ms", &latency.controls, &[(500, None), (990, None), (999, None)]);
    let mut none = |what: &str, faults: &Faults| {
        figures.judge(of(&format!("{what} meanwhile")), faults.count as f64, "", 0.0);
        faults.words.iter().for_each(|fault| println!("  {fault}"));
    };
    none("wrong numbers", &seen.wrong);
    none("failed requests", &seen.failed);
}

/// The same with a crowd of readers.
pub(crate) fn crowded(figures: &mut Figures, options: &Options, crowd: &Crowd, measured: &Measured) {
    let &Options { hung_consumers, hung_watchers, full_lists, .. } = options;
    let (hung, nodes) = (hung_consumers + hung_watchers, measured.nodes);
    let of = |what: &str| format!("{nodes} nodes, {hung} hung and {full_lists} lists at once: {what}");
    let pods = measured.nodes as f64 * crate::world::PODS_PER_NODE as f64;
    let connections = (hung + full_lists) as u64;
    let watched = if hung_watchers > 0 { pods * OF_WATCHED_POD } else { 0.0 };
    let bound = crowd.before
        + IN_FLIGHT.min((hung_consumers + full_lists) as u64) * OF_REQUEST
        + connections * OF_CONNECTION
        + hung_watchers as u64 * OF_WATCHER;
    let peak = mebibytes(measured.peak);
    figures.judge(of("aggregator memory, peak"), peak, "MiB", mebibytes(bound) + watched / 1024.0);
    let after = measured.resident.last().copied().unwrap_or_default();
    figures.say(of("aggregator memory, after"), mebibytes(after), "MiB");
    figures.say(of("aggregator CPU"), measured.cpu.all() * 1000.0 / measured.seconds, "milli-cores");
    figures.say(of("lists that came to an end"), crowd.passed.len() as f64, "");
    figures.say(of("lists that were turned away"), crowd.refused.len() as f64, "");
    crowd.refused.iter().take(3).for_each(|fault| println!("  {fault}"));
    figures.say(of("clients that could not hang"), crowd.not_hung.len() as f64, "");
    crowd.not_hung.iter().take(3).for_each(|fault| println!("  {fault}"));
    spread(figures, &of("a list of everything"), "s", &crowd.passed, &[(500, None), (1000, None)]);
    judged(figures, &of, &measured.seen);
    ingest(figures, &of, measured);
    readings(figures, &of, &measured.seen);
    generator(figures, &of, measured);
}

pub(crate) fn restart(figures: &mut Figures, nodes: usize, restart: &Restart) {
    let of = |what: &str| format!("{nodes} nodes, restart: {what}");
    let most = match nodes {
        L1 => Some(2.0),
        L5 => Some(5.0),
        _ => None,
    };
    figures.say(of("from its start until it listens"), restart.listening, "s");
    figures.say(of("from its start until all names are read"), restart.names, "s");
    figures.say(of("from its start until all streams are there"), restart.streams, "s");
    figures.say(of("from its start until all nodes have whole windows"), restart.whole, "s");
    budget(figures, of("from its start to complete answers"), restart.complete, "s", most);
    let from_listening = restart.complete - restart.listening;
    figures.say(of("from listening to complete answers"), from_listening, "s");
    figures.say(of("CPU of the aggregator until then"), restart.aggregator.all(), "s");
    figures.say(of("CPU of ourselves meanwhile"), restart.ourselves, "s");
}

fn budget(figures: &mut Figures, what: String, value: f64, unit: &'static str, most: Option<f64>) {
    match most {
        Some(most) => figures.judge(what, value, unit, most),
        None => figures.say(what, value, unit),
    }
}

/// Some permilles of many times.
fn spread(
    figures: &mut Figures,
    what: &str,
    unit: &'static str,
    values: &[f64],
    wanted: &[(usize, Option<f64>)],
) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        println!("{what}: none");
        return;
    };
    for &(permille, most) in wanted {
        let name = match permille {
            500 => "p50",
            990 => "p99",
            999 => "p99.9",
            _ => "most",
        };
        budget(figures, format!("{what}, {name}"), sorted[last * permille / 1000], unit, most);
    }
}

fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
