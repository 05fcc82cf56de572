//! Where a node's kubelet is asked. Pure.

use std::{fmt, net::IpAddr};

use http::uri::PathAndQuery;
use rustls_pki_types::ServerName;

use crate::{config::kubelet::KubeletConfig, directory::KubeletRecord};

/// Where kubelets have their metrics unless a node says otherwise.
const PATH: &str = "/metrics/resource";

/// Where a kubelet is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an IP address, also in its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is asked for.
    pub path: PathAndQuery,
}

/// Why a kubelet cannot be asked at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The node has no address that may be used.
    #[error("node has no address of --kubelet-preferred-address-types ({wanted}), only {found}")]
    NoAddress {
        /// The types that are preferred.
        wanted: String,
        /// The types that the node has.
        found: String,
    },
    /// An address that is none.
    #[error("node address {0:?} is neither a name nor an ip address")]
    BadAddress(String),
    /// The annotation.
    #[error("annotation metrics.k8s.io/resource-metrics-path of the node: {0:?} is no path")]
    BadPath(String),
}

impl Endpoint {
    /// Chooses the address, as metrics-server does: of the first preferred type that the node has, the first.
    pub fn of(node: &KubeletRecord, config: &KubeletConfig) -> Result<Self, EndpointError> {
        let of_type = |wanted| node.addresses.iter().find(|(kind, _)| *kind == wanted);
        let Some((_, host)) = config.address_types.iter().find_map(|&wanted| of_type(wanted)) else {
            return Err(no_address(node, config));
        };
        if ServerName::try_from(host.as_ref()).is_err() {
            return Err(EndpointError::BadAddress(host.to_string()));
        }
        let port = node.port.filter(|_| config.use_status_port).unwrap_or(config.port);
        let path = match &node.path {
            Some(path) => path_of(path).ok_or_else(|| EndpointError::BadPath(path.to_string()))?,
            None => PathAndQuery::from_static(PATH),
        };
        Ok(Self { host: host.to_string(), port, path })
    }

    /// Host and port as the `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.path)
    }
}

fn no_address(node: &KubeletRecord, config: &KubeletConfig) -> EndpointError {
    let wanted: Vec<&str> = config.address_types.iter().map(|kind| kind.as_str()).collect();
    let found: Vec<&str> = node.addresses.iter().map(|(kind, _)| kind.as_str()).collect();
    let found = if found.is_empty() { "none at all".to_owned() } else { found.join(", ") };
    EndpointError::NoAddress { wanted: wanted.join(", "), found }
}

fn path_of(text: &str) -> Option<PathAndQuery> {
    let rooted = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    PathAndQuery::try_from(rooted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::select::LabelSelector,
        config::kubelet::KubeletTrust,
        directory::AddressType::{self, ExternalIp, Hostname, InternalDns, InternalIp},
    };

    fn config(address_types: &[AddressType], use_status_port: bool) -> KubeletConfig {
        KubeletConfig {
            resolution: std::time::Duration::from_secs(15),
            timeout: std::time::Duration::from_secs(10),
            port: 10250,
            use_status_port,
            address_types: address_types.to_vec(),
            trust: KubeletTrust::Cluster,
            client: None,
            nodes: LabelSelector::default(),
        }
    }

    fn node(addresses: &[(AddressType, &str)]) -> KubeletRecord {
        let addresses = addresses.iter().map(|&(kind, address)| (kind, address.into())).collect();
        KubeletRecord { addresses, port: Some(10255), path: None }
    }

    #[test]
    fn the_first_address_of_the_first_type_that_is_there_is_asked() {
        let node = node(&[(Hostname, "n1.test"), (InternalIp, "10.0.0.1"), (InternalIp, "10.0.0.2")]);
        let url =
            |types: &[AddressType], port| Endpoint::of(&node, &config(types, port)).unwrap().to_string();
        assert_eq!(
            url(&[ExternalIp, InternalIp, Hostname], false),
            "https://10.0.0.1:10250/metrics/resource"
        );
        assert_eq!(url(&[Hostname, InternalIp], true), "https://n1.test:10255/metrics/resource");
        let missing = Endpoint::of(&node, &config(&[InternalDns], false)).unwrap_err().to_string();
        assert!(missing.contains("(InternalDNS), only Hostname, InternalIP, InternalIP"), "{missing}");
    }

    #[test]
    fn a_node_of_another_kind_names_its_own_path() {
        let config = config(&[InternalIp], false);
        let mut node = node(&[(InternalIp, "fd00::1")]);
        let url = |node: &KubeletRecord| Endpoint::of(node, &config).map(|endpoint| endpoint.to_string());
        assert_eq!(url(&node).unwrap(), "https://[fd00::1]:10250/metrics/resource");
        node.path = Some("virtual/metrics?node=a".into());
        assert_eq!(url(&node).unwrap(), "https://[fd00::1]:10250/virtual/metrics?node=a");
        node.path = Some("no path".into());
        assert!(matches!(url(&node), Err(EndpointError::BadPath(_))));
        node.addresses = vec![(InternalIp, "http://x/".into())];
        assert!(matches!(url(&node), Err(EndpointError::BadAddress(_))));
    }
}
