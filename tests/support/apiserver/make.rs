//! Objects for a cluster: pods and nodes as their controllers and kubelets write them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::pki::Pki;

/// Namespace and name of the config map that says whom servers behind the API server may trust.
pub(crate) const AUTHENTICATION: (&str, &str) = ("kube-system", "extension-apiserver-authentication");

/// A pod and its containers, all running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) containers: Vec<String>,
    /// Changes with each pod of the same name.
    pub(crate) generation: u32,
    /// When it became ready, as RFC 3339.
    pub(crate) ready: String,
}

impl Pod {
    /// A pod with a container `main` that is ready for long.
    pub(crate) fn new(namespace: &str, name: &str, node: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: node.to_owned(),
            labels: BTreeMap::new(),
            containers: vec!["main".to_owned()],
            generation: 1,
            ready: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn containers(mut self, names: &[&str]) -> Self {
        self.containers = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// In the form of a UUID.
    pub(crate) fn uid(&self) -> String {
        let digits = digits(&[&self.namespace, &self.name, &self.generation.to_string()], 32);
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        parts.join("-")
    }

    /// As a runtime gives them out, 64 hex digits.
    pub(crate) fn container_id(&self, container: &str) -> String {
        digits(&[&self.uid(), container], 64)
    }

    /// As the API has it when its containers run in cgroups that a test made.
    pub(crate) fn object_in(&self, uid: &str, container_ids: &[&str]) -> Value {
        let mut object = self.object();
        object["metadata"]["uid"] = json!(uid);
        for (index, id) in container_ids.iter().enumerate() {
            object["status"]["containerStatuses"][index]["containerID"] = json!(format!("containerd://{id}"));
        }
        object
    }

    /// As the API has it.
    pub(crate) fn object(&self) -> Value {
        let spec: Vec<Value> = self
            .containers
            .iter()
            .map(|name| json!({"name": name, "image": "registry.test/app:1"}))
            .collect();
        let statuses: Vec<Value> = self.containers.iter().map(|name| self.container_status(name)).collect();
        json!({
            "metadata": {"namespace": self.namespace, "name": self.name, "uid": self.uid(),
                "labels": self.labels, "creationTimestamp": self.ready},
            "spec": {"nodeName": self.node, "containers": spec},
            "status": {"phase": "Running", "startTime": self.ready, "containerStatuses": statuses,
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": self.ready}]},
        })
    }

    fn container_status(&self, name: &str) -> Value {
        json!({"name": name, "image": "registry.test/app:1", "imageID": "", "ready": true, "started": true,
            "restartCount": 0, "containerID": format!("containerd://{}", self.container_id(name)),
            "state": {"running": {"startedAt": self.ready}}})
    }
}

/// A node with 4 CPUs and 8 GiB, of which a little is not for pods.
pub(crate) fn node(name: &str, labels: &[(&str, &str)]) -> Value {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    let amounts = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory, "pods": "110"});
    json!({
        "metadata": {"name": name, "uid": digits(&[name], 32), "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {},
        "status": {"capacity": amounts("4", "8Gi"), "allocatable": amounts("3900m", "7Gi"),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    })
}

/// Whom servers behind this API server may trust.
pub(crate) fn authentication_config(pki: &Pki) -> Value {
    authentication_config_of(&pki.client.pem(), &pki.front_proxy.pem())
}

/// The same with these authorities, in PEM.
pub(crate) fn authentication_config_of(client_ca: &str, front_proxy_ca: &str) -> Value {
    json!({
        "metadata": {"namespace": AUTHENTICATION.0, "name": AUTHENTICATION.1},
        "data": {
            "client-ca-file": client_ca,
            "requestheader-client-ca-file": front_proxy_ca,
            "requestheader-allowed-names": "[\"front-proxy-client\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
        },
    })
}

/// Hex digits that depend on all parts (FNV-1a, once for each 16 digits).
fn digits(parts: &[&str], count: usize) -> String {
    let rounds = 0..u64::try_from(count.div_ceil(16)).expect("few digits");
    let hashes = rounds.map(|round| {
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325 ^ round, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{hash:016x}")
    });
    let mut text: String = hashes.collect();
    text.truncate(count);
    text
}
