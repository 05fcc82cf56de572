//! Every metric the agent has of its own. Labels are enums, never names.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kubevitals::chain::OmissionReason;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{
    exporter::{LeftOut, Omissions},
    history::Depth,
    sampler::Report,
    stream::EndedBy,
};

/// A label for why something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Handles to all metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    ticks: Counter,
    missed: Counter,
    sweep: Histogram,
    series: Gauge,
    named_series: Gauge,
    candidates: Gauge,
    omitted: Family<ReasonLabel, Counter>,
    history_batches: Gauge,
    history_bytes: Gauge,
    wall_ahead: Gauge<f64, AtomicU64>,
    kept_descriptors: Gauge,
    on_demand: Gauge,
    /// Streams by state.
    pub streams: Streams,
    /// What scrapers get.
    pub exporter: Exporter,
    /// When the last tick was, microseconds of the boot clock; 0 before the first.
    last_tick: Arc<AtomicU64>,
}

/// What the exporter reports.
#[derive(Clone, Debug, Default)]
pub struct Exporter {
    /// Series left out of the page made last, by reason.
    left_out: Family<ReasonLabel, Gauge>,
}

impl Exporter {
    /// Takes over what was left out of a page.
    pub fn left_out(&self, omitted: Omissions) {
        for (reason, count) in LeftOut::ALL.into_iter().zip(omitted) {
            self.left_out.get_or_create(&ReasonLabel { reason: reason.as_str() }).set(to_gauge(count));
        }
    }

    fn register(&self, registry: &mut Registry) {
        self.left_out(Omissions::default());
        registry.register(
            "exporter_left_out_series",
            "Live series that are not on the page made last",
            self.left_out.clone(),
        );
    }
}

/// What the streams report.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// Aggregators known by name resolution or configuration.
    pub targets: Gauge,
    /// Streams that are open.
    pub open: Gauge,
    /// Batches sent but not covered by the acknowledgement that came last.
    pub lag: Gauge,
    /// Payload bytes handed to the network.
    pub bytes: Counter,
    /// Streams that ended, by reason.
    ended: Family<ReasonLabel, Counter>,
    /// Snapshots sent because an aggregator could not resume.
    pub snapshots: Counter,
    /// Batches an aggregator can never get because the history no longer holds them.
    pub lost: Counter,
    /// Messages of an aggregator that this version does not know.
    pub unknown_messages: Counter,
    /// Pods whose names an aggregator told wrongly.
    pub odd_identities: Counter,
}

impl Streams {
    /// Counts a stream that ended or never opened.
    pub fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabel { reason }).inc();
    }
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("kubevitals_agent");
        registry.register("build", "Version of the agent", Info::new([("version", kubevitals::VERSION)]));
        let metrics = Self {
            ticks: Counter::default(),
            missed: Counter::default(),
            sweep: Histogram::new([
                0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
            ]),
            series: Gauge::default(),
            named_series: Gauge::default(),
            candidates: Gauge::default(),
            omitted: Family::default(),
            history_batches: Gauge::default(),
            history_bytes: Gauge::default(),
            wall_ahead: Gauge::default(),
            kept_descriptors: Gauge::default(),
            on_demand: Gauge::default(),
            streams: Streams::default(),
            exporter: Exporter::default(),
            last_tick: Arc::default(),
        };
        // A counter that stands at zero can be alerted on; one that is not there cannot.
        for reason in OmissionReason::ALL {
            let _ = metrics.omitted.get_or_create(&ReasonLabel { reason: reason.as_str() });
        }
        for reason in EndedBy::ALL {
            let _ = metrics.streams.ended.get_or_create(&ReasonLabel { reason: reason.as_str() });
        }
        metrics.register_sampling(registry);
        metrics.streams.register(registry);
        metrics.exporter.register(registry);
        metrics
    }

    fn register_sampling(&self, registry: &mut Registry) {
        registry.register("ticks", "Ticks done", self.ticks.clone());
        registry.register("missed_ticks", "Ticks that could not be kept", self.missed.clone());
        registry.register_with_unit(
            "sweep",
            "Time to read all counters once",
            Unit::Seconds,
            self.sweep.clone(),
        );
        registry.register("series", "Live series: the node, pods and containers", self.series.clone());
        registry.register(
            "named_series",
            "Live series of which an aggregator told pod and container",
            self.named_series.clone(),
        );
        registry.register(
            "candidate_cgroups",
            "Cgroups found without processes or not readable yet",
            self.candidates.clone(),
        );
        registry.register("omitted_readings", "Readings left out of a tick", self.omitted.clone());
        registry.register("history_batches", "Batches kept for replay", self.history_batches.clone());
        registry.register_with_unit(
            "history_size",
            "Size of the batches kept for replay",
            Unit::Bytes,
            self.history_bytes.clone(),
        );
        registry.register_with_unit(
            "wall_clock_ahead",
            "How far published timestamps are ahead of the clock after it was set back",
            Unit::Seconds,
            self.wall_ahead.clone(),
        );
        registry.register(
            "cgroups_with_kept_descriptors",
            "Cgroups read through kept descriptors",
            self.kept_descriptors.clone(),
        );
        registry.register(
            "cgroups_opened_on_demand",
            "Cgroups opened for each reading because descriptors are short",
            self.on_demand.clone(),
        );
    }

    /// Takes over what a tick reports.
    pub fn ticked(&self, report: &Report, missed: u64, depth: Depth) {
        self.ticks.inc();
        self.missed.inc_by(missed);
        self.sweep.observe(report.sweep.as_secs_f64());
        self.series.set(to_gauge(report.series));
        self.candidates.set(to_gauge(report.candidates));
        for (reason, count) in OmissionReason::ALL.into_iter().zip(report.omitted) {
            if count > 0 {
                self.omitted.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc_by(count.into());
            }
        }
        self.history_batches.set(to_gauge(depth.batches));
        self.history_bytes.set(to_gauge(depth.bytes));
        self.wall_ahead.set(report.wall_ahead.as_secs_f64());
        self.last_tick.store(report.time.0, Ordering::Relaxed);
    }

    /// Of how many series the names are known.
    pub fn named(&self, series: usize) {
        self.named_series.set(to_gauge(series));
    }

    /// How the cgroups are read.
    pub fn descriptors(&self, kept: usize, on_demand: usize) {
        self.kept_descriptors.set(to_gauge(kept));
        self.on_demand.set(to_gauge(on_demand));
    }

    /// When the last tick was, microseconds of the boot clock; `None` before the first.
    #[must_use]
    pub fn last_tick(&self) -> Option<u64> {
        Some(self.last_tick.load(Ordering::Relaxed)).filter(|&time| time > 0)
    }
}

impl Streams {
    fn register(&self, registry: &mut Registry) {
        registry.register("stream_targets", "Aggregators to stream to", self.targets.clone());
        registry.register("streams_open", "Open streams", self.open.clone());
        registry.register(
            "stream_lag_batches",
            "Batches sent but not covered by the acknowledgement that came last",
            self.lag.clone(),
        );
        registry.register_with_unit(
            "stream_payload",
            "Payload handed to the network",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register("streams_ended", "Streams that ended or failed to open", self.ended.clone());
        registry.register(
            "stream_snapshots",
            "Snapshots sent to aggregators that could not resume",
            self.snapshots.clone(),
        );
        registry.register(
            "stream_lost_batches",
            "Batches that fell out of the history before an aggregator took them",
            self.lost.clone(),
        );
        registry.register(
            "stream_unknown_messages",
            "Messages of an aggregator that this version does not know",
            self.unknown_messages.clone(),
        );
        registry.register(
            "stream_odd_identities",
            "Pods whose names, as an aggregator told them, cannot be names",
            self.odd_identities.clone(),
        );
    }
}

fn to_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
