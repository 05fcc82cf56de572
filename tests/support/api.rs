//! A client of the served API: curl for the connection, and the few JSON forms that are compared.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::program::{PATIENCE, dies_with_us, wait_until};

/// Longest an answer may take before it counts as none.
const ANSWER: Duration = Duration::from_secs(10);

/// Where pods of a kubepods tree are served when names come from paths.
pub(crate) const PODS: &str = "namespaces/kubepods/pods";

/// Where and as whom to ask.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) port: u16,
    ca: PathBuf,
    token: &'static str,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// When it was complete.
    pub(crate) at: Instant,
    /// HTTP's, or 0 without an answer.
    pub(crate) status: u16,
    body: String,
}

/// One pod as served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Seconds since 1970.
    pub(crate) timestamp: u64,
    pub(crate) window: Duration,
    /// Usage by container name.
    pub(crate) containers: BTreeMap<String, Usage>,
}

/// What a container is served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) nanocores: u64,
    pub(crate) memory: u64,
}

impl Usage {
    /// From the quantities of an answer.
    pub(crate) fn parse(cpu: &str, memory: &str) -> Self {
        let [cpu, memory] = [cpu, memory].map(|text| scaled(text, &QUANTITY));
        Self { nanocores: exact(cpu), memory: exact(memory / BILLION) }
    }
}

impl Client {
    /// Knows where to ask; waits for the authority, which is written after the ports are bound.
    pub(crate) fn new(port: u16, ca: &Path, token: &'static str) -> Self {
        let client = Self { port, ca: ca.to_owned(), token };
        wait_until("the authority is written", PATIENCE, || {
            let pem = fs::read_to_string(ca).map_err(|error| error.to_string())?;
            pem.contains("END CERTIFICATE").then_some(()).ok_or(pem)
        });
        client
    }

    /// The certificate of the authority, in PEM.
    pub(crate) fn authority(&self) -> String {
        fs::read_to_string(&self.ca).expect("the authority was written")
    }

    fn curl(&self, path_and_query: &str) -> Command {
        let mut curl = dies_with_us("curl");
        curl.args(["--silent", "--show-error", "--no-buffer", "--noproxy", "*"])
            .args(["--max-time", &ANSWER.as_secs().to_string()])
            .args(["--write-out", "\n%{http_code}\n", "--cacert"])
            .arg(&self.ca)
            .args(["--header", &format!("Authorization: Bearer {}", self.token)])
            .arg(format!("https://127.0.0.1:{}/apis/metrics.k8s.io/v1beta1/{path_and_query}", self.port));
        curl
    }

    /// One answer to one question, over a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let output = self.curl(path).output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let (body, status) = text.trim_end().rsplit_once('\n').unwrap_or(("", "0"));
        Answer {
            at: Instant::now(),
            status: status.parse().expect("curl prints a status"),
            body: body.to_owned(),
        }
    }

    /// One pod, or the status instead of it.
    pub(crate) fn pod(&self, uid: &str) -> Result<Pod, String> {
        self.get(&format!("{PODS}/{uid}")).pod()
    }

    /// All pods by UID.
    pub(crate) fn pods(&self) -> Result<BTreeMap<String, Pod>, String> {
        self.get(PODS).pods()
    }

    /// The same question so many times a second, over one connection. It does not survive the server's end.
    pub(crate) fn poll(&self, path: &str, per_second: u32) -> Poll {
        // The number only makes curl ask again; the server ignores it.
        let mut curl = self.curl(&format!("{path}?question=[1-100000000]"));
        curl.args(["--rate", &format!("{per_second}/s")]);
        let mut child = curl
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("curl starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, answers) = sync_channel(1 << 16);
        thread::spawn(move || {
            let mut body = String::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match line.parse() {
                    Ok(status) if line.len() == 3 => {
                        let answer = Answer { at: Instant::now(), status, body: std::mem::take(&mut body) };
                        if sender.send(answer).is_err() {
                            return;
                        }
                    }
                    _ => body.push_str(&line),
                }
            }
        });
        Poll { child, answers }
    }
}

/// Answers to a question asked again and again.
#[derive(Debug)]
pub(crate) struct Poll {
    child: Child,
    answers: Receiver<Answer>,
}

impl Poll {
    /// The next answer.
    pub(crate) fn next(&self) -> Answer {
        self.answers.recv_timeout(PATIENCE).expect("curl goes on asking")
    }

    /// The next answer that was waited for.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&Answer) -> Option<T>,
    ) -> (Instant, T) {
        let deadline = Instant::now() + within;
        loop {
            let answer = self.next();
            if let Some(found) = wanted(&answer) {
                return (answer.at, found);
            }
            assert!(Instant::now() < deadline, "not in {within:?}: {what}; last {answer:?}");
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Answer {
    fn json(&self) -> Result<Value, String> {
        if self.status != 200 {
            return Err(format!("{} {}", self.status, self.body));
        }
        serde_json::from_str(&self.body).map_err(|error| format!("{error}: {}", self.body))
    }

    /// As one pod.
    pub(crate) fn pod(&self) -> Result<Pod, String> {
        Ok(pod(&self.json()?))
    }

    /// As a list of pods, by name.
    pub(crate) fn pods(&self) -> Result<BTreeMap<String, Pod>, String> {
        let list = self.json()?;
        let items = list["items"].as_array().ok_or_else(|| format!("no list: {list}"))?;
        Ok(items.iter().map(|item| (text(&item["metadata"]["name"]).to_owned(), pod(item))).collect())
    }
}

impl Pod {
    /// The usage of its only container.
    pub(crate) fn usage(&self) -> Usage {
        assert_eq!(self.containers.len(), 1, "{self:?}");
        *self.containers.values().next().expect("one container")
    }
}

/// A pod; what is not in the promised form fails the test.
fn pod(item: &Value) -> Pod {
    let containers = item["containers"].as_array().expect("a pod has containers").iter();
    let named = |container: &Value| {
        let usage = &container["usage"];
        (text(&container["name"]).to_owned(), Usage::parse(text(&usage["cpu"]), text(&usage["memory"])))
    };
    Pod {
        timestamp: seconds(text(&item["timestamp"])),
        window: duration(text(&item["window"])),
        containers: containers.map(named).collect(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

fn exact(value: u128) -> u64 {
    u64::try_from(value).expect("a plausible number")
}

const BILLION: u128 = 1_000_000_000;

/// Suffixes of Kubernetes quantities, in billionths.
const QUANTITY: [(&str, u128); 8] = [
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", BILLION),
    ("k", 1_000 * BILLION),
    ("Ki", BILLION << 10),
    ("Mi", BILLION << 20),
    ("Gi", BILLION << 30),
];

/// Units of Go's durations, in nanoseconds.
const DURATION: [(&str, u128); 5] =
    [("h", 3600 * BILLION), ("m", 60 * BILLION), ("s", BILLION), ("ms", 1_000_000), ("µs", 1_000)];

/// `1m2.5s`, exact.
pub(crate) fn duration(text: &str) -> Duration {
    let mut nanos = 0;
    let mut rest = text;
    while let Some(unit) = rest.find(char::is_alphabetic) {
        let end = rest[unit..].find(|c: char| c.is_ascii_digit());
        let (part, after) = rest.split_at(end.map_or(rest.len(), |end| unit + end));
        nanos += scaled(part, &DURATION);
        rest = after;
    }
    Duration::from_nanos(exact(nanos))
}

/// A decimal number with a suffix times the suffix's scale; refuses what would have to be rounded.
fn scaled(text: &str, scales: &[(&str, u128)]) -> u128 {
    let (number, suffix) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = scales.iter().find(|(name, _)| *name == suffix);
    let (_, scale) = scale.unwrap_or_else(|| panic!("unknown suffix: {text}"));
    let digits: u128 = format!("{whole}{fraction}").parse().expect("digits");
    let below = 10_u128.pow(u32::try_from(fraction.len()).expect("few digits"));
    assert_eq!(digits * scale % below, 0, "{text} is finer than can be");
    digits * scale / below
}

/// `2026-11-22T10:26:55Z` as seconds since 1970.
pub(crate) fn seconds(text: &str) -> u64 {
    let numbers: Vec<u64> = text.split(['-', 'T', ':', 'Z']).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { panic!("no time: {text}") };
    // Days of the proleptic calendar, with years that begin in March (H. Hinnant, "chrono-compatible date algorithms").
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second
}

#[test]
fn the_client_reads_times_and_quantities_exactly() {
    assert_eq!(seconds("2026-11-22T10:26:55Z"), 1_795_343_215);
    assert_eq!(duration("1m2.000005s"), Duration::from_micros(62_000_005));
    assert_eq!(scaled("65540Ki", &QUANTITY), 65540 * 1024 * BILLION);
    assert_eq!(scaled("1.5", &QUANTITY), 1_500_000_000);
}
