//! What polling kubelets counts: by outcome, never by node.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::kubelet::{
    fault::OUTCOMES,
    gather::{Refusal, Refused},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What polling kubelets counts.
#[derive(Clone, Debug)]
pub struct Kubelet {
    polls: Family<Outcome, Counter>,
    duration: Histogram,
    polled: Gauge,
    failing: Gauge,
    refused: Family<Reason, Counter>,
}

impl Default for Kubelet {
    fn default() -> Self {
        let buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let (polls, refused) = (Family::<Outcome, Counter>::default(), Family::<Reason, Counter>::default());
        for outcome in OUTCOMES {
            let _ = polls.get_or_create(&Outcome { outcome });
        }
        for refusal in Refusal::ALL {
            let _ = refused.get_or_create(&Reason { reason: refusal.as_str() });
        }
        let duration = Histogram::new(buckets);
        Self { polls, duration, polled: Gauge::default(), failing: Gauge::default(), refused }
    }
}

impl Kubelet {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("kubelet_polls", "Polls of kubelets by outcome", self.polls.clone());
        registry.register_with_unit(
            "kubelet_poll_duration",
            "Time that a poll of a kubelet took, with whatever outcome",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register(
            "polled_kubelets",
            "Nodes without a live agent that are polled",
            self.polled.clone(),
        );
        registry.register("failing_kubelets", "Of those, nodes whose last poll failed", self.failing.clone());
        registry.register(
            "kubelet_refused",
            "Lines, values and readings of kubelets that were not taken",
            self.refused.clone(),
        );
    }

    /// Counts a poll.
    pub fn polled(&self, outcome: &'static str, took: Duration) {
        self.polls.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts what a page had that was not taken.
    pub fn refused(&self, refused: &Refused) {
        for (refusal, count) in refused.counts().filter(|&(_, count)| count > 0) {
            self.refused.get_or_create(&Reason { reason: refusal.as_str() }).inc_by(count.into());
        }
    }

    /// How many nodes are polled, and of how many the last poll failed.
    pub fn nodes(&self, polled: usize, failing: usize) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.polled.set(gauge(polled));
        self.failing.set(gauge(failing));
    }
}
