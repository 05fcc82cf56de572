//! Every flag, and what the flags mean together.
//!
//! [`Flags`] is what was typed; [`Flags::resolve`] checks all of it and names every fault at once.

#![allow(
    clippy::doc_markdown,
    reason = "the doc comments of flags are their help texts"
)]

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kubevitals::limits::{INTERVAL_MS, MAX_NODE_NAME, MAX_SERIES};

use crate::{
    cgroup::Scope,
    node::NodeMemory,
    stream::{
        Trust,
        targets::{HostPort, Targets},
    },
};

/// Exit code for a bad configuration (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Reads the CPU and memory counters of this node's pods straight from the kernel and streams them to the
/// Kubevitals aggregators.
#[derive(Debug, Parser)]
#[command(name = "kubevitals-agent", version = kubevitals::VERSION, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sample and stream until told to stop: what the DaemonSet runs.
    Run(Box<Flags>),
    /// Look once at what can be seen on this machine, for people.
    Sample(SampleFlags),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for collectors.
    Json,
}

/// Logging.
#[derive(Debug, Clone, Args)]
pub struct LogFlags {
    /// How log lines look: text for people, json for collectors [default: text]
    #[arg(
        long,
        env = "KUBEVITALS_LOG_FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    pub log_format: LogFormat,
    /// Which log lines: error, warn, info, debug or trace, or a list such as info,kubevitals_agent=debug
    /// [default: info]
    #[arg(
        long,
        env = "KUBEVITALS_LOG_LEVEL",
        default_value = "info",
        hide_default_value = true
    )]
    pub log_level: String,
}

/// Where the kernel's files are.
#[derive(Debug, Clone, Args)]
pub struct KernelFlags {
    /// Directory under which the cgroup file systems are mounted; a hostPath mount in a container
    /// [default: /sys/fs/cgroup]
    #[arg(
        long,
        env = "KUBEVITALS_CGROUP_ROOT",
        default_value = "/sys/fs/cgroup",
        hide_default_value = true
    )]
    pub cgroup_root: PathBuf,
    /// The proc file system; mount points, memory totals and CPUs are read there [default: /proc]
    #[arg(
        long,
        env = "KUBEVITALS_PROC_ROOT",
        default_value = "/proc",
        hide_default_value = true
    )]
    pub proc_root: PathBuf,
    /// Which cgroups: kubepods for pods and containers, all for every cgroup with processes, as on a machine
    /// without Kubernetes [default: kubepods]
    #[arg(
        long,
        env = "KUBEVITALS_SCOPE",
        default_value = "kubepods",
        hide_default_value = true
    )]
    pub scope: ScopeFlag,
    /// How the node's memory is computed on cgroup v2: cgroup (anon + file - inactive_file, as kubelets since
    /// 1.29) or meminfo (MemTotal - MemFree - inactive_file, as older ones) [default: cgroup]
    #[arg(
        long,
        env = "KUBEVITALS_NODE_MEMORY",
        default_value = "cgroup",
        hide_default_value = true
    )]
    pub node_memory: NodeMemoryFlag,
}

/// `--scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScopeFlag {
    /// Pods and containers.
    Kubepods,
    /// Every cgroup with processes.
    All,
}

/// `--node-memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NodeMemoryFlag {
    /// From the root cgroup's statistics.
    Cgroup,
    /// From /proc/meminfo.
    Meminfo,
}

impl From<ScopeFlag> for Scope {
    fn from(flag: ScopeFlag) -> Self {
        match flag {
            ScopeFlag::Kubepods => Self::Kubepods,
            ScopeFlag::All => Self::All,
        }
    }
}

impl From<NodeMemoryFlag> for NodeMemory {
    fn from(flag: NodeMemoryFlag) -> Self {
        match flag {
            NodeMemoryFlag::Cgroup => Self::CgroupStat,
            NodeMemoryFlag::Meminfo => Self::MemInfo,
        }
    }
}

/// Flags of `sample`.
#[derive(Debug, Args)]
pub struct SampleFlags {
    /// Where the kernel's files are.
    #[command(flatten)]
    pub kernel: KernelFlags,
    /// How to print: table for people, json for programs [default: table]
    #[arg(long, default_value = "table", hide_default_value = true)]
    pub format: SampleFormat,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SampleFormat {
    /// Aligned columns.
    Table,
    /// One object.
    Json,
}

/// Flags of `run`, as typed.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Name of this node in Kubernetes, from the downward API (spec.nodeName); required
    #[arg(
        long,
        env = "KUBEVITALS_NODE_NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub node_name: String,
    /// An aggregator as https://HOST:PORT; may be given more than once or as a list with commas. A name that
    /// resolves to several addresses (a headless Service) stands for all of them, and each gets every sample.
    /// At least one is required
    #[arg(long, env = "KUBEVITALS_AGGREGATOR", value_delimiter = ',')]
    pub aggregator: Vec<String>,
    /// PEM file with the authority that signed the aggregators' certificates; read again for each connection
    #[arg(long, env = "KUBEVITALS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Name the aggregators' certificates must carry [default: the host of --aggregator]
    #[arg(long, env = "KUBEVITALS_SERVER_NAME")]
    pub server_name: Option<String>,
    /// File with the bearer token that proves who we are; read again for each connection
    #[arg(long, env = "KUBEVITALS_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Where the kernel's files are.
    #[command(flatten)]
    pub kernel: KernelFlags,
    /// How often every counter is read, 200ms to 60s. One second makes a number half a second old on average
    /// for about 2 milli-cores per 100 containers [default: 1s]
    #[arg(
        long,
        env = "KUBEVITALS_INTERVAL",
        default_value = "1s",
        hide_default_value = true
    )]
    pub interval: String,
    /// How often values that change seldom (swap, throttling, pressure, peaks, OOM kills) are read, at least
    /// --interval; each costs a file more [default: 10s]
    #[arg(
        long,
        env = "KUBEVITALS_DETAIL_INTERVAL",
        default_value = "10s",
        hide_default_value = true
    )]
    pub detail_interval: String,
    /// How much is kept for an aggregator that starts or comes back, 1s to 10m; about 7 bytes per container
    /// and interval [default: 60s]
    #[arg(
        long,
        env = "KUBEVITALS_HISTORY",
        default_value = "60s",
        hide_default_value = true
    )]
    pub history: String,
    /// Most cgroups sampled, 1 to 65536; what is over it is counted and left out [default: 65536]
    #[arg(
        long,
        env = "KUBEVITALS_MAX_CGROUPS",
        default_value = "65536",
        hide_default_value = true
    )]
    pub max_cgroups: String,
    /// Address for /livez, /readyz and /metrics, HOST:PORT; port 0 picks a free one; loopback by default
    /// because they are not protected [default: 127.0.0.1:9465]
    #[arg(
        long,
        env = "KUBEVITALS_LISTEN",
        default_value = "127.0.0.1:9465",
        hide_default_value = true
    )]
    pub listen: String,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Name of this node.
    pub node_name: String,
    /// The aggregators.
    pub targets: Targets,
    /// Where the cgroup file systems are mounted.
    pub cgroup_root: PathBuf,
    /// The proc file system.
    pub proc_root: PathBuf,
    /// Which cgroups.
    pub scope: Scope,
    /// How the node's memory is computed.
    pub node_memory: NodeMemory,
    /// The tick.
    pub interval: Duration,
    /// How often details are read.
    pub detail_interval: Duration,
    /// How much is kept for replay.
    pub history: Duration,
    /// Most cgroups sampled.
    pub max_cgroups: usize,
    /// Address of the admin server; `None` for no server.
    pub listen: Option<SocketAddr>,
}

/// Collects faults, so that all are reported at once.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn take<T>(&mut self, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault)).ok()
    }
}

impl Flags {
    /// Checks everything; the error has a line per fault.
    pub fn resolve(&self) -> Result<Config, Vec<String>> {
        let mut faults = Faults::default();
        let node_name = faults.take(node_name(&self.node_name));
        let targets = faults.take(self.targets());
        let milliseconds =
            Duration::from_millis(*INTERVAL_MS.start())..=Duration::from_millis(*INTERVAL_MS.end());
        let interval = faults.take(duration("--interval", &self.interval, milliseconds));
        let least = interval.unwrap_or(Duration::ZERO);
        let detail = least..=Duration::from_secs(3600);
        let detail_interval = faults.take(duration("--detail-interval", &self.detail_interval, detail));
        let kept = Duration::from_secs(1)..=Duration::from_secs(600);
        let history = faults.take(duration("--history", &self.history, kept));
        let max_cgroups = faults.take(count("--max-cgroups", &self.max_cgroups, 1..=MAX_SERIES));
        let listen = faults.take(self.listen.parse().map_err(|_| {
            format!(
                "--listen: {:?} is no address and port, such as 127.0.0.1:9465",
                self.listen
            )
        }));
        let config = (|| {
            Some(Config {
                node_name: node_name?,
                targets: targets?,
                cgroup_root: self.kernel.cgroup_root.clone(),
                proc_root: self.kernel.proc_root.clone(),
                scope: self.kernel.scope.into(),
                node_memory: self.kernel.node_memory.into(),
                interval: interval?,
                detail_interval: detail_interval?,
                history: history?,
                max_cgroups: max_cgroups?,
                listen: Some(listen?),
            })
        })();
        config.ok_or(faults.0)
    }

    fn targets(&self) -> Result<Targets, String> {
        if self.aggregator.is_empty() {
            return Err("--aggregator: at least one https://HOST:PORT is required".to_owned());
        }
        let hosts = self
            .aggregator
            .iter()
            .map(|url| host_port(url))
            .collect::<Result<_, _>>()?;
        let trust = Trust {
            ca_file: self.ca_file.clone(),
            server_name: self.server_name.clone(),
            token_file: self.token_file.clone(),
        };
        Ok(Targets::Hosts { hosts, trust })
    }
}

fn node_name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("--node-name: required; set it from spec.nodeName".to_owned()),
        1..=MAX_NODE_NAME => Ok(text.to_owned()),
        length => Err(format!(
            "--node-name: {length} bytes, at most {MAX_NODE_NAME} are allowed"
        )),
    }
}

fn host_port(url: &str) -> Result<HostPort, String> {
    let fault = |why: &str| format!("--aggregator: {url:?} {why}; expected https://HOST:PORT");
    let uri: http::Uri = url.trim().parse().map_err(|_| fault("is no URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(fault("has no https scheme"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(fault("has a path or query"));
    }
    let host = uri.host().ok_or_else(|| fault("has no host"))?;
    let port = uri.port_u16().ok_or_else(|| fault("has no port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(HostPort { host, port })
}

/// Parses a duration such as `1s` or `500ms` and checks its bounds.
fn duration(flag: &str, text: &str, bounds: std::ops::RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .map_err(|error| format!("{flag}: {text:?} is no duration such as 1s or 500ms: {error}"))?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    let (least, most) = bounds.into_inner();
    let (least, most) = (
        humantime::format_duration(least),
        humantime::format_duration(most),
    );
    Err(format!("{flag}: {text} is not within {least} to {most}"))
}

fn count(flag: &str, text: &str, bounds: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if bounds.contains(&value) => Ok(value),
        _ => Err(format!(
            "{flag}: {text:?} is no number within {} to {}",
            bounds.start(),
            bounds.end()
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn resolve(arguments: &[&str]) -> Result<Config, Vec<String>> {
        let cli = Cli::try_parse_from(["kubevitals-agent", "run"].iter().chain(arguments)).unwrap();
        let Command::Run(flags) = cli.command else {
            panic!("not run")
        };
        flags.resolve()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_valid_with_a_node_and_an_aggregator() {
        let config = resolve(&["--node-name=n1", "--aggregator=https://a:8443,https://[::1]:9"]).unwrap();
        assert_eq!(config.interval, Duration::from_secs(1));
        let Targets::Hosts { hosts, .. } = config.targets else {
            panic!("no hosts")
        };
        let expected = [
            HostPort {
                host: "a".to_owned(),
                port: 8443,
            },
            HostPort {
                host: "::1".to_owned(),
                port: 9,
            },
        ];
        assert_eq!(hosts, expected);
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let faults = resolve(&[
            "--aggregator=http://a:1",
            "--interval=100ms",
            "--detail-interval=soon",
            "--history=1h",
            "--max-cgroups=0",
            "--listen=here",
        ])
        .unwrap_err();
        let flags: Vec<&str> = faults
            .iter()
            .filter_map(|fault| fault.split(':').next())
            .collect();
        let expected = [
            "--node-name",
            "--aggregator",
            "--interval",
            "--detail-interval",
            "--history",
            "--max-cgroups",
            "--listen",
        ];
        assert_eq!(flags, expected);
        assert_eq!(faults[2], "--interval: 100ms is not within 200ms to 1m");
    }

    #[test]
    fn details_cannot_be_read_more_often_than_counters() {
        let faults = resolve(&["--node-name=n", "--aggregator=https://a:1", "--interval=30s"]).unwrap_err();
        assert_eq!(faults, ["--detail-interval: 10s is not within 30s to 1h"]);
    }

    #[test]
    fn every_flag_has_an_environment_name() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for argument in run.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(argument.get_env().is_some(), "{}", argument.get_id());
        }
    }
}
