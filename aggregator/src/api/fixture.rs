//! A small fixed world for tests: three nodes and four pods in two namespaces.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use kubevitals::sample::WallTime;

use super::{
    ApiState,
    health::Health,
    inflight::{self, InFlight},
    source::{
        ContainerRecord, Labels, Lookup, NodeAnswer, NodeInfo, NodeRecord, NodeSelection, PodAnswer,
        PodPlace, PodRecord, PodSelection, Source, Usage,
    },
    stream::Budget,
};
use crate::{
    auth::{Authenticator, access::Authorizer, token::StaticTokens},
    directory::Noted,
    metrics::Registered,
    store::node::CounterRef,
};

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

/// 2026-11-22T09:47:25Z.
pub const SAMPLED: WallTime = WallTime(1_795_340_845_250_000);

/// A node's numbers.
#[must_use]
pub fn node_answer(name: &str, labels: &[(&str, &str)], usage: Usage) -> NodeAnswer {
    let labels = labels.iter().copied().collect();
    NodeAnswer {
        node: Arc::new(NodeRecord { name: Arc::from(name), labels, created: SAMPLED, kubelet: None }),
        timestamp: SAMPLED,
        window: Duration::from_secs(15),
        usage,
    }
}

/// A pod's numbers, by container.
#[must_use]
pub fn pod_answer(
    [namespace, name, node]: [&str; 3],
    labels: &[(&str, &str)],
    containers: &[(&str, Usage)],
) -> PodAnswer {
    let record = |(name, _): &(&str, Usage)| ContainerRecord::new(Arc::from(*name), CounterRef::Node);
    let pod = PodRecord {
        uid: name.into(),
        namespace: Arc::from(namespace),
        name: Arc::from(name),
        node: Arc::from(node),
        labels: labels.iter().copied().collect(),
        owner: None,
        created: Noted::default(),
        ready: Noted::default(),
        containers: containers.iter().map(record).collect(),
        previous: None,
    };
    PodAnswer {
        pod: Arc::new(pod),
        held: false,
        timestamp: SAMPLED,
        window: Duration::from_millis(15_006),
        usages: containers.iter().map(|(_, usage)| *usage).collect(),
    }
}

fn nodes() -> Vec<NodeAnswer> {
    let usage = |cpu_nanocores, memory_bytes| Usage { cpu_nanocores, memory_bytes };
    vec![
        node_answer("n1", &[("zone", "a")], usage(2_000_000_000, 2 << 30)),
        node_answer("n2", &[("zone", "b")], usage(250_000_001, 512 << 20)),
    ]
}

fn pods() -> Vec<PodAnswer> {
    let usage = |milli: u64, mebi: u64| Usage { cpu_nanocores: milli * 1_000_000, memory_bytes: mebi << 20 };
    vec![
        pod_answer(
            ["default", "web-1", "n1"],
            &[("app", "web")],
            &[("app", usage(120, 64)), ("proxy", usage(3, 16))],
        ),
        pod_answer(["default", "web-2", "n2"], &[("app", "web")], &[("app", usage(80, 32))]),
        pod_answer(["kube-system", "dns", "n1"], &[("app", "dns")], &[("dns", usage(1, 8))]),
    ]
}

impl Source for Fixture {
    fn node(&self, name: &str) -> Lookup<NodeAnswer> {
        assert_ne!(name, "panic");
        match nodes().into_iter().find(|answer| &*answer.node.name == name) {
            Some(answer) => Lookup::Found(answer),
            None if name == "n3" => Lookup::NoSample,
            None => Lookup::Unknown,
        }
    }

    fn nodes(
        &self,
        wanted: &NodeSelection<'_>,
        after: Option<&str>,
        visit: &mut dyn FnMut(&NodeAnswer) -> ControlFlow<()>,
    ) -> Option<Arc<str>> {
        let later = |answer: &NodeAnswer| after.is_none_or(|after| after < &*answer.node.name);
        let wanted = nodes().into_iter().filter(|answer| later(answer) && wanted.matches(&answer.node));
        let broken = wanted.into_iter().find(|answer| visit(answer).is_break());
        broken.map(|answer| Arc::clone(&answer.node.name))
    }

    fn pod(&self, namespace: &str, name: &str) -> Lookup<PodAnswer> {
        let named = |answer: &PodAnswer| &*answer.pod.namespace == namespace && &*answer.pod.name == name;
        match pods().into_iter().find(named) {
            Some(answer) => Lookup::Found(answer),
            None if name == "web-3" => Lookup::NoSample,
            None => Lookup::Unknown,
        }
    }

    fn pods(
        &self,
        wanted: &PodSelection<'_>,
        after: Option<&PodPlace>,
        visit: &mut dyn FnMut(&PodAnswer) -> ControlFlow<()>,
    ) -> Option<PodPlace> {
        assert_ne!(wanted.namespace, Some("panic"));
        let place = |answer: &PodAnswer| PodPlace {
            namespace: Arc::clone(&answer.pod.namespace),
            name: Arc::clone(&answer.pod.name),
        };
        let wanted = pods().into_iter().filter(|answer| {
            wanted.namespace.is_none_or(|namespace| &*answer.pod.namespace == namespace)
                && wanted.matches(&answer.pod)
                && after.is_none_or(|after| *after < place(answer))
        });
        let broken = wanted.into_iter().find(|answer| visit(answer).is_break());
        broken.map(|answer| place(&answer))
    }

    fn pods_at_most(&self, _namespace: Option<&str>) -> usize {
        pods().len()
    }

    fn namespaces(&self) -> Vec<Arc<str>> {
        vec![Arc::from("default"), Arc::from("kube-system")]
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
    let Registered { registry, metrics } = Registered::default();
    ApiState {
        source: Arc::new(Fixture),
        authenticator: Arc::new(Authenticator::Tokens(StaticTokens::new([(TOKEN, "admin")]))),
        authorizer: Arc::new(Authorizer::Named),
        core,
        lists: Budget::default(),
        health: Health::default(),
        in_flight: InFlight::new(inflight::DEFAULT_LIMIT, metrics.api.in_flight()),
        metrics: metrics.api,
        registry: Arc::new(registry),
        now,
    }
}
