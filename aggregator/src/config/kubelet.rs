//! Flags of the kubelet fallback, and what they mean together. Names and meanings are metrics-server's.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::resolve::{Faults, duration};
use crate::{api::select::LabelSelector, directory::AddressType};

/// The kubelet fallback, as typed. What is not given is none, so that a flag without `--kubelet-fallback` is found.
#[derive(Debug, Clone, Args)]
pub struct KubeletFlags {
    /// Poll /metrics/resource of the kubelets of nodes that have no live agent, so that those nodes and their pods are
    /// served too; goes with --names=cluster. The other --kubelet flags, --metric-resolution and --node-selector are
    /// metrics-server's and only count together with this one
    #[arg(long, env = "KUBEVITALS_KUBELET_FALLBACK")]
    pub kubelet_fallback: bool,
    /// How often each kubelet is polled, 10s to 10m; kubelets read their own counters every 10s to 20s
    /// [default: 15s]
    #[arg(long, env = "KUBEVITALS_METRIC_RESOLUTION")]
    pub metric_resolution: Option<String>,
    /// Longest that one poll may take, above 0s and at most 90 % of --metric-resolution [default: 10s]
    #[arg(long, env = "KUBEVITALS_KUBELET_REQUEST_TIMEOUT")]
    pub kubelet_request_timeout: Option<String>,
    /// Port of kubelets [default: 10250]
    #[arg(long, env = "KUBEVITALS_KUBELET_PORT")]
    pub kubelet_port: Option<String>,
    /// Use the port that a node's status names; --kubelet-port where it names none
    #[arg(long, env = "KUBEVITALS_KUBELET_USE_NODE_STATUS_PORT")]
    pub kubelet_use_node_status_port: bool,
    /// Which of a node's addresses is used: the first type that it has of this list of Hostname, InternalDNS,
    /// InternalIP, ExternalDNS and ExternalIP [default: InternalIP,ExternalIP,Hostname]
    #[arg(long, env = "KUBEVITALS_KUBELET_PREFERRED_ADDRESS_TYPES", value_delimiter = ',')]
    pub kubelet_preferred_address_types: Vec<String>,
    /// Do not verify kubelets' certificates. Whoever answers on a node's address is shown the token then, so give
    /// --kubelet-client-certificate with it
    #[arg(long, env = "KUBEVITALS_KUBELET_INSECURE_TLS")]
    pub kubelet_insecure_tls: bool,
    /// PEM file with the authorities that sign kubelets' serving certificates; read again when it changes
    /// [default: the cluster's authority]
    #[arg(long, env = "KUBEVITALS_KUBELET_CERTIFICATE_AUTHORITY")]
    pub kubelet_certificate_authority: Option<PathBuf>,
    /// PEM file with a client certificate for kubelets, shown instead of the service account's token; goes with
    /// --kubelet-client-key
    #[arg(long, env = "KUBEVITALS_KUBELET_CLIENT_CERTIFICATE")]
    pub kubelet_client_certificate: Option<PathBuf>,
    /// PEM file with the key of --kubelet-client-certificate
    #[arg(long, env = "KUBEVITALS_KUBELET_CLIENT_KEY")]
    pub kubelet_client_key: Option<PathBuf>,
    /// Poll only nodes with such labels [default: all]
    #[arg(long, short = 'l', env = "KUBEVITALS_NODE_SELECTOR")]
    pub node_selector: Option<String>,
}

/// How kubelets prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeletTrust {
    /// By a certificate of the cluster's authority.
    Cluster,
    /// By a certificate of an authority in this file.
    Authority(PathBuf),
    /// Not at all.
    Nobody,
}

/// The kubelet fallback, checked.
#[derive(Debug, Clone)]
pub struct KubeletConfig {
    /// Time between two polls of one kubelet.
    pub resolution: Duration,
    /// Longest that one poll may take.
    pub timeout: Duration,
    /// The port where a node's status is not asked or says nothing.
    pub port: u16,
    /// Whether a node's status is asked for the port.
    pub use_status_port: bool,
    /// In order of preference; never empty.
    pub address_types: Vec<AddressType>,
    /// Whose certificates are believed.
    pub trust: KubeletTrust,
    /// Certificate and key that are shown instead of a token.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Which nodes.
    pub nodes: LabelSelector,
}

impl KubeletFlags {
    pub(super) fn resolve(&self, names_of_cluster: bool, faults: &mut Faults) -> Option<KubeletConfig> {
        if !self.kubelet_fallback {
            for flag in self.given() {
                faults.add(&format!("{flag}: goes with --kubelet-fallback only"));
            }
            return None;
        }
        if !names_of_cluster {
            faults.add("--kubelet-fallback: goes with --names=cluster only");
        }
        let seconds = Duration::from_secs;
        let text = self.metric_resolution.as_deref().unwrap_or("15s");
        let resolution = faults.take(duration("--metric-resolution", text, seconds(10), seconds(600)));
        let timeout = faults.take(self.timeout(resolution));
        let port = faults.take(self.port());
        let address_types = faults.take(self.address_types());
        let nodes = faults.take(self.nodes());
        let trust = faults.take(self.trust());
        let client = faults.take(self.client());
        Some(KubeletConfig {
            resolution: resolution?,
            timeout: timeout?,
            port: port?,
            use_status_port: self.kubelet_use_node_status_port,
            address_types: address_types?,
            trust: trust?,
            client: client?,
            nodes: nodes?,
        })
    }

    /// What would be ignored.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("--metric-resolution", self.metric_resolution.is_some()),
            ("--kubelet-request-timeout", self.kubelet_request_timeout.is_some()),
            ("--kubelet-port", self.kubelet_port.is_some()),
            ("--kubelet-use-node-status-port", self.kubelet_use_node_status_port),
            ("--kubelet-preferred-address-types", !self.kubelet_preferred_address_types.is_empty()),
            ("--kubelet-insecure-tls", self.kubelet_insecure_tls),
            ("--kubelet-certificate-authority", self.kubelet_certificate_authority.is_some()),
            ("--kubelet-client-certificate", self.kubelet_client_certificate.is_some()),
            ("--kubelet-client-key", self.kubelet_client_key.is_some()),
            ("--node-selector", self.node_selector.is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag)
    }

    /// A poll has to be over, with some time to spare, before the next one begins.
    fn timeout(&self, resolution: Option<Duration>) -> Result<Duration, String> {
        let flag = "--kubelet-request-timeout";
        let most = resolution.map_or(Duration::from_secs(540), |resolution| resolution * 9 / 10);
        match &self.kubelet_request_timeout {
            Some(text) => duration(flag, text, Duration::from_millis(1), most),
            None => Ok(Duration::from_secs(10).min(most)),
        }
    }

    fn port(&self) -> Result<u16, String> {
        let text = self.kubelet_port.as_deref().unwrap_or("10250");
        let port = text.parse().ok().filter(|&port| port != 0);
        port.ok_or_else(|| format!("--kubelet-port: {text:?} is no port, 1 to 65535"))
    }

    fn address_types(&self) -> Result<Vec<AddressType>, String> {
        let typed = &self.kubelet_preferred_address_types;
        if typed.is_empty() {
            return Ok(vec![AddressType::InternalIp, AddressType::ExternalIp, AddressType::Hostname]);
        }
        let kind = |name: &String| {
            let known = || AddressType::ALL.map(AddressType::as_str).join(", ");
            AddressType::named(name.trim())
                .ok_or_else(|| format!("--kubelet-preferred-address-types: {name:?} is none of {}", known()))
        };
        typed.iter().map(kind).collect()
    }

    fn nodes(&self) -> Result<LabelSelector, String> {
        let text = self.node_selector.as_deref().unwrap_or_default();
        LabelSelector::parse(text).map_err(|error| format!("--node-selector: {text:?}: {error}"))
    }

    fn trust(&self) -> Result<KubeletTrust, String> {
        match (&self.kubelet_certificate_authority, self.kubelet_insecure_tls) {
            (Some(_), true) => {
                Err("--kubelet-certificate-authority: does not go with --kubelet-insecure-tls".to_owned())
            }
            (Some(file), false) => Ok(KubeletTrust::Authority(file.clone())),
            (None, true) => Ok(KubeletTrust::Nobody),
            (None, false) => Ok(KubeletTrust::Cluster),
        }
    }

    fn client(&self) -> Result<Option<(PathBuf, PathBuf)>, String> {
        match (&self.kubelet_client_certificate, &self.kubelet_client_key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
            (Some(_), None) => {
                Err("--kubelet-client-key: required with --kubelet-client-certificate".to_owned())
            }
            (None, Some(_)) => {
                Err("--kubelet-client-certificate: required with --kubelet-client-key".to_owned())
            }
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
