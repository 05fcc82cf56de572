//! Flags of `check`.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::resolve::{Faults, duration};
use crate::check::Target;

/// Where the service account's namespace stands in a pod.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Where the manifests install.
const NAMESPACE: &str = "kubevitals";

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One pod, NAMESPACE/NAME
    Pod,
    /// One node
    Node,
}

/// How the report is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Flags of `check`, as typed.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 all well, 1 something is broken, 2 something could not be told, 64 bad flags."
)]
pub struct CheckFlags {
    /// What to look at; the cluster as a whole without it
    #[arg(requires = "name")]
    pub kind: Option<Kind>,
    /// NAMESPACE/NAME of a pod, or NAME of a node
    pub name: Option<String>,
    /// kubeconfig file of the cluster [default: the pod's service account inside a cluster, elsewhere KUBECONFIG or
    /// ~/.kube/config]
    #[arg(long, env = "KUBEVITALS_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace that Kubevitals is installed in [default: that of the pod's service account, elsewhere kubevitals]
    #[arg(long, env = "KUBEVITALS_NAMESPACE")]
    pub namespace: Option<String>,
    /// The aggregator's Service [default: kubevitals-aggregator]
    #[arg(
        long,
        env = "KUBEVITALS_SERVICE",
        default_value = "kubevitals-aggregator",
        hide_default_value = true
    )]
    pub service: String,
    /// The agents' DaemonSet [default: kubevitals-agent]
    #[arg(
        long,
        env = "KUBEVITALS_DAEMON_SET",
        default_value = "kubevitals-agent",
        hide_default_value = true
    )]
    pub daemon_set: String,
    /// HOST:PORT of an aggregator's admin listener [default: 127.0.0.1:9466 in a pod; elsewhere that of each
    /// aggregator, by port forwarding]
    #[arg(long, env = "KUBEVITALS_ADMIN_ADDRESS")]
    pub admin_address: Option<String>,
    /// How long each question may take, 100ms to 60s [default: 5s]
    #[arg(long, env = "KUBEVITALS_TIMEOUT", default_value = "5s", hide_default_value = true)]
    pub timeout: String,
    /// How the report is printed: text for people, json for programs [default: text]
    #[arg(long, env = "KUBEVITALS_OUTPUT", default_value = "text", hide_default_value = true)]
    pub output: Output,
}

/// `check`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// What to look at.
    pub target: Target,
    /// The cluster; the usual places when `None`.
    pub kubeconfig: Option<PathBuf>,
    /// Of the installation.
    pub namespace: String,
    /// The aggregator's Service.
    pub service: String,
    /// The agents' DaemonSet.
    pub daemon_set: String,
    /// Where the aggregator tells what it knows.
    pub admin_address: Option<String>,
    /// For each question.
    pub patience: Duration,
    /// How the report is printed.
    pub output: Output,
}

impl CheckFlags {
    /// Checks everything; the error has a line per fault.
    pub fn resolve(&self) -> Result<CheckConfig, Vec<String>> {
        let mut faults = Faults::default();
        let target = faults.take(self.target());
        let bounds = (Duration::from_millis(100), Duration::from_secs(60));
        let patience = faults.take(duration("--timeout", &self.timeout, bounds.0, bounds.1));
        let config = (|| {
            Some(CheckConfig {
                target: target?,
                kubeconfig: self.kubeconfig.clone(),
                namespace: self.namespace.clone().unwrap_or_else(own_namespace),
                service: self.service.clone(),
                daemon_set: self.daemon_set.clone(),
                admin_address: self.admin_address.clone(),
                patience: patience?,
                output: self.output,
            })
        })();
        config.filter(|_| faults.is_empty()).ok_or_else(|| faults.into_lines())
    }

    fn target(&self) -> Result<Target, String> {
        match (self.kind, self.name.as_deref()) {
            (Some(Kind::Pod), Some(name)) => match name.split_once('/') {
                Some((namespace, name))
                    if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
                {
                    Ok(Target::Pod { namespace: namespace.to_owned(), name: name.to_owned() })
                }
                _ => Err(format!("pod: {name:?} is not NAMESPACE/NAME")),
            },
            (Some(Kind::Node), Some(name)) if !name.is_empty() && !name.contains('/') => {
                Ok(Target::Node(name.to_owned()))
            }
            (Some(Kind::Node), Some(name)) => Err(format!("node: {name:?} is not the name of a node")),
            _ => Ok(Target::Cluster),
        }
    }
}

fn own_namespace() -> String {
    let own = fs::read_to_string(NAMESPACE_FILE).unwrap_or_default();
    let own = own.trim();
    if own.is_empty() { NAMESPACE.to_owned() } else { own.to_owned() }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::{Cli, Command};

    fn check(arguments: &[&str]) -> Result<CheckConfig, Vec<String>> {
        let arguments = ["kubevitals-aggregator", "check"].iter().chain(arguments);
        let Command::Check(flags) = Cli::try_parse_from(arguments).unwrap().command else {
            panic!("not check")
        };
        flags.resolve()
    }

    #[test]
    fn a_target_is_a_pod_a_node_or_everything() {
        let target = |arguments: &[&str]| check(arguments).unwrap().target;
        assert_eq!(target(&[]), Target::Cluster);
        assert_eq!(target(&["node", "n1"]), Target::Node("n1".to_owned()));
        let pod = Target::Pod { namespace: "a".to_owned(), name: "b".to_owned() };
        assert_eq!(target(&["pod", "a/b"]), pod);
        assert!(Cli::try_parse_from(["kubevitals-aggregator", "check", "pod"]).is_err());
        assert_eq!(check(&["pod", "b", "--timeout=1h"]).unwrap_err().len(), 2);
        assert!(check(&["node", "a/b"]).is_err());
    }

    #[test]
    fn names_are_those_of_the_manifests() {
        let config = check(&[]).unwrap();
        assert_eq!(
            (config.namespace.as_str(), config.service.as_str(), config.daemon_set.as_str()),
            ("kubevitals", "kubevitals-aggregator", "kubevitals-agent")
        );
    }
}
