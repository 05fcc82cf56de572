//! Measurements to figures.

use crate::{
    Options,
    figure::Figures,
    stage::{Crowd, Measured, Restart},
};

/// What the budgets of design.md are for: L1 and L5.
const L1: usize = 1000;
const L5: usize = 5000;

/// The load of the budget.
pub(crate) fn steady(figures: &mut Figures, options: &Options, measured: &Measured) {
    let nodes = measured.nodes;
    let of = |what: &str| format!("{nodes} nodes: {what}");
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
    budget(figures, of("aggregator memory, resident"), mebibytes(measured.resident), "MiB", most);
    budget(figures, of("aggregator memory, peak"), mebibytes(measured.peak), "MiB", most);
    let a_sample = |bytes: u64| bytes as f64 / measured.samples as f64;
    figures.judge(of("payload of a sample"), a_sample(measured.payload), "bytes", 8.0);
    figures.say(of("on the socket for a sample"), a_sample(measured.written), "bytes");
    readings(figures, &of, measured);
    generator(figures, &of, measured);
}

fn readings(figures: &mut Figures, of: &impl Fn(&str) -> String, measured: &Measured) {
    let seen = &measured.seen;
    figures.say(of("numbers judged"), seen.judged as f64, "pods");
    figures.judge(of("wrong numbers"), seen.wrong_count as f64, "pods", 0.0);
    seen.wrong.iter().for_each(|wrong| println!("  {wrong}"));
    figures.say(of("pods missing in lists, most of them new"), seen.missing as f64, "pods");
    figures.judge(of("failed requests"), seen.failed.len() as f64, "", 0.0);
    seen.failed.iter().take(5).for_each(|fault| println!("  {fault}"));
    figures.judge(of("batches lost"), measured.lost, "", 0.0);
    figures.judge(of("samples refused"), measured.refused, "", 0.0);
    figures.say(of("batches sent and not yet stored"), measured.batches as f64 - measured.stored, "");
    let mean = seen.ages.iter().sum::<f64>() / seen.ages.len().max(1) as f64;
    figures.judge(of("age of a number, mean"), mean, "ms", 600.0);
    spread(figures, &of("age of a number"), &seen.ages, &[(990, None), (999, Some(1100.0))]);
    spread(
        figures,
        &of("from a batch sent to its numbers in an answer"),
        &seen.visible,
        &[(500, None), (990, None)],
    );
    spread(
        figures,
        &of("list of 30 pods by label"),
        &seen.selected,
        &[(500, None), (990, None), (999, None)],
    );
    spread(figures, &of("list of everything, JSON"), &seen.full, &[(500, None), (1000, None)]);
}

fn generator(figures: &mut Figures, of: &impl Fn(&str) -> String, measured: &Measured) {
    for name in ["fleet-agents", "fleet-readers", "stand-in"] {
        let used = measured.threads.get(name).copied().unwrap_or_default().all();
        figures.say(of(&format!("CPU of our own {name}")), used * 1000.0 / measured.seconds, "milli-cores");
    }
    let late = of("batch handed over after it was due");
    spread(figures, &late, &measured.late, &[(500, None), (990, None), (999, None), (1000, None)]);
}

/// The same with a crowd of readers.
pub(crate) fn crowded(figures: &mut Figures, options: &Options, crowd: &Crowd, measured: &Measured) {
    let (hung, lists) = (options.hung_consumers, options.full_lists);
    let of = |what: &str| format!("{} nodes, {hung} hung and {lists} lists at once: {what}", measured.nodes);
    figures.say(of("aggregator memory, peak"), mebibytes(measured.peak), "MiB");
    figures.say(of("aggregator memory, after"), mebibytes(measured.resident), "MiB");
    figures.say(of("lists that came to an end"), crowd.passed.len() as f64, "");
    crowd.refused.iter().take(3).for_each(|fault| println!("  {fault}"));
    spread(figures, &of("a list of everything"), &crowd.passed, &[(500, None), (1000, None)]);
    readings(figures, &of, measured);
    generator(figures, &of, measured);
}

pub(crate) fn restart(figures: &mut Figures, nodes: usize, restart: &Restart) {
    let of = |what: &str| format!("{nodes} nodes, restart: {what}");
    let most = match nodes {
        L1 => Some(2.0),
        L5 => Some(5.0),
        _ => None,
    };
    budget(figures, of("from the kill to complete answers"), restart.from_kill, "s", most);
    figures.say(of("from listening to complete answers"), restart.from_listening, "s");
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
fn spread(figures: &mut Figures, what: &str, values: &[f64], wanted: &[(usize, Option<f64>)]) {
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
        let unit = if what.ends_with("a list of everything") { "s" } else { "ms" };
        budget(figures, format!("{what}, {name}"), sorted[last * permille / 1000], unit, most);
    }
}

fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
