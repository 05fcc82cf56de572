//! A small fixed world for tests: three nodes and four pods in two namespaces.

use std::{sync::Arc, time::Duration};

use kubevitals::sample::WallTime;
use tokio::sync::watch;

use super::{
    ApiState,
    source::{
        ContainerAnswer, Labels, Lookup, NodeAnswer, NodeInfo, NodeRef, PodAnswer, PodRef, Source, Usage,
    },
};
use crate::auth::{Authenticator, access::Authorizer, token::StaticTokens};

/// The token that the fixture's API knows.
pub const TOKEN: &str = "fixture-token";

/// 2026-11-22T09:47:26Z.
#[must_use]
pub fn now() -> WallTime {
    WallTime(1_795_340_846_500_000)
}

/// `n1` (zone a) and `n2` (zone b) have numbers, `n3` has none; `web-3` has none either. A pod or node named
/// `panic` panics.
#[derive(Clone, Copy, Debug)]
pub struct Fixture;

const SAMPLED: WallTime = WallTime(1_795_340_845_250_000);

fn nodes() -> Vec<NodeAnswer> {
    let node = |name: &str, zone: &str, cpu_nanocores, memory_bytes| NodeAnswer {
        name: Arc::from(name),
        labels: Labels::from_iter([("zone", zone)]),
        timestamp: SAMPLED,
        window: Duration::from_secs(15),
        usage: Usage { cpu_nanocores, memory_bytes },
    };
    vec![node("n1", "a", 2_000_000_000, 2 << 30), node("n2", "b", 250_000_001, 512 << 20)]
}

fn pods() -> Vec<PodAnswer> {
    let container = |name: &str, milli: u64, mebi: u64| ContainerAnswer {
        name: Arc::from(name),
        usage: Usage { cpu_nanocores: milli * 1_000_000, memory_bytes: mebi << 20 },
    };
    let pod = |namespace: &str, name: &str, node: &str, app: &str, containers| PodAnswer {
        namespace: Arc::from(namespace),
        name: Arc::from(name),
        node: Arc::from(node),
        labels: Labels::from_iter([("app", app)]),
        timestamp: SAMPLED,
        window: Duration::from_millis(15_006),
        containers,
    };
    vec![
        pod("default", "web-1", "n1", "web", vec![container("app", 120, 64), container("proxy", 3, 16)]),
        pod("default", "web-2", "n2", "web", vec![container("app", 80, 32)]),
        pod("kube-system", "dns", "n1", "dns", vec![container("dns", 1, 8)]),
    ]
}

impl Source for Fixture {
    fn node(&self, name: &str) -> Lookup<NodeAnswer> {
        assert_ne!(name, "panic");
        match nodes().into_iter().find(|node| &*node.name == name) {
            Some(node) => Lookup::Found(node),
            None if name == "n3" => Lookup::NoSample,
            None => Lookup::Unknown,
        }
    }

    fn nodes(&self, wanted: &dyn Fn(&NodeRef<'_>) -> bool, visit: &mut dyn FnMut(&NodeAnswer)) {
        for node in nodes() {
            if wanted(&NodeRef { name: &node.name, labels: &node.labels }) {
                visit(&node);
            }
        }
    }

    fn pod(&self, namespace: &str, name: &str) -> Lookup<PodAnswer> {
        match pods().into_iter().find(|pod| &*pod.namespace == namespace && &*pod.name == name) {
            Some(pod) => Lookup::Found(pod),
            None if name == "web-3" => Lookup::NoSample,
            None => Lookup::Unknown,
        }
    }

    fn pods(
        &self,
        namespace: Option<&str>,
        wanted: &dyn Fn(&PodRef<'_>) -> bool,
        visit: &mut dyn FnMut(&PodAnswer),
    ) {
        assert_ne!(namespace, Some("panic"));
        for pod in pods().iter().filter(|pod| namespace.is_none_or(|namespace| &*pod.namespace == namespace))
        {
            let about =
                PodRef { namespace: &pod.namespace, name: &pod.name, node: &pod.node, labels: &pod.labels };
            if wanted(&about) {
                visit(pod);
            }
        }
    }

    fn node_infos(&self) -> Vec<NodeInfo> {
        let info = |name: &str, zone: &str| NodeInfo {
            name: Arc::from(name),
            labels: Labels::from_iter([("zone", zone)]),
            cpus: 4,
            memory_bytes: 8 << 30,
            created: WallTime(1_795_338_000_000_000),
        };
        vec![info("n1", "a"), info("n2", "b"), info("n3", "b")]
    }

    fn node_info(&self, name: &str) -> Option<NodeInfo> {
        self.node_infos().into_iter().find(|info| &*info.name == name)
    }
}

/// An API over the fixture, with or without the core API.
#[must_use]
pub fn state(core: bool) -> ApiState {
    ApiState {
        source: Arc::new(Fixture),
        authenticator: Arc::new(Authenticator::Tokens(StaticTokens::new([(TOKEN, "admin")]))),
        authorizer: Arc::new(Authorizer::Named),
        core,
        ready: watch::channel(true).1,
        now,
    }
}
