//! The aggregator as a whole: how many nodes and pods are there, and which are not as they should be.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Explainer, Refusal,
    node::{clock_ahead, is_stale},
};
use crate::{
    api::{
        health::Probe,
        select::{FieldSelector, LabelSelector},
        source::PodSelection,
    },
    picture::Omission,
    view::Moment,
};

/// Most names in a list.
const NAMES: usize = 20;

/// Most refusals told.
const REFUSALS: usize = 50;

/// A clock that is off by more is worth a word: timestamps would be off by as much, and autoscalers compare them.
const CLOCK: f64 = 2.0;

/// Some of the things of a kind, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Named {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub examples: Vec<String>,
}

impl Named {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < NAMES {
            self.examples.push(name());
        }
    }
}

/// Pods that are left out for one reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Omitted {
    /// As in `kubevitals_aggregator_omitted_total`.
    pub reason: String,
    /// Which, as `NAMESPACE/NAME`.
    pub pods: Named,
}

/// How the pods are served.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCounts {
    /// Pods in the directory: bound to a node and Running.
    pub known: usize,
    /// With numbers.
    pub served: usize,
    /// Of those, with the last whole picture in place of the present one.
    pub held: usize,
    /// Without numbers.
    pub omitted: Vec<Omitted>,
}

/// What an aggregator knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Overview {
    /// Its version.
    pub version: String,
    /// Checks of `/readyz` that fail, with their reasons.
    pub failing_checks: BTreeMap<String, String>,
    /// Nodes in the directory: those of the cluster.
    pub nodes: usize,
    /// Of those, with an open stream.
    pub streaming: usize,
    /// Nodes without an agent whose kubelet is polled instead.
    pub polled: usize,
    /// Of those, nodes whose last poll failed.
    pub failing_kubelets: Named,
    /// Nodes from which nothing came in the last five minutes, and that are not polled.
    pub silent: Named,
    /// Nodes that were silent for three ticks or more.
    pub stale: Named,
    /// Nodes with an agent that the cluster does not have.
    pub strange: Named,
    /// Nodes whose clock is off by more than two seconds, and by how many it is ahead.
    pub clocks: BTreeMap<String, f64>,
    /// Agents by version.
    pub versions: BTreeMap<String, usize>,
    /// Containers for which there was no place within `--max-containers`.
    pub refused_containers: usize,
    /// How pods are served.
    pub pods: PodCounts,
    /// Agents that were turned away, the newest first.
    pub refusals: Vec<Refusal>,
}

impl Explainer {
    /// Tells of everything. It looks at every pod and node once: as much work as a list of all pods.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let now = Moment::now();
        let mut told = Overview {
            version: kubevitals::VERSION.to_owned(),
            failing_checks: self.health.failing(Probe::Ready),
            pods: self.pods(now),
            refusals: self.refusals.list(now.instant, |_| true),
            ..Overview::default()
        };
        told.refusals.truncate(REFUSALS);
        self.nodes(&mut told, now);
        told
    }

    fn nodes(&self, told: &mut Overview, now: Moment) {
        let nodes = self.view.directory.nodes();
        told.nodes = nodes.len();
        let kubelets = self.view.kubelets.iter().flat_map(|kubelets| kubelets.reports());
        let polled: BTreeMap<Arc<str>, bool> = kubelets
            .filter(|report| report.is_polled)
            .map(|report| (report.node, report.failed.is_some()))
            .collect();
        told.polled = polled.len();
        for (node, _) in polled.iter().filter(|(_, failing)| **failing) {
            told.failing_kubelets.add(|| node.to_string());
        }
        for node in nodes.iter().filter(|node| !polled.contains_key(&node.name)) {
            let shard = self.view.store.shard(&node.name);
            if shard.is_none_or(|shard| shard.read().silent_for(now.instant).is_none()) {
                told.silent.add(|| node.name.to_string());
            }
        }
        let mut shards = self.view.store.all();
        shards.sort_by(|a, b| a.node.cmp(&b.node));
        for shard in shards {
            let state = shard.read();
            let name = || shard.node.to_string();
            let is_known = nodes.binary_search_by(|node| node.name.cmp(&shard.node)).is_ok();
            if !is_known {
                told.strange.add(name);
            }
            told.streaming += usize::from(state.is_streaming());
            if is_known && is_stale(&state, now.instant) && !polled.contains_key(&shard.node) {
                told.stale.add(name);
            }
            if let Some(ahead) = clock_ahead(&state, now).filter(|ahead| ahead.abs() > CLOCK)
                && told.clocks.len() < NAMES
            {
                told.clocks.insert(name(), ahead);
            }
            if let Some(session) = state.session() {
                // As many as agents make up; those of one release do not come near.
                if told.versions.len() < NAMES || told.versions.contains_key(&*session.version) {
                    *told.versions.entry(session.version.to_string()).or_default() += 1;
                }
            }
            told.refused_containers += state.counted().1;
        }
    }

    fn pods(&self, now: Moment) -> PodCounts {
        let (labels, fields) = (LabelSelector::default(), FieldSelector::default());
        let wanted = PodSelection { namespace: None, labels: &labels, fields: &fields };
        let (mut told, mut omitted) = (PodCounts::default(), BTreeMap::<Omission, Named>::new());
        let mut after = None;
        loop {
            let page = self.view.directory.page(&wanted, after.as_ref());
            for record in &page.records {
                told.known += 1;
                match self.view.pod_answer(record, now) {
                    Ok(answer) => {
                        told.served += 1;
                        told.held += usize::from(answer.held);
                    }
                    Err(reason) => {
                        let name = || format!("{}/{}", record.namespace, record.name);
                        omitted.entry(reason).or_default().add(name);
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let omitted = omitted.into_iter();
        told.omitted =
            omitted.map(|(reason, pods)| Omitted { reason: reason.as_str().to_owned(), pods }).collect();
        told
    }
}
