//! The figures of a bench: a line for each, with its budget of design.md where there is one, and all of them as JSON
//! when asked.
//!
//! How a figure is measured, and over how many runs, is each bench's own matter.
#![allow(dead_code, reason = "each bench that includes this uses a part of it")]

use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

/// What one run of a bench found.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    bench: &'static str,
    version: &'static str,
    commit: &'static str,
    /// Seconds since 1970.
    begun: u64,
    machine: Machine,
    figures: Vec<Figure>,
    #[serde(skip)]
    file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<bool>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cpus: usize,
    memory_kib: u64,
    kernel: String,
}

impl Figures {
    /// Begins the figures of a bench; [`finish`](Self::finish) writes them to `json`.
    pub(crate) fn new(bench: &'static str, json: Option<PathBuf>) -> Self {
        let machine = Machine::this();
        println!(
            "{bench}, kubevitals {}: {}, {} CPUs, Linux {}",
            kubevitals::VERSION,
            machine.processor,
            machine.cpus,
            machine.kernel
        );
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let version = env!("CARGO_PKG_VERSION");
        Self { bench, version, commit: kubevitals::COMMIT, begun, machine, figures: Vec::new(), file: json }
    }

    /// A figure without a budget.
    pub(crate) fn say(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.add(Figure { what: what.into(), value, unit, at_most: None, holds: None });
    }

    /// A figure with its budget.
    pub(crate) fn judge(&mut self, what: impl Into<String>, value: f64, unit: &'static str, at_most: f64) {
        let holds = Some(value <= at_most);
        self.add(Figure { what: what.into(), value, unit, at_most: Some(at_most), holds });
    }

    fn add(&mut self, figure: Figure) {
        println!("{}", figure.line());
        self.figures.push(figure);
    }

    /// Writes the JSON file, and says how many budgets do not hold.
    pub(crate) fn finish(self) {
        let missed = self.figures.iter().filter(|figure| figure.holds == Some(false)).count();
        let judged = self.figures.iter().filter(|figure| figure.holds.is_some()).count();
        println!("{}: {} of {judged} budgets hold", self.bench, judged - missed);
        if let Some(file) = &self.file {
            let text = serde_json::to_string_pretty(&self).expect("numbers and texts can be written");
            fs::write(file, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}

impl Figure {
    fn line(&self) -> String {
        let Self { what, value, unit, .. } = self;
        let space = if unit.is_empty() { "" } else { " " };
        let figure = format!("{what}: {}{space}{unit}", digits(*value));
        if let (Some(most), Some(holds)) = (self.at_most, self.holds) {
            let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
            return format!("{figure} (at most {}): {verdict}", digits(most));
        }
        figure
    }
}

/// Three significant digits, or all those before the point.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 | 100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim_start_matches([' ', '\t', ':']).to_owned()
        };
        let memory = after(&read("/proc/meminfo"), "MemTotal");
        Self {
            processor: after(&read("/proc/cpuinfo"), "model name"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            memory_kib: memory.trim_end_matches(" kB").parse().unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The file after `--json`, among the arguments of a bench that takes no others.
pub(crate) fn json_file() -> Option<PathBuf> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--json");
    arguments.nth(1).map(PathBuf::from)
}

/// The value in the middle; of an even number, the upper one.
pub(crate) fn median<T: PartialOrd + Copy>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("a measured value is a number"));
    sorted[sorted.len() / 2]
}
