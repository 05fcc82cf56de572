//! The two programs, each on a host of its own, with the ports and files that they have in a cluster.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    apiserver::{SERVICE, dial::Target},
    fleet::Ingest,
    names::INGEST,
    netns::Host,
    program::{AGENT_ACCOUNT, Program, built, probe_at},
};

const API: u16 = 10250;
const INGEST_PORT: u16 = 10251;
const ADMIN: u16 = 9466;
const AGENT_ADMIN: u16 = 9465;

/// How long an aggregator still serves after a signal.
pub(crate) const SHUTDOWN_DELAY: Duration = Duration::from_secs(2);

/// A prober waits so long.
const PROBE: Duration = Duration::from_secs(1);

/// One aggregator and its host.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) host: Host,
    /// None while it is down.
    pub(crate) program: Option<Program>,
    files: PathBuf,
    flags: Vec<String>,
}

impl Replica {
    /// Plans one; nothing runs yet. Its certificate and kubeconfig lie in `files`.
    pub(crate) fn new(host: Host, files: &Path, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { host, program: None, files: files.to_owned(), flags }
    }

    /// Starts the program, and waits until it listens.
    pub(crate) fn start(&mut self, kubeconfig: &Path) {
        let file = |name: &str| self.files.join(name).display().to_string();
        let mut command = self.host.command(built("kubevitals-aggregator"));
        command
            .args(["serve", "--log-format=json", "--names=cluster"])
            .args(["--listen=0.0.0.0:10250", "--ingest-listen=0.0.0.0:10251", "--admin-listen=0.0.0.0:9466"])
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--agent-service-account={AGENT_ACCOUNT}"))
            .arg(format!("--tls-cert-file={}", file("tls.crt")))
            .arg(format!("--tls-key-file={}", file("tls.key")))
            .arg(format!("--shutdown-delay={}s", SHUTDOWN_DELAY.as_secs()))
            .args(&self.flags);
        let program = Program::start("kubevitals-aggregator", &mut command);
        for (listener, port) in [("api", API), ("ingest", INGEST_PORT), ("admin", ADMIN)] {
            assert_eq!(program.port(listener), port);
        }
        self.program = Some(program);
    }

    /// The running program.
    pub(crate) fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("it runs")
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self) {
        let mut program = self.program.take().expect("it runs");
        program.signal(Signal::TERM);
        let status = program.ended(Duration::from_secs(20));
        assert_eq!(status.code(), Some(0), "{}", program.log());
    }

    /// Its API.
    pub(crate) fn target(&self, ca_pem: &str) -> Target {
        let address = SocketAddr::from((self.host.address, API));
        Target { address, name: SERVICE.to_owned(), ca_pem: ca_pem.to_owned() }
    }

    /// Its port for agents.
    pub(crate) fn ingest(&self, ca_pem: &str) -> Ingest {
        let address = SocketAddr::from((self.host.address, INGEST_PORT));
        Ingest { address, ca_pem: ca_pem.to_owned() }
    }

    /// Its port for probes.
    pub(crate) fn admin(&self) -> SocketAddr {
        SocketAddr::from((self.host.address, ADMIN))
    }
}

/// Whether an aggregator says that it is ready.
pub(crate) fn is_ready(admin: SocketAddr) -> bool {
    probe_at(admin, "/readyz", PROBE).is_ok_and(|(status, _)| status == 200)
}

/// One value of a program's /metrics; none while it does not answer.
fn metric(admin: SocketAddr, name: &str) -> Option<f64> {
    let (_, body) = probe_at(admin, "/metrics", PROBE).ok()?;
    body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// One agent and its host.
#[derive(Debug)]
pub(crate) struct NodeAgent {
    pub(crate) node: String,
    pub(crate) host: Host,
    pub(crate) program: Option<Program>,
    resolver: PathBuf,
    files: PathBuf,
    flags: Vec<String>,
}

impl NodeAgent {
    /// Plans one; nothing runs yet. Its token and the authority lie in `files`.
    pub(crate) fn new(node: &str, host: Host, resolver: &Path, files: &Path, flags: &[String]) -> Self {
        Self {
            node: node.to_owned(),
            host,
            program: None,
            resolver: resolver.to_owned(),
            files: files.to_owned(),
            flags: flags.to_vec(),
        }
    }

    /// Flags of every agent, with where the aggregators are.
    pub(crate) fn common_flags(&self, hosts: &[String]) -> Vec<String> {
        let file = |name: &str| self.files.join(name).display().to_string();
        let mut flags: Vec<String> =
            hosts.iter().map(|host| format!("--aggregator=https://{host}:{INGEST_PORT}")).collect();
        flags.extend([
            format!("--node-name={}", self.node),
            format!("--server-name={INGEST}"),
            format!("--ca-file={}", file("ca.crt")),
            format!("--token-file={}", file(&format!("token-{}", self.node))),
        ]);
        flags.extend(self.flags.iter().cloned());
        flags
    }

    /// Starts the program, and waits until it listens.
    pub(crate) fn start(&mut self) {
        let mut command = self.host.command_with_resolver(&self.resolver, built("kubevitals-agent"));
        command
            .args(["run", "--log-format=json", "--listen=0.0.0.0:9465"])
            .args(self.common_flags(&[INGEST.to_owned()]));
        let program = Program::start("kubevitals-agent", &mut command);
        assert_eq!(program.port("admin"), AGENT_ADMIN);
        self.program = Some(program);
    }

    /// The running program.
    pub(crate) fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("it runs")
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.program.take().expect("it runs").kill();
    }

    /// Asks it to end, and waits until it has; how long that took.
    pub(crate) fn end(&mut self) -> Duration {
        let mut program = self.program.take().expect("it runs");
        let signalled = Instant::now();
        program.signal(Signal::TERM);
        assert_eq!(program.ended(Duration::from_secs(10)).code(), Some(0), "{}", program.log());
        signalled.elapsed()
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> Option<f64> {
        metric(SocketAddr::from((self.host.address, AGENT_ADMIN)), "kubevitals_agent_streams_open")
    }

    /// Aggregators that it streams to, or tries to.
    pub(crate) fn targets(&self) -> Option<f64> {
        metric(SocketAddr::from((self.host.address, AGENT_ADMIN)), "kubevitals_agent_stream_targets")
    }
}
