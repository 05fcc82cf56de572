//! The whole chain of a cluster: stand-in kube-apiserver with its front proxy, the built aggregator with delegated
//! trust behind it, and a fleet of agents.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, process::Command, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    apiserver::{
        ApiServer, SERVICE,
        dial::Target,
        make::{Pod, node},
        reviews::User,
    },
    fleet::{Fleet, Load, Reported},
    program::{PATIENCE, Program, built, dies_with_us, wait_until},
};

/// The account of the agents, and the audience of its tokens.
pub(crate) const AGENT: &str = "system:serviceaccount:kube-system:kubevitals-agent";
pub(crate) const AUDIENCE: &str = "kubevitals";

/// Token of a user who may read all metrics, and of one who may read nothing.
pub(crate) const READER: &str = "reader";
pub(crate) const NOBODY: &str = "nobody";

/// A pod and what its containers use.
#[derive(Debug, Clone)]
pub(crate) struct Busy {
    pub(crate) pod: Pod,
    pub(crate) loads: Vec<Load>,
}

/// What the cluster is made of.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Name, labels, and the load that an agent reports; without one there is no agent.
    pub(crate) nodes: Vec<(String, Vec<(&'static str, &'static str)>, Option<Load>)>,
    pub(crate) pods: Vec<Busy>,
    /// More flags of the aggregator.
    pub(crate) flags: Vec<&'static str>,
}

/// A running chain. What is dropped first is asked for by what is dropped later.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) fleet: Fleet,
    pub(crate) serve: Program,
    pub(crate) api: ApiServer,
    /// The aggregator's API, and its ingest.
    pub(crate) target: Target,
    pub(crate) ingest: Target,
    pub(crate) admin_port: u16,
    pub(crate) files: TempDir,
}

impl Chain {
    /// Starts everything, and waits until the front proxy finds both versions available.
    pub(crate) fn start(plan: &Plan) -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        let api = ApiServer::start();
        populate(&api, plan);
        let serve = serve(&api, &files, &plan.flags);
        let [port, ingest_port, admin_port] = ["api", "ingest", "admin"].map(|name| serve.port(name));
        let ca_pem = wait_until("the authority is written", PATIENCE, || {
            let pem = fs::read_to_string(files.path().join("ca.pem")).map_err(|error| error.to_string())?;
            if pem.contains("END CERTIFICATE") { Ok(pem) } else { Err("half a file".to_owned()) }
        });
        let at = |port| Target {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            name: SERVICE.to_owned(),
            ca_pem: ca_pem.clone(),
        };
        let (target, ingest) = (at(port), at(ingest_port));
        let fleet = Fleet::start(&ingest, reported(plan));
        api.register(target.address, &ca_pem);
        wait_until("both versions are available", PATIENCE, || {
            if api.check_availability() { Ok(()) } else { Err("not yet".to_owned()) }
        });
        Self { fleet, serve, api, target, ingest, admin_port, files }
    }

    /// Waits until so many pods are served, each over this window.
    pub(crate) fn wait_for(&self, pods: usize, window: &str) {
        wait_until("all pods are served over a whole window", PATIENCE, || {
            let faults = self.fleet.faults();
            assert!(faults.is_empty(), "agents: {faults:#?}");
            let list = self.list()?;
            let items = list["items"].as_array().ok_or_else(|| format!("no list: {list}"))?;
            let whole = items.iter().filter(|pod| pod["window"] == window).count();
            if whole == pods && items.len() == pods { Ok(()) } else { Err(list.to_string()) }
        });
    }

    /// All pods, as the control plane sees them.
    fn list(&self) -> Result<Value, String> {
        let masters = User::new("system:apiserver", &["system:masters"]);
        let cluster = Arc::clone(&self.api.cluster);
        let asked = async move {
            let path = "/apis/metrics.k8s.io/v1/pods";
            let answer = cluster.proxy.call(&masters, Method::GET, path, HeaderMap::new(), Bytes::new());
            let body = answer.await.map_err(|error| error.to_string())?.into_body();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| error.to_string())
        };
        self.api.wait(asked)
    }

    /// A kubeconfig for the holder of a token.
    pub(crate) fn kubeconfig(&self, token: &str) -> PathBuf {
        self.api.kubeconfig(self.files.path(), token)
    }
}

fn populate(api: &ApiServer, plan: &Plan) {
    for (name, labels, _) in &plan.nodes {
        api.cluster.nodes.put(node(name, labels));
        let agent = User::new(AGENT, &["system:serviceaccounts"])
            .extra("authentication.kubernetes.io/node-name", name)
            .audience(AUDIENCE);
        api.cluster.reviews.issue(&agent_token(name), agent);
    }
    for busy in &plan.pods {
        api.cluster.pods.put(busy.pod.object());
    }
    api.cluster.reviews.issue(READER, User::new("jane", &["readers"]));
    api.cluster.reviews.issue(NOBODY, User::new("joe", &[]));
}

fn agent_token(node: &str) -> String {
    format!("agent-of-{node}")
}

fn reported(plan: &Plan) -> Vec<Reported> {
    let mut of_node: BTreeMap<&str, Vec<(String, String, Load)>> = BTreeMap::new();
    for Busy { pod, loads } in &plan.pods {
        let containers = pod.containers.iter().zip(loads);
        let reported = containers.map(|(name, load)| (pod.uid(), pod.container_id(name), *load));
        of_node.entry(&pod.node).or_default().extend(reported);
    }
    let reported = plan.nodes.iter().filter_map(|(name, _, load)| {
        let containers = of_node.remove(name.as_str()).unwrap_or_default();
        Some(Reported { node: name.clone(), token: agent_token(name), load: (*load)?, containers })
    });
    reported.collect()
}

fn serve(api: &ApiServer, files: &TempDir, flags: &[&str]) -> Program {
    let mut command: Command = dies_with_us(built("kubevitals-aggregator"));
    command
        .args(["serve", "--names", "cluster", "--log-format", "json", "--shutdown-delay", "0s"])
        .args(["--listen", "127.0.0.1:0", "--ingest-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--server-name", SERVICE, "--agent-service-account", AGENT])
        .arg("--ca-out")
        .arg(files.path().join("ca.pem"))
        .arg("--kubeconfig")
        .arg(api.kubeconfig_of_aggregator(files.path()))
        .args(flags);
    Program::start("kubevitals-aggregator", &mut command)
}
