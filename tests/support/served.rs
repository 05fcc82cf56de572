//! The served side of a guest's numbers: the aggregator program on this machine, and its API asked with curl.
//!
//! This is the only place that knows how the API is reached and what its JSON looks like.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guest::{Bed, dies_with_us, follow, run_directory};
use crate::tree::Made;

/// The name in the certificate; curl and the guest's agent both verify it.
pub(crate) const SERVER_NAME: &str = "aggregator.test";
/// What an agent has to show.
pub(crate) const AGENT_TOKEN: &str = "feeds-the-store";
const API_TOKEN: &str = "reads-the-api";

/// Certificates are made at the first start, on cores that may be busy.
const START: Duration = Duration::from_mins(1);

/// The aggregator program on this machine's loopback. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Aggregator {
    process: Child,
    api_port: u16,
    /// Where agents connect.
    pub(crate) ingest_port: u16,
    /// The authority of its certificate, in PEM.
    pub(crate) ca: PathBuf,
}

/// One pod of the served list.
#[derive(Debug)]
pub(crate) struct Served {
    /// Labels of the pod.
    pub(crate) labels: Value,
    /// When its last sample was taken, as the API prints it.
    pub(crate) timestamp: String,
    /// Length of the window its rates are over.
    pub(crate) window_ns: u128,
    /// Usage by container name.
    pub(crate) containers: BTreeMap<String, Usage>,
}

/// The served figures of one container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Rate of CPU use.
    pub(crate) cpu_nanocores: u128,
    /// Working set, in bytes.
    pub(crate) memory: u64,
}

impl Served {
    fn parse(pod: &Value) -> Result<Self, String> {
        let mut containers = BTreeMap::new();
        for container in pod["containers"].as_array().into_iter().flatten() {
            let usage = &container["usage"];
            let memory = quantity_nano(&usage["memory"])? / 1_000_000_000;
            let usage = Usage {
                cpu_nanocores: quantity_nano(&usage["cpu"])?,
                memory: u64::try_from(memory).map_err(|_| format!("too much memory: {memory}"))?,
            };
            containers.insert(text(&container["name"])?.to_owned(), usage);
        }
        Ok(Self {
            timestamp: text(&pod["timestamp"])?.to_owned(),
            labels: pod["metadata"]["labels"].clone(),
            window_ns: duration_ns(&pod["window"])?,
            containers,
        })
    }

    /// The usage of a container the guest made.
    pub(crate) fn container(&self, made: &Made) -> Result<Usage, String> {
        self.containers.get(made.name()).copied().ok_or_else(|| format!("{} is not served", made.workload))
    }
}

impl Aggregator {
    /// Starts it and waits until both its listeners are bound.
    pub(crate) fn start(bed: Bed, window: Duration) -> Self {
        let directory = run_directory(bed);
        let file = |name: &str, content: &str| {
            let path = directory.join(name);
            fs::write(&path, content).expect("the run directory is writable");
            path
        };
        let ca = directory.join("aggregator-ca.pem");
        // A file of an earlier run would pass for this one's.
        drop(fs::remove_file(&ca));
        let mut process = dies_with_us(program("kubevitals-aggregator"))
            .args(["serve", "--names", "paths", "--listen", "127.0.0.1:0", "--ingest-listen", "127.0.0.1:0"])
            .arg("--query-listen=127.0.0.1:0")
            .args(["--server-name", SERVER_NAME, "--log-format", "json"])
            .args(["--window", &format!("{}s", window.as_secs())])
            .arg("--api-token-file")
            .arg(file("api-token", API_TOKEN))
            .arg("--agent-token-file")
            .arg(file("agent-token", AGENT_TOKEN))
            .args(["--admin-listen", "127.0.0.1:0"])
            .arg("--ca-out")
            .arg(&ca)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the aggregator starts through setpriv");
        let log = directory.join("aggregator.log");
        let lines = follow(process.stderr.take().expect("stderr was piped"), &log);
        let deadline = Instant::now() + START;
        let mut ports = BTreeMap::new();
        while !(ports.contains_key("api") && ports.contains_key("ingest")) {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = lines.recv_timeout(left).unwrap_or_else(|reason| {
                panic!("the aggregator is not listening: {reason}; see {}", log.display())
            });
            ports.extend(listening(&line));
        }
        // The certificate is made after the ports are bound.
        while !fs::read_to_string(&ca).is_ok_and(|pem| pem.contains("END CERTIFICATE")) {
            assert!(Instant::now() < deadline, "no CA in {}; see {}", ca.display(), log.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, api_port: ports["api"], ingest_port: ports["ingest"], ca }
    }

    /// The pods of the cgroup trees, by name.
    pub(crate) fn pods(&self) -> Result<BTreeMap<String, Served>, String> {
        let list = self.get("namespaces/kubepods/pods")?;
        let items = list["items"].as_array().ok_or_else(|| format!("not a list: {list}"))?;
        items
            .iter()
            .map(|pod| Ok((text(&pod["metadata"]["name"])?.to_owned(), Served::parse(pod)?)))
            .collect()
    }

    /// Any path below the API group; an error is worth another try.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        let at = format!("{SERVER_NAME}:{}", self.api_port);
        let answer = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "10", "--noproxy", "*"])
            .args(["--resolve", &format!("{at}:127.0.0.1"), "--cacert"])
            .arg(&self.ca)
            .args(["--header", &format!("Authorization: Bearer {API_TOKEN}")])
            .arg(format!("https://{at}/apis/metrics.k8s.io/v1beta1/{path}"))
            .output()
            .expect("curl can be run");
        let body = String::from_utf8_lossy(&answer.stdout);
        if !answer.status.success() {
            return Err(format!("GET {path}: {}{body}", String::from_utf8_lossy(&answer.stderr)));
        }
        serde_json::from_str(&body).map_err(|error| format!("GET {path}: {error}: {body}"))
    }
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A log line that says where a listener is bound: its name and port.
fn listening(line: &str) -> Option<(String, u16)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str();
    let port = field("address")?.rsplit_once(':')?.1.parse().ok()?;
    (field("message")? == "listening").then_some((field("listener")?.to_owned(), port))
}

/// A program that `tests/run` built beside this test.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let program = test.parent().and_then(Path::parent).expect("tests lie in deps/").join(name);
    assert!(program.exists(), "{} is missing: run tests/run or cargo build --workspace", program.display());
    program
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("not a string: {value}"))
}

/// A Kubernetes quantity in billionths, exact.
pub(crate) fn quantity_nano(value: &Value) -> Result<u128, String> {
    let scales = [
        ("n", 1),
        ("u", 1_000),
        ("m", 1_000_000),
        ("", 1_000_000_000),
        ("k", 1_000_000_000_000),
        ("Ki", 1_000_000_000 << 10),
        ("Mi", 1_000_000_000 << 20),
        ("Gi", 1_000_000_000 << 30),
    ];
    scaled(text(value)?, &scales)
}

/// A Go duration (`1m2.5s`) in nanoseconds, exact.
fn duration_ns(value: &Value) -> Result<u128, String> {
    let scales = [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];
    text(value)?.split_inclusive(char::is_alphabetic).map(|part| scaled(part, &scales)).sum()
}

/// `<decimal><unit>` times the unit's scale; refuses what would have to be rounded.
fn scaled(text: &str, scales: &[(&str, u128)]) -> Result<u128, String> {
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exact = || {
        let scale = scales.iter().find(|(name, _)| *name == unit)?.1;
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let below = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        (digits * scale).is_multiple_of(below).then_some(digits * scale / below)
    };
    exact().ok_or_else(|| format!("not understood: {text}"))
}
