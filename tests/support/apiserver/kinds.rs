//! The kinds of objects that the stand-in keeps.

use serde_json::{Value, json};

/// One resource, all in version `v1` of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Empty for core resources.
    pub(crate) group: &'static str,
    /// `pods`.
    pub(crate) plural: &'static str,
    /// `Pod`.
    pub(crate) kind: &'static str,
    pub(crate) is_namespaced: bool,
}

/// All of them.
pub(crate) const KINDS: [Resource; 13] = [
    namespaced("", "pods", "Pod"),
    cluster_wide("", "nodes", "Node"),
    namespaced("", "configmaps", "ConfigMap"),
    namespaced("", "secrets", "Secret"),
    namespaced("", "services", "Service"),
    namespaced("", "endpoints", "Endpoints"),
    namespaced("discovery.k8s.io", "endpointslices", "EndpointSlice"),
    namespaced("apps", "deployments", "Deployment"),
    namespaced("apps", "daemonsets", "DaemonSet"),
    namespaced("coordination.k8s.io", "leases", "Lease"),
    cluster_wide("apiregistration.k8s.io", "apiservices", "APIService"),
    cluster_wide("rbac.authorization.k8s.io", "clusterroles", "ClusterRole"),
    cluster_wide("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding"),
];

const fn namespaced(group: &'static str, plural: &'static str, kind: &'static str) -> Resource {
    Resource { group, plural, kind, is_namespaced: true }
}

const fn cluster_wide(group: &'static str, plural: &'static str, kind: &'static str) -> Resource {
    Resource { group, plural, kind, is_namespaced: false }
}

impl Resource {
    /// `apps/v1`.
    pub(crate) fn api_version(self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }

    /// An object with its kind, as outside of lists.
    pub(super) fn whole(self, object: &Value) -> Value {
        let mut object = object.clone();
        (object["kind"], object["apiVersion"]) = (json!(self.kind), json!(self.api_version()));
        object
    }
}
