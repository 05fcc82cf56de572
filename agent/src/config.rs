//! Every flag, and what the flags mean together.
//!
//! [`Flags`] is what was typed; [`Flags::resolve`] checks all of it and names every fault at once.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

pub mod exporter;
mod resolve;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kubevitals::sample::WallTime;

use self::exporter::ExporterFlags;
use crate::{
    cgroup::Scope,
    exporter::{Naming, settings::Settings},
    node::NodeMemory,
    stream::targets::Targets,
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
    #[arg(long, env = "KUBEVITALS_LOG_FORMAT", default_value = "text", hide_default_value = true)]
    pub log_format: LogFormat,
    /// Which log lines: error, warn, info, debug or trace, or a list such as info,kubevitals_agent=debug
    /// [default: info]
    #[arg(long, env = "KUBEVITALS_LOG_LEVEL", default_value = "info", hide_default_value = true)]
    pub log_level: String,
}

/// Where the kernel's files are.
#[derive(Debug, Clone, Args)]
pub struct KernelFlags {
    /// Directory under which the cgroup file systems are mounted; a hostPath mount in a container
    /// [default: /sys/fs/cgroup]
    #[arg(long, env = "KUBEVITALS_CGROUP_ROOT", default_value = "/sys/fs/cgroup", hide_default_value = true)]
    pub cgroup_root: PathBuf,
    /// The proc file system; mount points, memory totals and CPUs are read there [default: /proc]
    #[arg(long, env = "KUBEVITALS_PROC_ROOT", default_value = "/proc", hide_default_value = true)]
    pub proc_root: PathBuf,
    /// Which cgroups: kubepods for pods and containers, all for every cgroup with processes, as on a machine
    /// without Kubernetes [default: kubepods]
    #[arg(long, env = "KUBEVITALS_SCOPE", default_value = "kubepods", hide_default_value = true)]
    pub scope: ScopeFlag,
    /// How the node's memory is computed on cgroup v2: cgroup (anon + file - inactive_file, as kubelets since
    /// 1.29) or meminfo (MemTotal - MemFree - inactive_file, as older ones) [default: cgroup]
    #[arg(long, env = "KUBEVITALS_NODE_MEMORY", default_value = "cgroup", hide_default_value = true)]
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
    #[arg(long, env = "KUBEVITALS_NODE_NAME", default_value = "", hide_default_value = true)]
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
    /// How often every counter is read, 200ms to 60s. One second makes a number half a second old on average; half
    /// the interval doubles the agent's CPU [default: 1s]
    #[arg(long, env = "KUBEVITALS_INTERVAL", default_value = "1s", hide_default_value = true)]
    pub interval: String,
    /// How often values that change seldom (swap, throttling, pressure, peaks, OOM kills) are read, at least
    /// --interval; each costs a file more [default: 20s]
    #[arg(long, env = "KUBEVITALS_DETAIL_INTERVAL", default_value = "20s", hide_default_value = true)]
    pub detail_interval: String,
    /// How much an aggregator that starts is sent, 1s to 10m. Up to twice as much is kept for those that come
    /// back, at 5 to 8 bytes per container and interval [default: 60s]
    #[arg(long, env = "KUBEVITALS_HISTORY", default_value = "60s", hide_default_value = true)]
    pub history: String,
    /// Most cgroups sampled, 1 to 65536; what is over it is counted and left out [default: 65536]
    #[arg(long, env = "KUBEVITALS_MAX_CGROUPS", default_value = "65536", hide_default_value = true)]
    pub max_cgroups: String,
    /// Address for /livez, /readyz and /metrics, HOST:PORT; port 0 picks a free one; loopback by default
    /// because they are not protected [default: 127.0.0.1:9465]
    #[arg(long, env = "KUBEVITALS_LISTEN", default_value = "127.0.0.1:9465", hide_default_value = true)]
    pub listen: String,
    /// The listener for scrapers.
    #[command(flatten)]
    pub exporter: ExporterFlags,
    /// Under which names /metrics/resource and /metrics/vitals show pods and containers: aggregator (namespace, pod
    /// and container as an aggregator tells them; what has no name is left out) or uid (pod UID and container ID,
    /// sandboxes included, as the path of the cgroup has them; needs no aggregator to know names)
    /// [default: aggregator]
    #[arg(long, env = "KUBEVITALS_NAMES", default_value = "aggregator", hide_default_value = true)]
    pub names: NamesFlag,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// `--names`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NamesFlag {
    /// As an aggregator tells them.
    Aggregator,
    /// As the path has them.
    Uid,
}

impl From<NamesFlag> for Naming {
    fn from(flag: NamesFlag) -> Self {
        match flag {
            NamesFlag::Aggregator => Self::Aggregator,
            NamesFlag::Uid => Self::Uid,
        }
    }
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
    /// How much is replayed; up to twice as much is kept.
    pub history: Duration,
    /// Most cgroups sampled.
    pub max_cgroups: usize,
    /// Address of the admin server; `None` for no server.
    pub listen: Option<SocketAddr>,
    /// The listener for scrapers; `None` for none.
    pub exporter: Option<Settings>,
    /// Names on the pages for scrapers.
    pub names: Naming,
    /// The system's wall clock; tests set another.
    pub wall_clock: fn() -> WallTime,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use kubevitals::transport::HostPort;

    fn resolve(arguments: &[&str]) -> Result<Config, Vec<String>> {
        let cli = Cli::try_parse_from(["kubevitals-agent", "run"].iter().chain(arguments)).unwrap();
        let Command::Run(flags) = cli.command else { panic!("not run") };
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
        let Targets::Hosts { hosts, .. } = config.targets else { panic!("no hosts") };
        let expected =
            [HostPort { host: "a".to_owned(), port: 8443 }, HostPort { host: "::1".to_owned(), port: 9 }];
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
            "--exporter-listen=0.0.0.0:1",
        ])
        .unwrap_err();
        let flags: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        let expected = [
            "--node-name",
            "--aggregator",
            "--interval",
            "--detail-interval",
            "--history",
            "--max-cgroups",
            "--listen",
            "--exporter-listen",
        ];
        assert_eq!(flags, expected);
        assert_eq!(faults[2], "--interval: 100ms is not within 200ms to 1m");
    }

    #[test]
    fn details_cannot_be_read_more_often_than_counters() {
        let faults = resolve(&["--node-name=n", "--aggregator=https://a:1", "--interval=30s"]).unwrap_err();
        assert_eq!(faults, ["--detail-interval: 20s is not within 30s to 1h"]);
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
