//! A whole planned cluster: stand-in kube-apiserver with its front proxy, the built aggregator with delegated trust
//! behind it, and an agent on each node that shall have one.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

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
    fleet::{Fleet, Ingest, Load},
    program::{AGENT_ACCOUNT, Aggregator, PATIENCE, wait_until},
};

/// The audience of agents' tokens.
const AUDIENCE: &str = "kubevitals";

/// Token of a user who may read all metrics, and of one who may read nothing.
pub(crate) const READER: &str = "reader";
pub(crate) const NOBODY: &str = "nobody";

/// A node; without a load it has no agent.
#[derive(Debug, Clone)]
pub(crate) struct PlannedNode {
    pub(crate) name: String,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    pub(crate) load: Option<Load>,
}

/// What the cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<PlannedNode>,
    /// Pods, with the load of each container.
    pub(crate) pods: Vec<(Pod, Vec<Load>)>,
    /// How often agents send.
    pub(crate) tick: Duration,
    /// Further flags of the aggregator.
    pub(crate) flags: Vec<&'static str>,
}

/// A running cluster. What others ask is dropped last.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) fleet: Fleet,
    pub(crate) aggregator: Aggregator,
    pub(crate) api: ApiServer,
    pub(crate) files: TempDir,
    /// Pods whose node has an agent.
    measured: usize,
}

impl Chain {
    /// Starts everything, and waits until the front proxy finds both versions available.
    pub(crate) fn start(plan: &Plan) -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        let api = ApiServer::start();
        populate(&api, plan);
        let kubeconfig = api.kubeconfig_of_aggregator(files.path());
        let flags = [&["--server-name", SERVICE], plan.flags.as_slice()].concat();
        let aggregator = Aggregator::of_cluster(files.path(), &kubeconfig, &flags);
        let chain = Self {
            fleet: Fleet::new(plan.tick),
            aggregator,
            api,
            files,
            measured: plan.pods.iter().filter(|(pod, _)| plan.measures(pod)).count(),
        };
        chain.start_agents(plan);
        let target = chain.target();
        chain.api.register(target.address, &target.ca_pem);
        wait_until("both versions are available", PATIENCE, || {
            if chain.api.check_availability() { Ok(()) } else { Err("not yet".to_owned()) }
        });
        chain
    }

    fn start_agents(&self, plan: &Plan) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.aggregator.ingest_port));
        let ingest = Ingest { address, ca_pem: self.aggregator.api.authority() };
        for (pod, loads) in plan.pods.iter().filter(|(pod, _)| plan.measures(pod)) {
            self.fleet.run_with(pod, loads);
        }
        for PlannedNode { name, load, .. } in &plan.nodes {
            if let Some(load) = load {
                self.fleet.load_node(name, *load);
                self.fleet.agent(name, &agent_token(name), std::slice::from_ref(&ingest));
            }
        }
    }

    /// Where the aggregator's API is, past the front proxy.
    pub(crate) fn target(&self) -> Target {
        Target {
            address: SocketAddr::from(([127, 0, 0, 1], self.aggregator.api.port)),
            name: SERVICE.to_owned(),
            ca_pem: self.aggregator.api.authority(),
        }
    }

    /// Waits until every pod that is measured is served over this window.
    pub(crate) fn wait_for_window(&self, window: &str) {
        wait_until("all pods are served over a whole window", PATIENCE, || {
            let list = self.pods()?;
            let items = list["items"].as_array().ok_or_else(|| format!("no list: {list}"))?;
            let whole = items.iter().filter(|pod| pod["window"] == window).count();
            let ends = self.fleet.all_ends();
            if (whole, items.len()) == (self.measured, self.measured) {
                Ok(())
            } else {
                Err(format!(
                    "{whole} of {} pods, {} measured; streams ended: {ends:?}",
                    items.len(),
                    self.measured
                ))
            }
        });
    }

    /// All pods, as the front proxy lets an administrator see them.
    fn pods(&self) -> Result<Value, String> {
        let masters = User::new("admin", &["system:masters"]);
        let cluster = Arc::clone(&self.api.cluster);
        self.api.wait(async move {
            let path = "/apis/metrics.k8s.io/v1/pods";
            let answer = cluster.proxy.call(&masters, Method::GET, path, HeaderMap::new(), Bytes::new());
            let body = answer.await.map_err(|error| error.to_string())?.into_body();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| error.to_string())
        })
    }

    /// A kubeconfig for the holder of a token.
    pub(crate) fn kubeconfig(&self, token: &str) -> PathBuf {
        self.api.kubeconfig(self.files.path(), token)
    }
}

impl Plan {
    fn measures(&self, pod: &Pod) -> bool {
        self.nodes.iter().any(|node| node.name == pod.node && node.load.is_some())
    }
}

fn populate(api: &ApiServer, plan: &Plan) {
    for PlannedNode { name, labels, .. } in &plan.nodes {
        api.cluster.nodes.put(node(name, labels));
        let agent = User::new(AGENT_ACCOUNT, &["system:serviceaccounts"])
            .extra("authentication.kubernetes.io/node-name", name)
            .audience(AUDIENCE);
        api.cluster.reviews.issue(&agent_token(name), agent);
    }
    for (pod, _) in &plan.pods {
        api.cluster.pods.put(pod.object());
    }
    api.cluster.reviews.issue(READER, User::new("jane", &["readers"]));
    api.cluster.reviews.issue(NOBODY, User::new("joe", &[]));
}

fn agent_token(node: &str) -> String {
    format!("agent-of-{node}")
}
