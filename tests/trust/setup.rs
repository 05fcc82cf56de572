//! A cluster in which we are installed, with the roles that we ship, and replicas.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    apiserver::{
        AGGREGATOR, ApiServer, SERVICE, access::Grant, dial::Target, make::node, objects::Collection,
        reviews::User,
    },
    program::{AGENT_ACCOUNT, Aggregator, Program, wait_until},
};

/// Where everything is; that of [`SERVICE`].
pub(crate) const NAMESPACE: &str = "kube-system";

/// Of the Secret and of the `ConfigMap`.
pub(crate) const CA: &str = "kubevitals-ca";

pub(crate) const SERVICES: [&str; 2] = ["v1.metrics.k8s.io", "v1beta1.metrics.k8s.io"];

/// Longest that anything may take here, on cores that may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// Lives so short that a rotation takes seconds: looks are 300 ms apart then.
pub(crate) const SHORT: [&str; 2] = ["--ca-overlap=6s", "--ca-life=72s"];

/// An API server with our roles and `APIService`s.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) api: ApiServer,
    pub(crate) files: TempDir,
}

impl Setup {
    pub(crate) fn start() -> Self {
        let api = ApiServer::start();
        for grant in grants() {
            api.cluster.grant(grant);
        }
        let setup = Self { api, files: tempfile::tempdir().unwrap() };
        for name in SERVICES {
            setup.services().put(api_service(name));
        }
        setup
    }

    pub(crate) fn secrets(&self) -> &Collection {
        self.api.cluster.objects("", "secrets")
    }

    pub(crate) fn services(&self) -> &Collection {
        self.api.cluster.objects("apiregistration.k8s.io", "apiservices")
    }

    /// The value of a key of the Secret.
    pub(crate) fn secret(&self, key: &str) -> Option<String> {
        let secret = self.secrets().get(NAMESPACE, CA)?;
        Some(String::from_utf8(STANDARD.decode(secret["data"][key].as_str()?).unwrap()).unwrap())
    }

    /// Changes the Secret as an operator does.
    pub(crate) fn change_secret(&self, change: impl FnOnce(&mut Value)) {
        self.secrets().change(NAMESPACE, CA, change);
    }

    /// The bundle in the `ConfigMap`.
    pub(crate) fn config_map(&self) -> Option<String> {
        let map = self.api.cluster.config_maps.get(NAMESPACE, CA)?;
        map["data"]["ca.crt"].as_str().map(ToOwned::to_owned)
    }

    /// The bundle in an `APIService`.
    pub(crate) fn ca_bundle(&self, name: &str) -> Option<String> {
        bundle_of(&self.services().get("", name)?)
    }

    fn flags(more: &[&str]) -> Vec<String> {
        let fixed = [
            format!("--ca-secret={CA}"),
            format!("--ca-config-map={CA}"),
            format!("--api-service={}", SERVICES.join(",")),
            format!("--namespace={NAMESPACE}"),
            "--shutdown-delay=0s".to_owned(),
        ];
        fixed.into_iter().chain(more.iter().map(|&flag| flag.to_owned())).collect()
    }

    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.files.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// A replica, as soon as it listens.
    pub(crate) fn replica(&self, name: &str, flags: &[&str]) -> Aggregator {
        let directory = self.directory(name);
        let kubeconfig = self.api.kubeconfig_of_aggregator(&directory);
        let flags = Self::flags(flags);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Aggregator::of_cluster(&directory, &kubeconfig, &flags)
    }

    /// A replica that may not get so far.
    pub(crate) fn stuck(&self, name: &str, flags: &[&str]) -> Program {
        let directory = self.directory(name);
        let kubeconfig = self.api.kubeconfig_of_aggregator(&directory);
        let flags = Self::flags(flags);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Aggregator::refused_by_cluster(&directory, &kubeconfig, &flags)
    }

    /// A node, and the token of its agent.
    pub(crate) fn node(&self, name: &str) -> String {
        self.api.cluster.nodes.put(node(name, &[]));
        let token = format!("agent-of-{name}");
        let user = User::new(AGENT_ACCOUNT, &["system:serviceaccounts"])
            .extra("authentication.kubernetes.io/node-name", name)
            .audience("kubevitals");
        self.api.cluster.reviews.issue(&token, user);
        token
    }
}

/// The bundle in an `APIService`.
pub(crate) fn bundle_of(service: &Value) -> Option<String> {
    Some(String::from_utf8(STANDARD.decode(service["spec"]["caBundle"].as_str()?).unwrap()).unwrap())
}

pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A port, trusted by this bundle under the Service's name.
pub(crate) fn target(port: u16, bundle: &str) -> Target {
    Target { address: address(port), name: SERVICE.to_owned(), ca_pem: bundle.to_owned() }
}

/// Waits until a program has logged a text so many times.
pub(crate) fn logged(program: &Program, text: &str, times: usize) {
    wait_until(text, DEADLINE, || {
        let count = program.log().matches(text).count();
        (count >= times).then_some(()).ok_or_else(|| format!("{count} times"))
    });
}

/// What the aggregator's roles grant for this, and no more.
pub(crate) fn grants() -> Vec<Grant> {
    let grant = |verbs: &[&str], resource| Grant::new(AGGREGATOR, verbs, "", resource).namespace(NAMESPACE);
    let services = "apiservices";
    vec![
        grant(&["create"], "secrets"),
        grant(&["get", "update"], "secrets").names(&[CA]),
        grant(&["create"], "configmaps"),
        grant(&["get", "patch"], "configmaps").names(&[CA]),
        Grant::new(AGGREGATOR, &["get", "patch"], "apiregistration.k8s.io", services).names(&SERVICES),
    ]
}

/// As somebody installed it who did not trust us yet.
pub(crate) fn api_service(name: &str) -> Value {
    let (version, group) = name.split_once('.').unwrap();
    json!({"metadata": {"name": name, "labels": {"app": "kubevitals"}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"name": "kubevitals-aggregator", "namespace": NAMESPACE, "port": 443},
            "insecureSkipTLSVerify": true}})
}
