//! Nodes whose real agents tell scrapers what runs on them: a stand-in for kube-apiserver, the built aggregator, and
//! built agents over cgroups of this machine. Every agent sees all cgroups that tests made; a node's page has those
//! whose pods the API server says are bound to it.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{fs, net::SocketAddr, time::Duration};

use crate::{
    apiserver::{ApiServer, make::Pod, make::node},
    cgroups::{Container, Tree, Workload},
    program::{Agent, PATIENCE, Page, ask, wait_until},
    rig::{Rig, agent_user},
};

/// The namespace of all pods here.
pub(crate) const NAMESPACE: &str = "shop";

/// What a page in the older form is asked for with.
pub(crate) const TEXT: &str = "text/plain;version=0.0.4";

/// What Prometheus asks for.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Longest a page may take.
const ANSWER: Duration = Duration::from_secs(10);

/// The whole chain.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped first, so that nobody measures what is being removed.
    pub(crate) rig: Rig,
    pub(crate) tree: Tree,
}

/// A pod with what runs in it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) pod: Pod,
    /// By the pod's list of containers.
    pub(crate) containers: Vec<Container>,
    pub(crate) workloads: Vec<Workload>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::before(ApiServer::start(), &[])
    }

    /// Before this stand-in, with these flags of the aggregator beside the usual ones.
    pub(crate) fn before(api: ApiServer, flags: &[&str]) -> Self {
        Self { tree: Tree::new(), rig: Rig::with(api, flags) }
    }

    /// Starts the agent of a node, which is made if it is not there.
    pub(crate) fn agent(&self, name: &str, flags: &[&str]) -> Agent {
        let token = format!("agent-of-{name}");
        self.rig.api.cluster.reviews.issue(&token, agent_user(name));
        self.rig.api.cluster.nodes.put(node(name, &[]));
        fs::write(self.rig.files.path().join("first").join(&token), &token).unwrap();
        Agent::with(name, &token, &[&self.rig.aggregator], flags)
    }

    /// Makes a pod of these containers and workloads, which begin at once; the API server does not know it yet.
    pub(crate) fn start(
        &self,
        node: &str,
        pod: &str,
        workloads: impl IntoIterator<Item = (&'static str, Workload)>,
    ) -> Running {
        let (names, mut workloads): (Vec<_>, Vec<_>) = workloads.into_iter().unzip();
        let mut containers: Vec<Container> = Vec::new();
        for workload in &mut workloads {
            let container = match containers.first() {
                None => self.tree.container(),
                Some(first) => self.tree.beside(first),
            };
            container.adopt_plain(workload.child());
            workload.go();
            containers.push(container);
        }
        Running { pod: Pod::new(NAMESPACE, pod, node).containers(&names), containers, workloads }
    }

    /// Lets the API server know a pod.
    pub(crate) fn announce(&self, running: &Running) {
        self.rig.api.cluster.pods.put(running.object());
    }

    /// Both.
    pub(crate) fn run(
        &self,
        node: &str,
        pod: &str,
        workloads: impl IntoIterator<Item = (&'static str, Workload)>,
    ) -> Running {
        let running = self.start(node, pod, workloads);
        self.announce(&running);
        running
    }
}

impl Running {
    /// As the API server has it.
    pub(crate) fn object(&self) -> serde_json::Value {
        let ids: Vec<&str> = self.containers.iter().map(Container::id).collect();
        self.pod.object_in(&self.containers[0].pod_uid, &ids)
    }

    pub(crate) fn name(&self) -> &str {
        &self.pod.name
    }
}

/// A program's plain address.
pub(crate) fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// One page of an agent or of an aggregator's admin port.
pub(crate) fn scrape(port: u16, path: &str, accept: &str) -> Page {
    let page = ask(address(port), path, accept, ANSWER).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(page.status, 200, "{path}: {page:?}");
    page
}

/// Scrapes until the page is as wanted.
pub(crate) fn scrape_until<T>(
    what: &str,
    (port, path): (u16, &str),
    mut wanted: impl FnMut(&str) -> Result<T, String>,
) -> T {
    wait_until(what, PATIENCE, || {
        let page = scrape(port, path, TEXT);
        wanted(&page.body).map_err(|reason| format!("{reason} in\n{}", page.body))
    })
}
