//! Everything that was asked, before it is judged.

use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Node, Service},
        discovery::v1::EndpointSlice,
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use rustls_pki_types::CertificateDer;
use serde_json::Value;

use super::{asked::Asked, brief::PodBrief};
use crate::explain::{NodeExplanation, Overview, PodExplanation};

/// The `APIService` objects of the group; the first is what clients of all releases so far ask for.
pub(super) const API_SERVICES: [&str; 2] = ["v1beta1.metrics.k8s.io", "v1.metrics.k8s.io"];

/// How the installation is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) daemon_set: String,
}

impl Names {
    /// The name that kube-apiserver wants on the certificate.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// `kubectl -n NAMESPACE REST`.
    pub(super) fn kubectl(&self, rest: &str) -> String {
        format!("kubectl -n {} {rest}", self.namespace)
    }
}

/// The API server, and as whom it knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) version: Asked<String>,
    pub(super) user: Asked<String>,
}

/// One address behind the Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Of the pod, or the address itself.
    pub(super) name: String,
    pub(super) address: String,
    pub(super) ready: bool,
}

/// One thing that the aggregator has to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) verb: &'static str,
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    /// What does not work without it.
    pub(super) purpose: &'static str,
}

/// One aggregator, asked at its admin listener.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replica {
    /// Its pod, or the address.
    pub(super) name: String,
    pub(super) overview: Asked<Overview>,
    pub(super) node: Option<Asked<NodeExplanation>>,
    pub(super) pod: Option<Asked<PodExplanation>>,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything.
    Cluster,
    /// One pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// One node.
    Node(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Pod { namespace, name } => write!(f, "pod {namespace}/{name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// Everything about the cluster's side that was asked. What was not asked because the API server does not answer is
/// [`Asked::Failed`].
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) names: Names,
    pub(super) target: Target,
    pub(super) server: Server,
    /// In the order of [`API_SERVICES`].
    pub(super) api_services: Vec<(&'static str, Asked<APIService>)>,
    pub(super) service: Asked<Service>,
    pub(super) slices: Asked<Vec<EndpointSlice>>,
    /// The aggregator's.
    pub(super) pods: Asked<Vec<PodBrief>>,
    /// Which certificates are shown, by endpoint.
    pub(super) shown: Vec<(Endpoint, Asked<Vec<CertificateDer<'static>>>)>,
    /// Whose rights these are, and the rights.
    pub(super) account: String,
    pub(super) rights: Vec<(Right, Asked<bool>)>,
    pub(super) daemon_set: Asked<DaemonSet>,
    /// Agents: on the target's node, or those that are not ready when the target is the cluster.
    pub(super) agents: Asked<Vec<PodBrief>>,
    pub(super) replicas: Vec<Replica>,
    /// Of the pod, or the target itself.
    pub(super) node_name: Option<String>,
    pub(super) node: Option<Asked<Node>>,
    pub(super) pod: Option<Asked<PodBrief>>,
    /// What kube-apiserver answers for the target, and when it did, in seconds since 1970.
    pub(super) answer: (Asked<Value>, f64),
}

impl Facts {
    /// Whether the API server answers.
    pub(super) fn is_connected(&self) -> bool {
        self.server.version.got().is_some()
    }

    /// A setting of the aggregator, from the first of its pods.
    pub(super) fn setting(&self, flag: &str) -> Option<&str> {
        self.pods.got()?.first()?.setting(flag)
    }

    /// Whether nodes without an agent are polled.
    pub(super) fn has_fallback(&self) -> bool {
        self.setting("kubelet-fallback").is_some_and(|value| value != "false")
    }
}
