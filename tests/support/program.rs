//! Starts the two built programs, waits for what they say, stops them. Nothing outlives its guard.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::api::Client;

/// A program says where it listens, and ends when it should, within this time, also on busy cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What an agent has to show, and what a client of the API has to.
const AGENT_TOKEN: &str = "feeds-the-store";
const API_TOKEN: &str = "reads-the-api";

/// Who agents are in a cluster.
pub(crate) const AGENT_ACCOUNT: &str = "system:serviceaccount:kube-system:kubevitals-agent";

/// The name under which the tests' machine reports.
pub(crate) const NODE: &str = "node-under-test";

/// A command whose process the kernel ends with the thread that started it, so that a test that is itself killed
/// leaves nothing running.
pub(crate) fn dies_with_us(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program.as_ref());
    command
}

/// A built program, which lies beside this test's directory.
pub(crate) fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in deps/");
    let program = profile.join(name);
    assert!(program.exists(), "{} is missing: run tests/run, or cargo build --workspace", program.display());
    program
}

/// Whether `KUBEVITALS_SKIP` names this; says so.
pub(crate) fn skipped(what: &str) -> bool {
    let skipped = std::env::var("KUBEVITALS_SKIP").is_ok_and(|skip| skip.split(',').any(|name| name == what));
    if skipped {
        eprintln!("SKIPPED: KUBEVITALS_SKIP names {what}, so nothing was checked");
    }
    skipped
}

/// Whether there is time for the long form of a test.
pub(crate) fn long() -> bool {
    std::env::var("KUBEVITALS_LONG").is_ok_and(|long| long == "1")
}

/// Looks again and again until the check passes, and fails with its last answer when the deadline is over.
pub(crate) fn wait_until<T>(what: &str, within: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match check() {
            Ok(found) => return found,
            Err(reason) => assert!(Instant::now() < deadline, "not in {within:?}: {what}: {reason}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The lines a program has written so far.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn follow(&self, source: impl Read + Send + 'static) {
        let Self(shared) = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                shared.0.lock().unwrap().push(line);
                shared.1.notify_all();
            }
        });
    }

    fn text(&self) -> String {
        self.0.0.lock().unwrap().join("\n")
    }

    /// The first that is taken, at once or within a time.
    fn find<T>(&self, within: Duration, take: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut lines = self.0.0.lock().unwrap();
        let mut seen = 0;
        loop {
            let found = lines[seen..].iter().find_map(|line| take(line));
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return found;
            }
            seen = lines.len();
            lines = self.0.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// A running program. Dropping it kills it, and shows its log when the test failed.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Program {
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts through setpriv");
        let (stdout, stderr) = (Lines::default(), Lines::default());
        stdout.follow(child.stdout.take().expect("stdout is piped"));
        stderr.follow(child.stderr.take().expect("stderr is piped"));
        Self { name, child, stdout, stderr }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.stderr.text()
    }

    /// What it has shown to its user.
    pub(crate) fn screen(&self) -> String {
        self.stdout.text()
    }

    /// Waits for a line on its screen.
    pub(crate) fn shows<T>(&self, what: &str, within: Duration, take: impl Fn(&str) -> Option<T>) -> T {
        self.stdout
            .find(within, take)
            .unwrap_or_else(|| panic!("{} does not show {what} within {within:?}", self.name))
    }

    /// Waits for a line of its log.
    pub(crate) fn logged<T>(&self, what: &str, within: Duration, take: impl Fn(&str) -> Option<T>) -> T {
        self.stderr
            .find(within, take)
            .unwrap_or_else(|| panic!("{} does not log {what} within {within:?}", self.name))
    }

    /// Waits for its word that a listener is bound, and returns the port.
    pub(crate) fn port(&self, listener: &str) -> u16 {
        let bound = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            let is_bound = line["message"] == "listening" && line["listener"] == listener;
            let address = line["address"].as_str().filter(|_| is_bound)?;
            address.rsplit_once(':')?.1.parse().ok()
        };
        self.logged(&format!("that it listens: {listener}"), PATIENCE, bound)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our child can be signalled");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let name = self.name;
        wait_until(&format!("{name} ends"), within, || {
            let status = self.child.try_wait().expect("our child can be waited for");
            status.ok_or_else(|| "it runs".to_owned())
        })
    }

    /// Ends it without a word, and waits for that.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child can be killed");
        self.child.wait().expect("our child can be waited for");
    }

    /// Descriptors and resident memory in KiB, as the kernel counts them.
    pub(crate) fn footprint(&self) -> (usize, u64) {
        let descriptors = fs::read_dir(self.proc("fd")).expect("it runs").count();
        (descriptors, self.resident())
    }

    /// Resident memory, KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Resident memory that is no file's, KiB.
    pub(crate) fn anonymous(&self) -> u64 {
        self.memory("RssAnon:")
    }

    /// Most resident memory since the start or since it was [forgotten](Self::forget_peak), KiB.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// From now on the peak is that of the time after (proc(5), `clear_refs`).
    pub(crate) fn forget_peak(&self) {
        fs::write(self.proc("clear_refs"), "5").expect("our child's peak can be reset");
    }

    /// A file of its directory in /proc.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("it runs");
        let value = status.lines().find_map(|text| text.strip_prefix(line));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok());
        value.expect("the kernel knows its resident memory")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {} logged at last:\n{}\n---", self.name, tail(&self.log()));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A running `kubevitals-aggregator serve`.
#[derive(Debug)]
pub(crate) struct Aggregator {
    pub(crate) program: Program,
    /// Its API.
    pub(crate) api: Client,
    pub(crate) ingest_port: u16,
    pub(crate) admin_port: u16,
    /// When it was started, and when it had said that it listens.
    pub(crate) started: Instant,
    pub(crate) listening: Instant,
    directory: PathBuf,
    /// Everything but addresses and where its authority goes.
    flags: Vec<String>,
}

impl Aggregator {
    /// Starts one that names pods by their cgroups and knows fixed tokens, with its files in a directory of its
    /// own, on free ports.
    pub(crate) fn start(directory: &Path, flags: &[&str]) -> Self {
        fs::create_dir_all(directory).expect("the temporary directory is writable");
        let path = |name: &str, content| write(directory, name, content).display().to_string();
        let fixed = [
            "--names=paths".to_owned(),
            format!("--api-token-file={}", path("api-token", API_TOKEN)),
            format!("--agent-token-file={}", path("agent-token", AGENT_TOKEN)),
        ];
        let flags = flags.iter().map(|&flag| flag.to_owned());
        Self::on(directory, fixed.into_iter().chain(flags).collect(), [0, 0, 0])
    }

    /// Starts one as a cluster has it: names and trust come from the API server that the kubeconfig leads to.
    pub(crate) fn of_cluster(directory: &Path, kubeconfig: &Path, flags: &[&str]) -> Self {
        Self::on(directory, cluster_flags(kubeconfig, flags), [0, 0, 0])
    }

    /// The same that is expected to end before it listens, with its authority in the same directory.
    pub(crate) fn refused_by_cluster(directory: &Path, kubeconfig: &Path, flags: &[&str]) -> Program {
        let mut command = serve(&directory.join("ca.pem"), &cluster_flags(kubeconfig, flags), [0, 0, 0]);
        Program::start("kubevitals-aggregator", &mut command)
    }

    /// Starts anew what was stopped or killed, on the ports it had.
    pub(crate) fn again(self) -> Self {
        let ports = [self.api.port, self.ingest_port, self.admin_port];
        let Self { program, directory, flags, .. } = self;
        drop(program);
        Self::on(&directory, flags, ports)
    }

    fn on(directory: &Path, flags: Vec<String>, ports: [u16; 3]) -> Self {
        let ca = directory.join("ca.pem");
        // An authority of an earlier start would pass for this one's.
        drop(fs::remove_file(&ca));
        let started = Instant::now();
        let program = Program::start("kubevitals-aggregator", &mut serve(&ca, &flags, ports));
        let [api, ingest_port, admin_port] = ["api", "ingest", "admin"].map(|name| program.port(name));
        let listening = Instant::now();
        Self {
            program,
            started,
            listening,
            api: Client::new(api, &ca, API_TOKEN),
            ingest_port,
            admin_port,
            directory: directory.to_owned(),
            flags,
        }
    }

    /// Its /metrics.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::of(self.admin_port)
    }
}

fn cluster_flags(kubeconfig: &Path, flags: &[&str]) -> Vec<String> {
    let fixed = [
        "--names=cluster".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--agent-service-account={AGENT_ACCOUNT}"),
    ];
    fixed.into_iter().chain(flags.iter().map(|&flag| flag.to_owned())).collect()
}

/// `serve` on these ports of loopback.
fn serve(ca: &Path, flags: &[String], ports: [u16; 3]) -> Command {
    let [api, ingest, admin] = ports.map(|port| format!("127.0.0.1:{port}"));
    let mut command = dies_with_us(built("kubevitals-aggregator"));
    command
        .args(["serve", "--log-format", "json", "--listen", &api])
        .args(["--ingest-listen", &ingest, "--admin-listen", &admin, "--query-listen=127.0.0.1:0"])
        .arg("--ca-out")
        .arg(ca)
        .args(flags);
    command
}

/// A running `kubevitals-agent run`.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) program: Program,
    pub(crate) admin_port: u16,
    /// Everything but the address.
    arguments: Vec<OsString>,
}

impl Agent {
    /// Starts one that streams to these aggregators.
    pub(crate) fn start(aggregators: &[&Aggregator]) -> Self {
        Self::of_node(NODE, "agent-token", aggregators)
    }

    /// Starts one for a node of a cluster; its token is in this file of the first aggregator's directory.
    pub(crate) fn of_node(node: &str, token: &str, aggregators: &[&Aggregator]) -> Self {
        Self::with(node, token, aggregators, &[])
    }

    /// The same with these flags beside the usual ones.
    pub(crate) fn with(node: &str, token: &str, aggregators: &[&Aggregator], flags: &[&str]) -> Self {
        let mut command = dies_with_us(built("kubevitals-agent"));
        Self::on(&mut command, arguments(node, token, aggregators, flags), 0)
    }

    /// Starts one that may open so many files.
    pub(crate) fn with_open_files(most: u32, aggregators: &[&Aggregator]) -> Self {
        let mut command = dies_with_us("prlimit");
        command.arg(format!("--nofile={most}:{most}")).arg(built("kubevitals-agent"));
        Self::on(&mut command, arguments(NODE, "agent-token", aggregators, &[]), 0)
    }

    /// Starts one that moves itself before it does anything: each file is the `cgroup.procs` of a cgroup.
    pub(crate) fn inside(processes: &[PathBuf], aggregators: &[&Aggregator]) -> Self {
        let mut command = dies_with_us("sh");
        let script = "until [ \"$1\" = -- ]; do echo $$ > \"$1\"; shift; done; shift; exec \"$@\"";
        command.args(["-c", script, "sh"]).args(processes).arg("--").arg(built("kubevitals-agent"));
        Self::on(&mut command, arguments(NODE, "agent-token", aggregators, &[]), 0)
    }

    /// Starts anew what was stopped or killed, on the port it had.
    pub(crate) fn again(self) -> Self {
        let Self { program, admin_port, arguments } = self;
        drop(program);
        Self::on(&mut dies_with_us(built("kubevitals-agent")), arguments, admin_port)
    }

    fn on(command: &mut Command, arguments: Vec<OsString>, port: u16) -> Self {
        command.args(&arguments).args(["--listen", &format!("127.0.0.1:{port}")]);
        let program = Program::start("kubevitals-agent", command);
        let admin_port = program.port("admin");
        Self { program, admin_port, arguments }
    }

    /// Its /metrics.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::of(self.admin_port)
    }
}

/// `run` of a node's agent.
fn arguments(node: &str, token: &str, aggregators: &[&Aggregator], flags: &[&str]) -> Vec<OsString> {
    let first = aggregators.first().expect("an aggregator");
    let mut arguments: Vec<OsString> =
        ["run", "--node-name", node, "--log-format", "json", "--ca-file"].map(OsString::from).into();
    arguments.push(authorities(aggregators).into());
    arguments.extend(["--token-file".into(), first.directory.join(token).into()]);
    for aggregator in aggregators {
        arguments.push(format!("--aggregator=https://127.0.0.1:{}", aggregator.ingest_port).into());
    }
    arguments.extend(flags.iter().map(OsString::from));
    arguments
}

/// The file with the authority of one aggregator, or a new one with those of several.
fn authorities(aggregators: &[&Aggregator]) -> PathBuf {
    let pems: Vec<String> = aggregators.iter().map(|aggregator| aggregator.api.authority()).collect();
    let directory = &aggregators.first().expect("an aggregator").directory;
    match pems.as_slice() {
        [_] => directory.join("ca.pem"),
        _ => write(directory, "all-ca.pem", &pems.concat()),
    }
}

fn write(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).expect("the temporary directory is writable");
    path
}

/// A program's /metrics.
#[derive(Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn of(port: u16) -> Self {
        let (status, body) = probe(port, "/metrics").expect("/metrics answers");
        assert_eq!(status, 200);
        let series = body.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(series.collect())
    }

    /// All values of a family together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let of_family = |series: &str| series.split('{').next() == Some(name);
        self.0.iter().filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
    }

    /// One value, by name and labels as printed.
    pub(crate) fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:#?}", self.0))
    }
}

/// Asks a probe address: the status and the body.
pub(crate) fn probe(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    probe_at(SocketAddr::from(([127, 0, 0, 1], port)), path, PATIENCE)
}

/// The same anywhere, with a limit for each step.
pub(crate) fn probe_at(address: SocketAddr, path: &str, limit: Duration) -> std::io::Result<(u16, String)> {
    let Page { status, body, .. } = ask(address, path, "*/*", limit)?;
    Ok((status, body))
}

/// What a plain HTTP server answered.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) status: u16,
    /// The head, as it came.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks for a form, by the header `Accept`, with a limit for each step.
pub(crate) fn ask(address: SocketAddr, path: &str, accept: &str, limit: Duration) -> std::io::Result<Page> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status: {head:?}")))?;
    Ok(Page { status, head: head.to_owned(), body: body.to_owned() })
}
