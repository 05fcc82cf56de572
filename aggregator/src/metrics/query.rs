//! What the query service counts. Labels are methods of the contract and codes of gRPC, never what a caller chose.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Told {
    method: &'static str,
    what: &'static str,
}

/// What the query service counts. Clones share it.
#[derive(Clone, Debug)]
pub struct Query {
    answered: Family<Answered, Counter>,
    took: Family<MethodLabel, Histogram, fn() -> Histogram>,
    in_flight: Family<MethodLabel, Gauge>,
    items: Family<Told, Counter>,
    /// TLS handshakes of clients that failed or took too long.
    pub failed_handshakes: Counter,
}

impl Default for Query {
    fn default() -> Self {
        // Lists take milliseconds; no request but a stream may take more than a minute.
        let took = || {
            Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
            ])
        };
        let metrics = Self {
            answered: Family::default(),
            took: Family::new_with_constructor(took),
            in_flight: Family::default(),
            items: Family::default(),
            failed_handshakes: Counter::default(),
        };
        metrics.begin_at_zero();
        metrics
    }
}

/// The methods that answer once, in the order of the contract.
const METHODS: [&str; 3] = ["list", "explain", "raw"];

impl Query {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "query_requests",
            "Requests of the query service by method and gRPC code",
            self.answered.clone(),
        );
        registry.register_with_unit(
            "query_request_duration",
            "Time from a request to the end of its answer; streams are left out",
            Unit::Seconds,
            self.took.clone(),
        );
        registry.register(
            "query_in_flight",
            "Requests and streams of the query service that are being answered",
            self.in_flight.clone(),
        );
        registry.register(
            "query_items",
            "What lists told: subjects with numbers, and those that had none",
            self.items.clone(),
        );
        registry.register(
            "query_tls_handshake_errors",
            "TLS handshakes on the port for queries that failed or took too long",
            self.failed_handshakes.clone(),
        );
    }

    /// What will surely be counted is there from the start, so that its first increase is seen.
    fn begin_at_zero(&self) {
        for method in METHODS {
            let _ = self.took.get_or_create(&MethodLabel { method });
        }
        for method in METHODS.into_iter().chain(["watch"]) {
            let _ = self.answered.get_or_create(&Answered { method, code: "OK" });
            let _ = self.in_flight(method);
        }
        self.told("list", 0, 0);
    }

    /// Requests of a method that are being answered.
    #[must_use]
    pub fn in_flight(&self, method: &'static str) -> Gauge {
        self.in_flight.get_or_create_owned(&MethodLabel { method })
    }

    /// Counts a request that is over. `took` is none for streams, which last as long as their callers like.
    pub fn answered(&self, method: &'static str, code: &'static str, took: Option<Duration>) {
        self.answered.get_or_create(&Answered { method, code }).inc();
        if let Some(took) = took {
            self.took.get_or_create(&MethodLabel { method }).observe(took.as_secs_f64());
        }
    }

    /// Counts what an answer holds.
    pub fn told(&self, method: &'static str, usages: usize, absent: usize) {
        for (what, count) in [("usage", usages), ("absent", absent)] {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.items.get_or_create(&Told { method, what }).inc_by(count);
        }
    }
}
