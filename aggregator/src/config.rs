//! Every flag, and what the flags mean together.
//!
//! The flag structs are what was typed; `resolve` checks all of it and names every fault at once.

#![allow(clippy::doc_markdown, reason = "the doc comments of flags are their help texts")]

pub mod auth;
pub mod check;
pub mod kubelet;
mod resolve;
pub mod trust;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::{
    auth::{AgentAuth, ApiAuth, AuthFlags},
    check::CheckFlags,
    kubelet::{KubeletConfig, KubeletFlags},
    trust::{Publish, SecretAuthority, TrustFlags},
};
use crate::{picture::Rules, shutdown::Shutdown, store::Limits};

/// Exit code for a bad configuration (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Gathers the counters that Kubevitals agents stream, and serves metrics.k8s.io from them: kubectl top and the
/// autoscalers read it.
#[derive(Debug, Parser)]
#[command(name = "kubevitals-aggregator", version = kubevitals::VERSION, arg_required_else_help = true)]
// Some flags are so long that beside them there is room for one word a line.
#[command(next_line_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve agents and the API until told to stop: what the Deployment runs.
    Serve(Box<ServeFlags>),
    /// Run agent and aggregator in one process over this machine's own cgroups, without Kubernetes, and write a
    /// kubeconfig with which kubectl top works.
    Standalone(Box<StandaloneFlags>),
    /// Walk the chain from kube-apiserver to the kernel, and say where it breaks and what to do: of a pod, of a node,
    /// or of the cluster as a whole.
    Check(Box<CheckFlags>),
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

/// Where names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NamesFlag {
    /// From the pods and nodes of a Kubernetes cluster.
    Cluster,
    /// From cgroup paths, without Kubernetes.
    Paths,
}

/// What is served and how much is kept.
#[derive(Debug, Clone, Args)]
pub struct StoreFlags {
    /// Span over which CPU is averaged, 2s to 5m: long enough to be calm, short enough to react; the HPA reads
    /// every 15s [default: 15s]
    #[arg(long, env = "KUBEVITALS_WINDOW", default_value = "15s", hide_default_value = true)]
    pub window: String,
    /// Once so much time has passed since a pod became ready its window begins there, so that its start-up is
    /// not taken for load, 1s to 5m [default: 5s]
    #[arg(long, env = "KUBEVITALS_MIN_WINDOW", default_value = "5s", hide_default_value = true)]
    pub min_window: String,
    /// How long the last whole picture of a pod stands in while one of its containers is not measured yet, up to
    /// 30s [default: 15s]
    #[arg(long, env = "KUBEVITALS_HOLD", default_value = "15s", hide_default_value = true)]
    pub hold: String,
    /// Numbers older than this are not served, 3s to 10m [default: 30s]
    #[arg(long, env = "KUBEVITALS_STALE_AFTER", default_value = "30s", hide_default_value = true)]
    pub stale_after: String,
    /// How much is kept of each container, at least --window and at most 10m; 3 bytes or so per container and
    /// agent interval [default: 60s]
    #[arg(long, env = "KUBEVITALS_KEEP", default_value = "60s", hide_default_value = true)]
    pub keep: String,
    /// Most containers kept, over all nodes; each takes 3 bytes or so for each sample of --keep and some 350 more.
    /// Each pod's sandbox counts too until it is known as such. What is over it is refused and counted
    /// [default: 600000]
    #[arg(long, env = "KUBEVITALS_MAX_CONTAINERS", default_value = "600000", hide_default_value = true)]
    pub max_containers: String,
    /// Most nodes; agents of others are turned away [default: 20000]
    #[arg(long, env = "KUBEVITALS_MAX_NODES", default_value = "20000", hide_default_value = true)]
    pub max_nodes: String,
}

/// Logging of `serve`.
#[derive(Debug, Clone, Args)]
pub struct LogFlags {
    /// How log lines look: text for people, json for collectors [default: text]
    #[arg(long, env = "KUBEVITALS_LOG_FORMAT", default_value = "text", hide_default_value = true)]
    pub log_format: LogFormat,
    /// Which log lines: error, warn, info, debug or trace, or a list such as info,kubevitals_aggregator=debug
    /// [default: info; standalone: warn]
    #[arg(long, env = "KUBEVITALS_LOG_LEVEL")]
    pub log_level: Option<String>,
}

/// Flags of `serve`, as typed.
#[derive(Debug, Clone, Args)]
pub struct ServeFlags {
    /// Address of the HTTPS API, HOST:PORT; 0.0.0.0 is every address, of IPv6 too; port 0 picks a free one
    /// [default: 0.0.0.0:10250]
    #[arg(long, env = "KUBEVITALS_LISTEN", default_value = "0.0.0.0:10250", hide_default_value = true)]
    pub listen: String,
    /// Address of the gRPC service for agents, TLS [default: 0.0.0.0:10251]
    #[arg(
        long,
        env = "KUBEVITALS_INGEST_LISTEN",
        default_value = "0.0.0.0:10251",
        hide_default_value = true
    )]
    pub ingest_listen: String,
    /// Address of the gRPC query service for direct consumers, TLS; off for none [default: 0.0.0.0:10252]
    #[arg(long, env = "KUBEVITALS_QUERY_LISTEN", default_value = "0.0.0.0:10252", hide_default_value = true)]
    pub query_listen: String,
    /// Address for /metrics, /livez, /readyz and /healthz without TLS, and for /explain, which answers callers on
    /// loopback alone; loopback by default because it is not protected [default: 127.0.0.1:9466]
    #[arg(
        long,
        env = "KUBEVITALS_ADMIN_LISTEN",
        default_value = "127.0.0.1:9466",
        hide_default_value = true
    )]
    pub admin_listen: String,
    /// Where names of pods come from: cluster watches pods and nodes of Kubernetes, paths makes names of cgroup
    /// paths; required, because a wrong guess would serve no pod
    #[arg(long, env = "KUBEVITALS_NAMES")]
    pub names: Option<NamesFlag>,
    /// kubeconfig file that says which cluster to watch and to ask, and as whom, for --names=cluster and
    /// --auth=delegated outside of that cluster [default: the cluster this runs in, as the pod's service account]
    #[arg(long, env = "KUBEVITALS_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Who may call.
    #[command(flatten)]
    pub auth: AuthFlags,
    /// PEM file with the serving certificate and its chain; goes with --tls-key-file
    /// [default: an own authority and certificate, made at start]
    #[arg(long, env = "KUBEVITALS_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file with the serving certificate's key; goes with --tls-cert-file
    #[arg(long, env = "KUBEVITALS_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// A name or IP address that the own certificate is made out to, beside localhost; may be given more than
    /// once or as a list with commas
    #[arg(long, env = "KUBEVITALS_SERVER_NAME", value_delimiter = ',')]
    pub server_name: Vec<String>,
    /// Where to write the own authority's certificate, for agents and clients to trust; with --ca-secret the bundle,
    /// whenever it changes
    #[arg(long, env = "KUBEVITALS_CA_OUT")]
    pub ca_out: Option<PathBuf>,
    /// Whom clients are told to trust.
    #[command(flatten)]
    pub trust: TrustFlags,
    /// Nodes without an agent.
    #[command(flatten)]
    pub kubelet: KubeletFlags,
    /// What is served and how much is kept.
    #[command(flatten)]
    pub store: StoreFlags,
    /// How long requests are still served after a signal, while readiness already fails and clients move away,
    /// up to 60s [default: 5s]
    #[arg(long, env = "KUBEVITALS_SHUTDOWN_DELAY", default_value = "5s", hide_default_value = true)]
    pub shutdown_delay: String,
    /// After the delay, keep the listener open until what is in flight has ended, and tell new requests to come back
    /// later (429), instead of closing it at once
    #[arg(long, env = "KUBEVITALS_SHUTDOWN_SEND_RETRY_AFTER")]
    pub shutdown_send_retry_after: bool,
    /// Most requests answered at one time; more are told to come back later (429), except probes and members of
    /// system:masters. At most three quarters are long lists of pods, whoever asks [default: 400]
    #[arg(long, env = "KUBEVITALS_MAX_REQUESTS_INFLIGHT", default_value = "400", hide_default_value = true)]
    pub max_requests_inflight: String,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// Flags of `standalone`, as typed.
#[derive(Debug, Clone, Args)]
pub struct StandaloneFlags {
    /// Loopback address of the HTTPS API; port 0 picks a free one [default: 127.0.0.1:0]
    #[arg(long, env = "KUBEVITALS_LISTEN", default_value = "127.0.0.1:0", hide_default_value = true)]
    pub listen: String,
    /// Loopback address of the gRPC query service; port 0 picks a free one, off for none [default: 127.0.0.1:0]
    #[arg(long, env = "KUBEVITALS_QUERY_LISTEN", default_value = "127.0.0.1:0", hide_default_value = true)]
    pub query_listen: String,
    /// Where to write the kubeconfig; never over a file that is not ours
    /// [default: kubevitals/kubeconfig below XDG_RUNTIME_DIR, else ~/.kubevitals/kubeconfig]
    #[arg(long, env = "KUBEVITALS_KUBECONFIG_OUT")]
    pub kubeconfig_out: Option<PathBuf>,
    /// Name under which this machine is served [default: its host name]
    #[arg(long, env = "KUBEVITALS_NODE_NAME")]
    pub node_name: Option<String>,
    /// How often every counter is read, 200ms to 60s [default: 1s]
    #[arg(long, env = "KUBEVITALS_INTERVAL", default_value = "1s", hide_default_value = true)]
    pub interval: String,
    /// Directory under which the cgroup file systems are mounted [default: /sys/fs/cgroup]
    #[arg(long, env = "KUBEVITALS_CGROUP_ROOT", default_value = "/sys/fs/cgroup", hide_default_value = true)]
    pub cgroup_root: PathBuf,
    /// The proc file system [default: /proc]
    #[arg(long, env = "KUBEVITALS_PROC_ROOT", default_value = "/proc", hide_default_value = true)]
    pub proc_root: PathBuf,
    /// What is served and how much is kept.
    #[command(flatten)]
    pub store: StoreFlags,
    /// Logging.
    #[command(flatten)]
    pub log: LogFlags,
}

/// What is served and how much is kept, checked.
#[derive(Debug, Clone, Copy)]
pub struct Serving {
    /// The rules of answers.
    pub rules: Rules,
    /// The limits of the store.
    pub limits: Limits,
}

/// Where the serving certificate comes from.
#[derive(Debug, Clone)]
pub enum Certificate {
    /// Made at start.
    Own {
        /// Whom it is made out to, beside localhost.
        names: Vec<String>,
        /// Where to write the authority.
        ca_out: Option<PathBuf>,
    },
    /// Signed by an authority that replicas share.
    Shared(SecretAuthority),
    /// Given.
    Files {
        /// Certificate and chain.
        cert: PathBuf,
        /// Key.
        key: PathBuf,
        /// Its authorities.
        ca: Option<PathBuf>,
    },
}

/// Where names come from, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamesSource {
    /// Pods and nodes of a cluster.
    Cluster,
    /// Cgroup paths.
    Paths,
}

/// `serve`, checked.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The API.
    pub listen: SocketAddr,
    /// The agents.
    pub ingest_listen: SocketAddr,
    /// Direct consumers; `None` for none.
    pub query_listen: Option<SocketAddr>,
    /// Probes and metrics.
    pub admin_listen: SocketAddr,
    /// Where names come from.
    pub names: NamesSource,
    /// How callers of the API are recognised.
    pub auth: ApiAuth,
    /// How agents are recognised.
    pub agents: AgentAuth,
    /// How to reach the cluster, for names and for questions about callers; `None` inside of it.
    pub kubeconfig: Option<PathBuf>,
    /// The certificate.
    pub certificate: Certificate,
    /// Where its authorities are published.
    pub publish: Publish,
    /// Whether and how kubelets are polled.
    pub kubelets: Option<KubeletConfig>,
    /// What is served.
    pub serving: Serving,
    /// How it ends.
    pub shutdown: Shutdown,
    /// Requests to the API at one time.
    pub max_requests_inflight: usize,
}

/// `standalone`, checked.
#[derive(Debug, Clone)]
pub struct StandaloneConfig {
    /// The API.
    pub listen: SocketAddr,
    /// The query service; none for none.
    pub query_listen: Option<SocketAddr>,
    /// Where to write the kubeconfig.
    pub kubeconfig_out: PathBuf,
    /// The machine's name.
    pub node_name: String,
    /// The tick.
    pub interval: Duration,
    /// Where the cgroup file systems are mounted.
    pub cgroup_root: PathBuf,
    /// The proc file system.
    pub proc_root: PathBuf,
    /// What is served.
    pub serving: Serving,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Command {
        Cli::try_parse_from(["kubevitals-aggregator"].iter().chain(arguments)).unwrap().command
    }

    fn serve(arguments: &[&str]) -> Result<ServeConfig, Vec<String>> {
        let arguments: Vec<&str> = ["serve"].iter().chain(arguments).copied().collect();
        let Command::Serve(flags) = parse(&arguments) else { panic!("not serve") };
        flags.resolve()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_short_help_has_room_for_its_words() {
        let mut command = Cli::command();
        command.build();
        let help = command.find_subcommand_mut("serve").unwrap().render_help().to_string();
        let indented = help.lines().find(|line| line.starts_with(&" ".repeat(50)));
        assert_eq!(indented, None);
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let faults = serve(&[
            "--listen=x",
            "--window=1s",
            "--keep=1h",
            "--max-nodes=-1",
            "--tls-key-file=k",
            "--ca-life=1s",
            "--api-service=x",
        ]);
        let faults = faults.unwrap_err();
        let flags: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        let expected = [
            "--listen",
            "--names",
            "--api-token-file",
            "--agent-token-file",
            "--tls-cert-file",
            "--ca-life",
            "--api-service",
            "--window",
            "--keep",
            "--max-nodes",
        ];
        assert_eq!(flags, expected);
    }

    #[test]
    fn a_window_longer_than_what_is_kept_is_refused() {
        let faults = serve(&["--names=paths", "--api-token-file=a", "--agent-token-file=b", "--window=2m"])
            .unwrap_err();
        assert_eq!(faults, ["--keep: 60s is not within 2m to 10m"]);
    }

    #[test]
    fn a_kubeconfig_goes_with_whatever_asks_a_cluster() {
        let kubeconfig =
            |flags: &[&str]| serve(&[flags, &["--kubeconfig=k"]].concat()).map(|it| it.kubeconfig);
        let tokens = ["--api-token-file=a", "--agent-token-file=b"];
        let account = "--agent-service-account=system:serviceaccount:ns:agent";
        for flags in [
            &["--names=cluster", account][..],
            &["--names=paths", "--auth=delegated", account],
            &["--names=cluster", "--auth=token", tokens[0], tokens[1]],
        ] {
            assert_eq!(kubeconfig(flags), Ok(Some(PathBuf::from("k"))), "{flags:?}");
        }
        assert_eq!(
            kubeconfig(&["--names=paths", tokens[0], tokens[1]]),
            Err(vec!["--kubeconfig: goes with --names=cluster or --auth=delegated only".to_owned()])
        );
    }

    #[test]
    fn a_shared_authority_has_a_namespace_and_excludes_given_files() {
        let tokens = ["--names=paths", "--api-token-file=a", "--agent-token-file=b", "--ca-secret=ca"];
        let with = |flags: &[&str]| serve(&[&tokens, flags].concat());
        let config = with(&["--namespace=ns", "--server-name=more.ns.svc"]).unwrap();
        let Certificate::Shared(shared) = config.certificate else { panic!("{:?}", config.certificate) };
        assert!(shared.names.contains(&"kubevitals-ingest.ns.svc".to_owned()));
        assert!(shared.names.contains(&"more.ns.svc".to_owned()));
        assert_eq!(with(&[]).unwrap_err(), ["--namespace: required with --ca-secret outside of a cluster"]);
        let faults = with(&["--namespace=ns", "--tls-cert-file=c", "--tls-key-file=k"]).unwrap_err();
        assert_eq!(faults, ["--ca-secret: does not go with --tls-cert-file"]);
        let faults = with(&["--namespace=ns", "--tls-ca-file=c"]).unwrap_err();
        assert_eq!(faults, ["--tls-ca-file: goes with --tls-cert-file only"]);
        let faults = with(&["--namespace=ns", "--ca-overlap=1h", "--ca-life=11h"]).unwrap_err();
        assert_eq!(faults, ["--ca-life: 11h is not within 12h to 10years"]);
    }

    #[test]
    fn with_names_of_a_cluster_that_cluster_says_who_may_call() {
        let account = "system:serviceaccount:ns:agent";
        let flag = format!("--agent-service-account={account}");
        let config =
            serve(&["--names=cluster", &flag, "--authentication-token-webhook-cache-ttl=0s"]).unwrap();
        let ApiAuth::Delegated(delegated) = config.auth else { panic!("{:?}", config.auth) };
        assert_eq!((delegated.token_ttl, delegated.denied_ttl), (Duration::ZERO, Duration::from_secs(10)));
        let expected = auth::AgentAccount { username: account.to_owned(), audience: "kubevitals".to_owned() };
        assert_eq!(config.agents, AgentAuth::Account(expected));
    }

    #[test]
    fn flags_of_the_other_way_to_recognise_callers_are_refused() {
        let faults = |flags: &[&str]| serve(flags).unwrap_err();
        let named = |flags: &[&str]| -> Vec<String> {
            faults(flags).iter().map(|fault| fault.split(':').next().unwrap().to_owned()).collect()
        };
        assert_eq!(
            named(&["--names=cluster", "--api-token-file=a"]),
            ["--api-token-file", "--agent-service-account"]
        );
        assert_eq!(
            named(&["--names=cluster", "--agent-token-file=a", "--agent-service-account=agent"]),
            ["--agent-token-file"]
        );
        assert_eq!(named(&["--names=cluster", "--agent-service-account=agent"]), ["--agent-service-account"]);
        let tokens = ["--names=paths", "--api-token-file=a", "--agent-token-file=b", "--api-audiences=x"];
        assert_eq!(named(&tokens), ["--api-audiences"]);
    }

    #[test]
    fn standalone_listens_on_loopback_only() {
        let everywhere = ["standalone", "--listen=0.0.0.0:1", "--query-listen=0.0.0.0:1", "--node-name=n"];
        let Command::Standalone(flags) = parse(&everywhere) else { panic!("not standalone") };
        let faults = flags.resolve().unwrap_err();
        assert_eq!(
            faults,
            ["--listen", "--query-listen"].map(|flag| format!(
                "{flag}: 0.0.0.0 is no loopback address; standalone serves this machine alone"
            ))
        );
    }

    #[test]
    fn host_names_become_node_names() {
        assert_eq!(resolve::node_name_of("Build_Box-7.Example.org"), "build-box-7.example.org");
        assert_eq!(resolve::node_name_of("_"), "localhost");
    }

    #[test]
    fn every_flag_has_an_environment_name() {
        let command = Cli::command();
        for name in ["serve", "standalone", "check"] {
            let command = command.find_subcommand(name).unwrap();
            for argument in command
                .get_arguments()
                .filter(|argument| argument.get_long().is_some_and(|flag| flag != "help"))
            {
                assert!(argument.get_env().is_some(), "{name} {}", argument.get_id());
            }
        }
    }
}
