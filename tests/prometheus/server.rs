//! A running Prometheus that scrapes pages of ours, and what it makes of them.

use std::{fmt::Write as _, fs, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    program::{Program, ask, dies_with_us},
    stage::{address, scrape},
    tools::prepared,
};

/// Twice as often as agents read by default: no reading is missed, and most are seen twice.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// It replays nothing, but a busy machine is slow to start a large program.
const START: Duration = Duration::from_secs(30);

const ANSWER: Duration = Duration::from_secs(10);

/// Dropping it ends it, and its data are gone.
#[derive(Debug)]
pub(crate) struct Prometheus {
    program: Program,
    port: u16,
    _data: TempDir,
}

/// Raw samples of a series: milliseconds since 1970 and value, ascending.
pub(crate) type Raw = Vec<(i64, f64)>;

impl Prometheus {
    /// Starts one that scrapes a path of these ports of loopback, each under a name as its `node`.
    pub(crate) fn start(path: &str, targets: &[(&str, u16)]) -> Self {
        Self::with("", path, targets)
    }

    /// The same with these settings of the job, one a line.
    pub(crate) fn with(settings: &str, path: &str, targets: &[(&str, u16)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("prometheus.yml");
        fs::write(&file, configuration(settings, path, targets)).unwrap();
        let mut command = dies_with_us(prepared("prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            // A debug build of an agent on a busy machine may be slow, Prometheus may not be.
            .env("GOMAXPROCS", "1");
        let program = Program::start("prometheus", &mut command);
        let port = program.logged("its address", START, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let address = line["address"].as_str().filter(|_| line["msg"] == "Listening on")?;
            address.rsplit_once(':')?.1.parse().ok()
        });
        program.logged("that it is ready", START, |line| {
            line.contains("Server is ready to receive").then_some(())
        });
        Self { program, port, _data: data }
    }

    /// What an expression is, at a time in milliseconds since 1970, or now.
    pub(crate) fn query(&self, expression: &str, at: Option<i64>) -> Vec<Value> {
        let mut path = format!("/api/v1/query?query={}", utf8_percent_encode(expression, NON_ALPHANUMERIC));
        if let Some(at) = at {
            write!(path, "&time={}", seconds(at)).unwrap();
        }
        self.results(&path)
    }

    /// What an expression is at each step between two times.
    pub(crate) fn query_range(&self, expression: &str, [from, to, step]: [i64; 3]) -> Vec<Value> {
        let expression = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let [from, to, step] = [from, to, step].map(seconds);
        self.results(&format!("/api/v1/query_range?query={expression}&start={from}&end={to}&step={step}"))
    }

    fn results(&self, path: &str) -> Vec<Value> {
        let answer = ask(address(self.port), path, "*/*", ANSWER).unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{path}: {answer}")).clone()
    }

    /// The one number that an expression is.
    pub(crate) fn number(&self, expression: &str, at: Option<i64>) -> f64 {
        let results = self.query(expression, at);
        let [result] = results.as_slice() else { panic!("{expression}: {results:?}") };
        number(&result["value"][1])
    }

    /// All that is kept of the one series that a selector matches.
    pub(crate) fn raw(&self, selector: &str) -> Raw {
        let results = self.query(&format!("{selector}[10m]"), None);
        match results.as_slice() {
            [] => Raw::new(),
            [series] => points(series),
            several => panic!("several series of {selector}: {several:?}"),
        }
    }

    /// Samples that it refused, by its own count and log, whatever the reason.
    pub(crate) fn refused(&self) -> Vec<String> {
        let own = scrape(self.port, "/metrics", "text/plain").body;
        let counted = own.lines().filter(|line| {
            let refusals = ["duplicate_timestamp_total", "out_of_order_total", "out_of_bounds_total"];
            let name = line.strip_prefix("prometheus_target_scrapes_sample_").unwrap_or_default();
            refusals.iter().any(|refusal| name.starts_with(refusal)) && !line.ends_with(" 0")
        });
        let mut refused: Vec<String> = counted.map(str::to_owned).collect();
        let log = self.program.log();
        let warned =
            log.lines().filter(|line| ["\"warn\"", "\"error\""].iter().any(|&level| line.contains(level)));
        refused.extend(warned.map(str::to_owned));
        refused
    }
}

fn configuration(settings: &str, path: &str, targets: &[(&str, u16)]) -> String {
    let settings: Vec<String> = settings.lines().map(|line| format!("  {line}\n")).collect();
    let settings = settings.concat();
    let interval = INTERVAL.as_millis();
    let mut text = format!(
        "global: {{scrape_interval: {interval}ms, scrape_timeout: {interval}ms}}\n\
         scrape_configs:\n- job_name: kubevitals\n{settings}  metrics_path: {path}\n  static_configs:\n"
    );
    for (node, port) in targets {
        writeln!(text, "  - {{targets: ['127.0.0.1:{port}'], labels: {{node: {node}}}}}").unwrap();
    }
    text
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// The samples of one series of an answer.
pub(crate) fn points(series: &Value) -> Raw {
    let values = series["values"].as_array().unwrap_or_else(|| panic!("no matrix: {series}"));
    values.iter().map(|point| (millis(&point[0]), number(&point[1]))).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "times of this century in milliseconds")]
fn millis(seconds: &Value) -> i64 {
    (seconds.as_f64().expect("a time") * 1000.0).round() as i64
}

fn number(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}
