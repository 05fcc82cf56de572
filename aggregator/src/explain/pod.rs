//! One pod: whether it is known, where it runs, and each of its containers up to the first lack.

use kubevitals::sample::{BootTime, WallTime};
use serde::{Deserialize, Serialize};

use super::{Explainer, NodeExplanation, Outcome};
use crate::{
    directory::{ContainerRecord, PodRecord},
    picture::Omission,
    store::node::{CounterRef, NodeState},
    usage::{Window, usage},
    view::Moment,
};

/// Most containers told of one pod.
const CONTAINERS: usize = 100;

/// What is known of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodExplanation {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether the directory has it: it has pods that are bound to a node and Running, nothing else.
    pub known: bool,
    /// Tells it from others of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Since it became ready; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_seconds: Option<f64>,
    /// What is served for it.
    pub outcome: Outcome,
    /// Its running containers in the order in which they are served.
    pub containers: Vec<ContainerExplanation>,
    /// How many there are; more than are listed when the list was cut.
    pub container_count: usize,
    /// Of a held picture: the containers it is of, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<String>,
    /// The node it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeExplanation>,
}

/// What is known of a running container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerExplanation {
    /// Its name in the pod.
    pub name: String,
    /// Its id at the runtime, or its cgroup.
    pub id: String,
    /// Samples that are kept.
    pub samples: usize,
    /// Since the newest was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_age_seconds: Option<f64>,
    /// From the oldest to the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_seconds: Option<f64>,
    /// Why it has no usage: `not_measured`, `first_sample`, `window_too_short`; or, more exactly than the pod's reason,
    /// `over_limit` (no place within `--max-containers`) or `ended` (its agent said that its cgroup is gone).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Outcome {
    /// `answer` has when it was read, its window, and whether it is held.
    pub(super) fn of(answer: Result<(WallTime, std::time::Duration, bool), Omission>, now: Moment) -> Self {
        match answer {
            Err(reason) => Self { reason: Some(reason.as_str().to_owned()), ..Self::default() },
            Ok((timestamp, window, held)) => Self {
                served: true,
                held,
                reason: None,
                age_seconds: Some(age(timestamp, now)),
                window_seconds: Some(window.as_secs_f64()),
            },
        }
    }
}

/// By our clock; negative for what lies ahead of it.
fn age(timestamp: WallTime, now: Moment) -> f64 {
    now.wall.as_secs_f64() - std::time::Duration::from_micros(timestamp.0).as_secs_f64()
}

impl Explainer {
    /// Tells of a pod, also of one that nobody knows.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> PodExplanation {
        let now = Moment::now();
        let told = PodExplanation {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            outcome: Outcome::unknown(),
            ..PodExplanation::default()
        };
        let Some(record) = self.view.directory.pod(namespace, name) else {
            return told;
        };
        let answer = self.view.pod_answer(&record, now);
        let held = answer.as_ref().is_ok_and(|answer| answer.held);
        let former =
            record.previous.as_deref().into_iter().filter(|_| held).flat_map(|(containers, _)| containers);
        PodExplanation {
            known: true,
            uid: Some(record.uid.to_string()),
            ready_seconds: record.ready.time().map(|ready| age(ready, now)),
            outcome: Outcome::of(answer.map(|answer| (answer.timestamp, answer.window, answer.held)), now),
            containers: self.containers(&record, now),
            container_count: record.containers.len(),
            former: former.take(CONTAINERS).map(|container| container.name.to_string()).collect(),
            node: Some(self.node_at(&record.node, now)),
            ..told
        }
    }

    fn containers(&self, record: &PodRecord, now: Moment) -> Vec<ContainerExplanation> {
        let shard = self.view.store.shard(&record.node);
        let state = shard.as_ref().map(|shard| shard.read());
        let containers = record.containers.iter().take(CONTAINERS);
        containers.map(|container| self.container(container, state.as_deref(), now)).collect()
    }

    fn container(
        &self,
        record: &ContainerRecord,
        state: Option<&NodeState>,
        now: Moment,
    ) -> ContainerExplanation {
        let told = ContainerExplanation {
            name: record.name.to_string(),
            id: match &record.counter {
                CounterRef::Container(id) => id.to_string(),
                CounterRef::Cgroup(path) => path.as_str().to_owned(),
                CounterRef::Node => String::new(),
            },
            reason: Some(Omission::NotMeasured.as_str().to_owned()),
            ..ContainerExplanation::default()
        };
        let Some(state) = state else {
            return told;
        };
        let Some(ring) = state.ring(&record.counter) else {
            let reason =
                if state.is_refused(&record.counter) { Some("over_limit".to_owned()) } else { told.reason };
            return ContainerExplanation { reason, ..told };
        };
        let window = Window {
            length: self.view.rules.window,
            shortest: self.view.rules.shortest,
            until: BootTime(u64::MAX),
            not_before: None,
        };
        let lack = usage(ring, &window).err().map(|lack| Omission::from(lack).as_str().to_owned());
        let span = ring.newest().zip(ring.oldest());
        let newest = ring.newest().map(|newest| state.now(now.instant).since(newest.time));
        ContainerExplanation {
            samples: ring.len(),
            newest_age_seconds: newest.map(|age| age.as_secs_f64()),
            span_seconds: span.map(|(newest, oldest)| newest.time.since(oldest.time).as_secs_f64()),
            reason: if state.is_live(&record.counter) { lack } else { Some("ended".to_owned()) },
            ..told
        }
    }
}
