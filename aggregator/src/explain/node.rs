//! One node: whether the cluster has it, who speaks for it, and how long ago.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Explainer, Outcome, Refusal};
use crate::{
    kubelet::Report,
    store::node::{CounterRef, NodeState},
    view::Moment,
};

/// Most refusals told of one node.
const REFUSALS: usize = 10;

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeExplanation {
    /// Its name.
    pub name: String,
    /// Whether the directory has it; it is filled from the cluster's nodes.
    pub known: bool,
    /// Whether a stream is open that speaks for it.
    pub streaming: bool,
    /// Since its last batch; absent when none came yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_seconds: Option<f64>,
    /// The agent's tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<f64>,
    /// The agent's version, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// By how much the node's clock is ahead of ours; negative when it is behind. The way of a batch to us, usually
    /// milliseconds, counts as behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ahead_seconds: Option<f64>,
    /// Counters of containers that are kept.
    pub containers: usize,
    /// Containers for which there was no place within `--max-containers`.
    pub refused_containers: usize,
    /// What its agent left out at its last tick.
    pub left_out: Vec<LeftOut>,
    /// How polling its kubelet is getting on, while no agent speaks for it and that is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<KubeletExplanation>,
    /// What is served for the node itself.
    pub outcome: Outcome,
    /// Agents that were turned away and said that they speak for it, the newest first.
    pub refusals: Vec<Refusal>,
}

/// What is known of a kubelet that is polled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletExplanation {
    /// Where it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Since a page last came whole; absent when none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded_seconds: Option<f64>,
    /// Why the last poll failed; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Pods with a whole picture.
    pub pods: usize,
    /// Pods whose running containers do not all have a rate yet.
    pub incomplete_pods: usize,
}

impl KubeletExplanation {
    fn of(report: Report, now: Moment) -> Self {
        let since_1970 = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            url: report.url,
            succeeded_seconds: report
                .succeeded
                .map(|at| now.wall.saturating_sub(since_1970(at)).as_secs_f64()),
            failure: report.failed.map(|(_, why)| why),
            pods: report.pods,
            incomplete_pods: report.incomplete_pods,
        }
    }
}

/// Readings that an agent could not make at its last tick.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeftOut {
    /// As in `kubevitals_aggregator_ingest_omitted_readings_total`.
    pub reason: String,
    /// How many.
    pub count: u32,
}

impl Explainer {
    /// Tells of a node, also of one that nobody knows.
    #[must_use]
    pub fn node(&self, name: &str) -> NodeExplanation {
        self.node_at(name, Moment::now())
    }

    /// What is known of a node's kubelet, while it is polled.
    fn kubelet(&self, name: &str, now: Moment) -> Option<KubeletExplanation> {
        let report = self.view.kubelets.as_ref()?.report(name).filter(|report| report.is_polled)?;
        Some(KubeletExplanation::of(report, now))
    }

    pub(super) fn node_at(&self, name: &str, now: Moment) -> NodeExplanation {
        let record = self.view.directory.node(name);
        let outcome = record.as_ref().map_or_else(Outcome::unknown, |record| {
            let answer = self.view.node_answer(record, now);
            let told = answer.map(|answer| (answer.timestamp, answer.window, false));
            Outcome::of(told, now)
        });
        let mut told = NodeExplanation {
            name: name.to_owned(),
            known: record.is_some(),
            outcome,
            kubelet: self.kubelet(name, now),
            refusals: self.refusals.list(now.instant, |refusal| refusal.node.as_deref() == Some(name)),
            ..NodeExplanation::default()
        };
        told.refusals.truncate(REFUSALS);
        if let Some(shard) = self.view.store.shard(name) {
            told.take(&shard.read(), now);
        }
        told
    }
}

impl NodeExplanation {
    fn take(&mut self, state: &NodeState, now: Moment) {
        let session = state.session();
        self.streaming = state.is_streaming();
        self.silent_seconds = state.silent_for(now.instant).map(|silent| silent.as_secs_f64());
        self.interval_seconds = session.map(|session| session.interval.as_secs_f64());
        self.agent_version = session.map(|session| session.version.to_string());
        self.clock_ahead_seconds = clock_ahead(state, now);
        let (live, refused) = state.counted();
        self.containers = live.saturating_sub(usize::from(state.is_live(&CounterRef::Node)));
        self.refused_containers = refused;
        let left_out = state.omissions().iter();
        self.left_out = left_out
            .map(|omission| LeftOut { reason: omission.reason.as_str().to_owned(), count: omission.count })
            .collect();
    }
}

/// By how many seconds the node's clock is ahead of ours: both are compared at the moment when the last batch came.
pub(super) fn clock_ahead(state: &NodeState, now: Moment) -> Option<f64> {
    let silent = state.silent_for(now.instant)?;
    let ours = now.wall.saturating_sub(silent).as_secs_f64();
    let theirs = Duration::from_micros(state.wall(state.last_tick()).0).as_secs_f64();
    Some(theirs - ours)
}

/// Whether a node was silent for three ticks or more, as the metric of stale nodes has it.
pub(super) fn is_stale(state: &NodeState, now: Instant) -> bool {
    let interval = state.session().map(|session| session.interval).unwrap_or_default();
    state.silent_for(now).is_some_and(|silent| silent > interval * 3)
}
