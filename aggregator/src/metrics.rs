//! Every metric the aggregator has of its own. Labels are enums, or names that flags give, never what a cluster is full of.

pub mod api;
pub mod auth;
pub mod ca;
pub mod kubelet;
pub mod query;
pub mod watch;

use std::time::Duration;

use kubevitals::chain::{OmissionReason, Unknown};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{
    gate::Refusal,
    ingest::{self, review::Outcome},
    picture::Omission,
    store::node::Applied,
    tls,
};

/// A label for why something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// A label for how something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// A label for what something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

/// What ingest counts.
#[derive(Clone, Debug, Default)]
pub struct Ingest {
    /// Open streams.
    pub streams: Gauge,
    /// Nodes of which something is kept.
    pub nodes: Gauge,
    /// Nodes that were silent for three ticks.
    pub stale_nodes: Gauge,
    /// Containers with a ring.
    pub containers: Gauge,
    /// Batches stored.
    pub batches: Counter,
    /// Bytes of batches.
    pub bytes: Counter,
    samples: Counter,
    refused_samples: Counter,
    refused_containers: Counter,
    /// Readings that agents say they left out.
    omitted: Family<ReasonLabel, Counter>,
    /// Agents that were not let in, or not any longer.
    refused: Family<ReasonLabel, Counter>,
    /// Announcements that were refused.
    refused_announcements: Family<ReasonLabel, Counter>,
    /// What newer agents said that this version does not know.
    unknown: Family<WhatLabel, Counter>,
    /// Tokens that agents asked about.
    reviews: Family<OutcomeLabel, Counter>,
    /// Series of which agents were told the names.
    pub named: Counter,
    /// Streams by how they ended.
    ended: Family<ReasonLabel, Counter>,
    /// Batches that were made but never came.
    pub lost: Counter,
}

impl Ingest {
    fn register(&self, registry: &mut Registry) {
        registry.register("ingest_streams", "Open streams of agents", self.streams.clone());
        registry.register("nodes", "Nodes of which something is kept", self.nodes.clone());
        registry.register(
            "stale_nodes",
            "Nodes silent for three ticks or more, unless their kubelet answers instead",
            self.stale_nodes.clone(),
        );
        registry.register("containers", "Containers with samples", self.containers.clone());
        registry.register("ingest_batches", "Batches stored", self.batches.clone());
        registry.register_with_unit("ingest_payload", "Size of the batches", Unit::Bytes, self.bytes.clone());
        registry.register("ingest_samples", "Samples stored", self.samples.clone());
        registry.register(
            "ingest_refused_samples",
            "Samples whose counter was lower than what is stored",
            self.refused_samples.clone(),
        );
        registry.register(
            "ingest_refused_containers",
            "Containers for which there was no place within the limit",
            self.refused_containers.clone(),
        );
        registry.register("ingest_omitted_readings", "Readings that agents left out", self.omitted.clone());
        registry.register("ingest_streams_ended", "Streams by how they ended", self.ended.clone());
        registry.register(
            "ingest_refused_agents",
            "Streams of agents that were not let in, or not any longer",
            self.refused.clone(),
        );
        registry.register(
            "ingest_refused_announcements",
            "Series that agents announced and may not speak of",
            self.refused_announcements.clone(),
        );
        registry.register(
            "ingest_unknown",
            "What newer agents said that this version does not know",
            self.unknown.clone(),
        );
        for outcome in Outcome::ALL {
            let _ = self.reviews.get_or_create(&OutcomeLabel { outcome: outcome.as_str() });
        }
        registry.register(
            "ingest_reviews",
            "Tokens of scrapers that agents asked about, by how the review ended",
            self.reviews.clone(),
        );
        registry.register(
            "ingest_named_series",
            "Series whose names were told to their agents",
            self.named.clone(),
        );
        registry.register(
            "ingest_lost_batches",
            "Batches an agent made that fell out of its history before they came",
            self.lost.clone(),
        );
    }

    /// Counts what was stored.
    pub fn applied(&self, applied: Applied) {
        self.samples.inc_by(applied.samples);
        self.refused_samples.inc_by(applied.refused_samples);
        self.refused_containers.inc_by(applied.refused_containers);
    }

    /// Counts what an agent says it left out.
    pub fn omitted(&self, reason: &'static str, count: u32) {
        self.omitted.get_or_create(&ReasonLabel { reason }).inc_by(count.into());
    }

    /// Counts an agent that was not let in, or not any longer.
    pub fn refused(&self, refusal: Refusal) {
        self.refused.get_or_create(&ReasonLabel { reason: refusal.as_str() }).inc();
    }

    /// Counts a token that an agent asked about.
    pub fn reviewed(&self, outcome: Outcome) {
        self.reviews.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    /// Counts series that an agent may not speak of.
    pub fn refused_announcements(&self, reason: &'static str, series: usize) {
        let series = u64::try_from(series).unwrap_or(u64::MAX);
        self.refused_announcements.get_or_create(&ReasonLabel { reason }).inc_by(series);
    }

    /// Counts a message of no known kind.
    pub fn unknown_message(&self) {
        self.unknown_of("message", 1);
    }

    /// Counts what was skipped inside batches and snapshots.
    pub fn unknown(&self, unknown: Unknown) {
        self.unknown_of("field", unknown.fields);
        self.unknown_of("subject", unknown.subjects);
        self.unknown_of("detail", unknown.details);
        self.unknown_of("reason", unknown.reasons);
    }

    /// How many messages were of no known kind.
    #[cfg(test)]
    pub(crate) fn unknown_messages(&self) -> u64 {
        self.unknown.get_or_create(&WhatLabel { what: "message" }).get()
    }

    fn unknown_of(&self, what: &'static str, count: u64) {
        if count > 0 {
            self.unknown.get_or_create(&WhatLabel { what }).inc_by(count);
        }
    }

    /// Counts a stream that ended.
    pub fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// What reading counts.
#[derive(Clone, Debug)]
pub struct Served {
    age: Histogram,
    omitted: Family<ReasonLabel, Counter>,
}

impl Default for Served {
    fn default() -> Self {
        let buckets =
            [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.1, 1.5, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0];
        Self { age: Histogram::new(buckets), omitted: Family::default() }
    }
}

impl Served {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "served_age",
            "Age of each pod's or node's numbers when they were served",
            Unit::Seconds,
            self.age.clone(),
        );
        registry.register("omitted", "Pods and nodes left out of an answer", self.omitted.clone());
    }

    /// Notes how old a number was when it was served.
    pub fn age(&self, age: Duration) {
        self.age.observe(age.as_secs_f64());
    }

    /// Counts one that was left out.
    pub fn omitted(&self, reason: Omission) {
        self.omitted.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }
}

/// A label for what is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabel {
    resource: &'static str,
}

/// What watching the cluster counts.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    events: Family<ResourceLabel, Counter>,
    relists: Family<ResourceLabel, Counter>,
    errors: Family<ResourceLabel, Counter>,
    known: Family<ResourceLabel, Gauge>,
}

/// What one watch counts.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Objects that were announced, changed or deleted.
    pub events: Counter,
    /// Complete lists taken over after the first one.
    pub relists: Counter,
    /// Requests and streams that failed.
    pub errors: Counter,
    /// Objects known at present.
    pub known: Gauge,
}

impl Cluster {
    /// The watch of pods, as a label.
    pub const PODS: &str = "pods";
    /// The watch of nodes, as a label.
    pub const NODES: &str = "nodes";

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "cluster_watch_events",
            "Objects the API server announced, changed or deleted",
            self.events.clone(),
        );
        registry.register(
            "cluster_relists",
            "Complete lists read again because a watch could not go on",
            self.relists.clone(),
        );
        registry.register(
            "cluster_watch_errors",
            "Requests to the API server, and watches, that failed",
            self.errors.clone(),
        );
        registry.register(
            "cluster_objects",
            "Running pods, and nodes, known by watching the cluster",
            self.known.clone(),
        );
    }

    /// What the watch of `resource` counts.
    #[must_use]
    pub fn of(&self, resource: &'static str) -> Watch {
        let label = ResourceLabel { resource };
        Watch {
            events: self.events.get_or_create_owned(&label),
            relists: self.relists.get_or_create_owned(&label),
            errors: self.errors.get_or_create_owned(&label),
            known: self.known.get_or_create_owned(&label),
        }
    }
}

/// All metrics; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Of the streams.
    pub ingest: Ingest,
    /// Of the answers.
    pub served: Served,
    /// Of the watch of pods and nodes.
    pub cluster: Cluster,
    /// Of polling kubelets.
    pub kubelet: kubelet::Kubelet,
    /// Of requests to the API.
    pub api: api::Api,
    /// Of requests to the query service.
    pub query: query::Query,
    /// Of authentication and authorization.
    pub auth: auth::Auth,
    /// Of the serving certificate.
    pub certificate: tls::counted::Certificate,
    /// Of the authority that replicas share.
    pub ca: ca::Ca,
    /// Of watches of the query service.
    pub watch: watch::Watch,
    /// TLS handshakes of agents that failed or took too long.
    pub failed_handshakes: Counter,
}

/// All metrics, and the registry that prints them.
#[derive(Debug)]
pub struct Registered {
    /// What /metrics prints.
    pub registry: Registry,
    /// What is counted.
    pub metrics: Metrics,
}

impl Default for Registered {
    /// Everything, at zero.
    fn default() -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        Self { registry, metrics }
    }
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.api.register(registry);
        metrics.auth.register(registry);
        let registry = registry.sub_registry_with_prefix("kubevitals_aggregator");
        registry.register(
            "build",
            "Version of the aggregator",
            Info::new([("version", kubevitals::VERSION)]),
        );
        metrics.ingest.register(registry);
        metrics.begin_at_zero();
        metrics.served.register(registry);
        metrics.cluster.register(registry);
        metrics.kubelet.register(registry);
        metrics.query.register(registry);
        metrics.auth.register_own(registry);
        metrics.certificate.register(registry);
        metrics.ca.register(registry);
        metrics.watch.register(registry);
        registry.register(
            "failed_tls_handshakes",
            "TLS handshakes of agents that failed or took too long",
            metrics.failed_handshakes.clone(),
        );
        metrics
    }

    /// A counter that stands at zero can be alerted on; one that is not there cannot.
    fn begin_at_zero(&self) {
        self.ca.begin_at_zero();
        for resource in [Cluster::PODS, Cluster::NODES] {
            let _ = self.cluster.of(resource);
        }
        for reason in ingest::REASONS {
            let _ = self.ingest.ended.get_or_create(&ReasonLabel { reason });
        }
        for refusal in Refusal::ALL {
            let _ = self.ingest.refused.get_or_create(&ReasonLabel { reason: refusal.as_str() });
        }
        let _ = self.ingest.refused_announcements.get_or_create(&ReasonLabel { reason: ingest::FOREIGN_POD });
        for what in ["message", "field", "subject", "detail", "reason"] {
            let _ = self.ingest.unknown.get_or_create(&WhatLabel { what });
        }
        for reason in OmissionReason::ALL {
            let _ = self.ingest.omitted.get_or_create(&ReasonLabel { reason: reason.as_str() });
        }
        for reason in Omission::ALL {
            let _ = self.served.omitted.get_or_create(&ReasonLabel { reason: reason.as_str() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use kubevitals_agent::exposition::exposition;

    use super::*;

    /// Everything we have, read as a strict scraper would.
    #[test]
    fn c119_every_metric_is_valid_in_the_older_form() {
        let (_, text) = exposition(&Registered::default().registry, None).unwrap();
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        let mut samples = BTreeSet::new();
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                assert!(["counter", "gauge", "histogram", "untyped"].contains(&kind), "{line}");
                assert_eq!(types.insert(name, kind), None, "twice: {name}");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(samples.insert(series), "twice: {series}");
                let name = series.split('{').next().unwrap();
                let family = ["", "_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| types.get(name.strip_suffix(suffix)?));
                assert!(family.is_some(), "no type: {line}");
            }
        }
        assert!(types.len() > 20);
    }
}
