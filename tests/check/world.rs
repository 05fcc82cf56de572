//! A cluster in which all is well: API server, Service, one aggregator, two nodes with agents, one pod. Tests break it.

use std::{net::SocketAddr, process::Command, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{ServerConfig, crypto::ring};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    apiserver::{
        AGGREGATOR, ApiServer, SERVICE,
        access::Grant,
        make::{Pod, node},
        objects::Collection,
        pki::Identity,
        reviews::{Decision, User, usual_roles},
    },
    fleet::{Fleet, Ingest},
    program::{AGENT_ACCOUNT, Aggregator, PATIENCE, built, dies_with_us, probe, wait_until},
    screen::Screen,
};

/// Where the stand-in expects the aggregator.
pub(crate) const NAMESPACE: &str = "kube-system";

/// Everything, running. What others ask is dropped last.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) aggregator: Aggregator,
    pub(crate) api: ApiServer,
    pub(crate) files: TempDir,
}

/// The pod that everybody asks about.
pub(crate) fn web() -> Pod {
    Pod::new("prod", "web-0", "n1")
}

fn aggregator_pod() -> Pod {
    Pod::new(NAMESPACE, "kubevitals-aggregator-0", "n1").label("component", "aggregator")
}

/// The agent's pod on a node.
pub(crate) fn agent_pod(node: &str) -> Pod {
    Pod::new(NAMESPACE, &format!("kubevitals-agent-{node}"), node).label("component", "agent")
}

impl World {
    /// All well, and measured.
    pub(crate) fn well() -> Self {
        let world = Self::without_agents(&[]);
        for node in ["n1", "n2"] {
            world.agent(node);
        }
        world.fleet.run(&web(), 100);
        world.api.cluster.pods.put(web().object());
        world.measured("prod/web-0");
        world.until("both nodes are heard and all pods served", "", |it| {
            let settled = it["failingChecks"] == json!({}) && it["silent"]["count"] == 0;
            settled && it["streaming"] == 2 && it["pods"]["known"] == 4 && it["pods"]["served"] == 4
        });
        world
    }

    /// Without anything that measures.
    pub(crate) fn without_agents(flags: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let api = ApiServer::start();
        allow(&api);
        for name in ["n1", "n2"] {
            api.cluster.nodes.put(node(name, &[("kubernetes.io/os", "linux")]));
        }
        let kubeconfig = api.kubeconfig_of_aggregator(files.path());
        let name = format!("--server-name={SERVICE}");
        let flags = [&[name.as_str()], flags].concat();
        let aggregator = Aggregator::of_cluster(files.path(), &kubeconfig, &flags);
        let world = Self { fleet: Fleet::new(std::time::Duration::from_millis(300)), aggregator, api, files };
        world.install();
        world
    }

    /// The objects of the installation, and what the aggregation layer makes of them.
    fn install(&self) {
        let port = self.aggregator.api.port;
        self.api.register(SocketAddr::from(([127, 0, 0, 1], port)), &self.aggregator.api.authority());
        wait_until("both versions are available", PATIENCE, || {
            if self.api.check_availability() { Ok(()) } else { Err("not yet".to_owned()) }
        });
        for version in ["v1", "v1beta1"] {
            self.services().put(api_service(version, &self.aggregator.api.authority()));
        }
        let selector = json!({"component": "aggregator"});
        self.objects("", "services").put(json!({
            "metadata": {"namespace": NAMESPACE, "name": "kubevitals-aggregator"},
            "spec": {"selector": selector, "ports": [{"name": "https", "port": 443, "targetPort": "https"}]}}));
        let pod = aggregator_pod();
        self.slice(&[(&pod.name, true)]);
        self.fleet.run(&pod, 10);
        let mut object = pod.object();
        object["spec"]["serviceAccountName"] = json!("kubevitals-aggregator");
        object["spec"]["containers"][0]["args"] = json!([
            "serve",
            "--ca-secret=kubevitals-ca",
            "--ca-config-map=kubevitals-ca",
            "--api-service=v1beta1.metrics.k8s.io"
        ]);
        self.api.cluster.pods.put(object);
        self.daemon_set(2, 2);
    }

    pub(crate) fn objects(&self, group: &str, plural: &str) -> &Collection {
        self.api.cluster.objects(group, plural)
    }

    /// The `APIService` objects.
    pub(crate) fn services(&self) -> &Collection {
        self.objects("apiregistration.k8s.io", "apiservices")
    }

    /// A server in front of nothing that shows this certificate; its port.
    pub(crate) fn serve_tls(&self, identity: &Identity) -> u16 {
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        self.api.wait(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    drop(acceptor.accept(stream).await);
                }
            });
            port
        })
    }

    /// The authorities in both `APIService` objects.
    pub(crate) fn trust(&self, bundle: &str) {
        for version in ["v1", "v1beta1"] {
            self.services().put(api_service(version, bundle));
        }
    }

    /// Who is behind the Service, and whether they are ready.
    pub(crate) fn slice(&self, pods: &[(&str, bool)]) {
        self.slice_on(self.aggregator.api.port, pods);
    }

    /// The same on another port.
    pub(crate) fn slice_on(&self, port: u16, pods: &[(&str, bool)]) {
        let endpoints: Vec<Value> = pods
            .iter()
            .map(|(name, ready)| {
                json!({"addresses": ["127.0.0.1"], "conditions": {"ready": ready},
                    "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": name}})
            })
            .collect();
        self.objects("discovery.k8s.io", "endpointslices").put(json!({
            "metadata": {"namespace": NAMESPACE, "name": "kubevitals-aggregator-x",
                "labels": {"kubernetes.io/service-name": "kubevitals-aggregator"}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}));
    }

    pub(crate) fn daemon_set(&self, desired: u32, ready: u32) {
        self.objects("apps", "daemonsets").put(json!({
            "metadata": {"namespace": NAMESPACE, "name": "kubevitals-agent"},
            "spec": {"selector": {"matchLabels": {"component": "agent"}},
                "template": {"metadata": {"labels": {"component": "agent"}}, "spec": {"containers": [],
                    "nodeSelector": {"kubernetes.io/os": "linux"}}}},
            "status": {"currentNumberScheduled": desired, "desiredNumberScheduled": desired,
                "numberReady": ready, "numberMisscheduled": 0}}));
    }

    /// The agent's pod and its stream.
    pub(crate) fn agent(&self, node: &str) {
        self.agent_with(node, &agent_user(node));
    }

    /// The same, with a token of somebody else.
    pub(crate) fn agent_with(&self, node: &str, user: &User) {
        let token = format!("agent-of-{node}");
        self.api.cluster.reviews.issue(&token, user.clone());
        self.fleet.run(&agent_pod(node), 5);
        self.fleet.agent(node, &token, &[self.ingest()]);
        let mut object = agent_pod(node).object();
        object["status"]["podIP"] = json!("127.0.0.1");
        self.api.cluster.pods.put(object);
    }

    pub(crate) fn ingest(&self) -> Ingest {
        let address = SocketAddr::from(([127, 0, 0, 1], self.aggregator.ingest_port));
        Ingest { address, ca_pem: self.aggregator.api.authority() }
    }

    /// What the aggregator's admin listener explains.
    pub(crate) fn explain(&self, query: &str) -> Result<Value, String> {
        let (_, body) =
            probe(self.aggregator.admin_port, &format!("/explain{query}")).map_err(|it| it.to_string())?;
        let json = body.get(body.find('{').unwrap_or_default()..).unwrap_or_default();
        serde_json::from_str(json).map_err(|error| format!("{error}: {body}"))
    }

    /// Waits until an explanation is as wanted.
    pub(crate) fn until(&self, what: &str, query: &str, wanted: impl Fn(&Value) -> bool) {
        wait_until(what, PATIENCE, || {
            let explained = self.explain(query)?;
            if wanted(&explained) { Ok(()) } else { Err(explained.to_string()) }
        });
    }

    /// Waits until a pod is served.
    pub(crate) fn measured(&self, pod: &str) {
        self.until(&format!("{pod} is served"), &format!("?pod={pod}"), |it| it["outcome"]["served"] == true);
    }

    /// Runs `check` as the aggregator's account, as an operator does by `kubectl exec`.
    pub(crate) fn check(&self, arguments: &[&str]) -> Screen {
        Screen::of(&mut self.command(arguments))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let kubeconfig = self.api.kubeconfig_of_aggregator(self.files.path());
        let mut command = dies_with_us(built("kubevitals-aggregator"));
        command
            .arg("check")
            .args(arguments)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--namespace={NAMESPACE}"))
            .arg(format!("--admin-address=127.0.0.1:{}", self.aggregator.admin_port))
            .arg("--timeout=2s");
        command
    }
}

/// Whose token an agent has.
pub(crate) fn agent_user(node: &str) -> User {
    User::new(AGENT_ACCOUNT, &["system:serviceaccounts"])
        .extra("authentication.kubernetes.io/node-name", node)
        .audience("kubevitals")
}

/// An `APIService` that leads to the aggregator and is available.
pub(crate) fn api_service(version: &str, ca_pem: &str) -> Value {
    json!({"metadata": {"name": format!("{version}.metrics.k8s.io")},
        "spec": {"group": "metrics.k8s.io", "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": NAMESPACE, "name": "kubevitals-aggregator", "port": 443},
            "caBundle": STANDARD.encode(ca_pem)},
        "status": {"conditions": [{"type": "Available", "status": "True", "reason": "Passed",
            "message": "all checks passed", "lastTransitionTime": "2026-11-22T00:00:00Z"}]}})
}

/// As kube-aggregator says that it is not available.
pub(crate) fn unavailable(reason: &str, message: &str) -> Value {
    json!([{"type": "Available", "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-22T00:00:00Z"}])
}

/// What the manifests grant to the aggregator, for reading as for reviews of itself.
fn allow(api: &ApiServer) {
    for (verbs, group, resource) in [
        (&["get"][..], "", "services"),
        (&["get"], "apps", "daemonsets"),
        (&["list"], "discovery.k8s.io", "endpointslices"),
        (&["get", "patch"], "apiregistration.k8s.io", "apiservices"),
    ] {
        api.cluster.grant(Grant::new(AGGREGATOR, verbs, group, resource));
    }
    api.cluster.reviews.rule(|spec| allowed(spec, None));
}

/// The aggregator may do everything but what is taken away: verb and resource.
pub(crate) fn allowed(spec: &Value, without: Option<(&str, &str)>) -> Decision {
    let attributes = &spec["resourceAttributes"];
    let taken = without
        .is_some_and(|(verb, resource)| attributes["verb"] == verb && attributes["resource"] == resource);
    if spec["user"] == AGGREGATOR { Decision::when(!taken) } else { usual_roles(spec) }
}
