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

#[path = "forms.rs"]
pub(crate) mod forms;

use self::forms::{Pod, pod, text};
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
