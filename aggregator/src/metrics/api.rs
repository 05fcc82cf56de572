//! What the API counts, under the names that dashboards of Kubernetes' own servers use.
//!
//! Every label is from a closed set, so nobody can make more series by asking for what does not exist.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Asked {
    /// `GET`, `LIST`, `WATCH`, or another method; `other` for those that Kubernetes does not know.
    pub verb: &'static str,
    /// API group; empty for core and for paths that are not about objects.
    pub group: &'static str,
    /// Version in that group.
    pub version: &'static str,
    /// Plural.
    pub resource: &'static str,
    /// For paths that are not about objects: the first part of the path; empty for unknown ones.
    pub subresource: &'static str,
}

/// What a request asked for and got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    request_kind: &'static str,
}

type Histograms = Family<Asked, Histogram, fn() -> Histogram>;

/// What the API counts. Clones share it.
#[derive(Clone, Debug)]
pub struct Api {
    requests: Family<Answered, Counter>,
    took: Histograms,
    sizes: Histograms,
    in_flight: Family<KindLabel, Gauge>,
    /// TLS handshakes of clients that failed or took too long.
    pub failed_handshakes: Counter,
}

impl Default for Api {
    fn default() -> Self {
        // Most answers take well under a millisecond; no request may take more than a minute.
        let took = || {
            Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
                60.0,
            ])
        };
        let sizes = || Histogram::new([1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]);
        Self {
            requests: Family::default(),
            took: Family::new_with_constructor(took),
            sizes: Family::new_with_constructor(sizes),
            in_flight: Family::default(),
            failed_handshakes: Counter::default(),
        }
    }
}

impl Api {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_request",
            "Requests by what they asked for and the code of the answer; 499 where the client left before it",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "apiserver_request_duration",
            "Time from a request to the end of its answer",
            Unit::Seconds,
            self.took.clone(),
        );
        registry.register("apiserver_response_sizes", "Size of bodies in bytes", self.sizes.clone());
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are being answered, probes apart",
            self.in_flight.clone(),
        );
        registry.register(
            "apiserver_tls_handshake_errors",
            "TLS handshakes on the API's port that failed or took too long",
            self.failed_handshakes.clone(),
        );
        self.in_flight().set(0);
    }

    /// Requests that are being answered.
    #[must_use]
    pub fn in_flight(&self) -> Gauge {
        // All of them read.
        self.in_flight.get_or_create_owned(&KindLabel { request_kind: "readOnly" })
    }

    /// Counts an answer that is complete, or was left by its client.
    pub fn answered(&self, asked: Asked, code: u16, took: Duration, bytes: u64) {
        let Asked { verb, group, version, resource, subresource } = asked;
        let answered = Answered { verb, group, version, resource, subresource, code };
        self.requests.get_or_create(&answered).inc();
        self.took.get_or_create(&asked).observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "sizes up to 8 PiB are exact")]
        self.sizes.get_or_create(&asked).observe(bytes as f64);
    }
}
