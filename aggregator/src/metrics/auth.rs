//! What authentication and authorization count, under the names that dashboards of Kubernetes' own servers use.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

/// A counter whose name does not end in `_total`, because dashboards know it without.
#[derive(Clone, Debug, Default)]
struct BareCounter(Counter);

impl TypedMetric for BareCounter {
    const TYPE: MetricType = MetricType::Unknown;
}

impl EncodeMetric for BareCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Calls of one kind of review.
#[derive(Clone, Debug)]
pub struct Reviews {
    calls: Family<CodeLabel, Counter>,
    took: Family<CodeLabel, Histogram, fn() -> Histogram>,
}

impl Default for Reviews {
    fn default() -> Self {
        let took = || Histogram::new([0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0]);
        Self { calls: Family::default(), took: Family::new_with_constructor(took) }
    }
}

impl Reviews {
    /// Counts a call; `None` when no answer came.
    pub fn called(&self, code: Option<StatusCode>, took: Duration) {
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.as_str().to_owned());
        let label = CodeLabel { code };
        self.calls.get_or_create(&label).inc();
        self.took.get_or_create(&label).observe(took.as_secs_f64());
    }
}

/// A cache of reviews.
#[derive(Clone, Debug, Default)]
pub struct TokenCache {
    requests: Family<StatusLabel, Counter>,
    fetches: Family<StatusLabel, Counter>,
}

impl TokenCache {
    /// What was found.
    #[must_use]
    pub fn hits(&self) -> Counter {
        self.requests.get_or_create_owned(&StatusLabel { status: "hit" })
    }

    /// What was not.
    #[must_use]
    pub fn misses(&self) -> Counter {
        self.requests.get_or_create_owned(&StatusLabel { status: "miss" })
    }

    /// Counts a look-up.
    pub fn fetched(&self, succeeded: bool) {
        let status = if succeeded { "ok" } else { "error" };
        self.fetches.get_or_create(&StatusLabel { status }).inc();
    }
}

/// Requests by how authentication ended. Anonymous ones are not counted.
#[derive(Clone, Debug)]
pub struct AuthenticationMetrics {
    attempts: Family<ResultLabel, BareCounter>,
    certificates: Histogram,
}

impl Default for AuthenticationMetrics {
    fn default() -> Self {
        let hours = |hours: f64| hours * 3600.0;
        let days = |days: f64| days * 86400.0;
        let left = [
            0.0,
            hours(0.5),
            hours(1.0),
            hours(2.0),
            hours(6.0),
            hours(12.0),
            days(1.0),
            days(2.0),
            days(4.0),
            days(7.0),
            days(30.0),
            days(90.0),
            days(180.0),
            days(365.0),
        ];
        Self { attempts: Family::default(), certificates: Histogram::new(left) }
    }
}

impl AuthenticationMetrics {
    fn attempt(&self, result: &'static str) {
        self.attempts.get_or_create(&ResultLabel { result }).0.inc();
    }

    /// Somebody was recognised.
    pub fn succeeded(&self) {
        self.attempt("success");
    }

    /// Credentials were wrong, or could not be checked.
    pub fn failed(&self) {
        self.attempt("failure");
    }

    /// A fault of ours.
    pub fn erred(&self) {
        self.attempt("error");
    }

    /// Notes how long the certificate of a request is still valid.
    pub fn certificate(&self, left: Duration) {
        self.certificates.observe(left.as_secs_f64());
    }
}

/// Requests by what was decided. Those that need no decision are not counted.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationMetrics {
    attempts: Family<ResultLabel, Counter>,
}

impl AuthorizationMetrics {
    /// Counts a decision; `None` when there could be none.
    pub fn decided(&self, allowed: Option<bool>) {
        let result = match allowed {
            Some(true) => "allowed",
            Some(false) => "denied",
            None => "error",
        };
        self.attempts.get_or_create(&ResultLabel { result }).inc();
    }
}

/// The `ConfigMap` that says whom to trust.
#[derive(Clone, Debug, Default)]
pub struct TrustMetrics {
    /// Versions taken over.
    pub updates: Counter,
    /// Versions refused, so that the last good one stays.
    pub refused: Counter,
    /// Requests and watches that failed.
    pub errors: Counter,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// Calls for token reviews.
    pub token_reviews: Reviews,
    /// Calls for access reviews.
    pub access_reviews: Reviews,
    /// The cache of token reviews.
    pub token_cache: TokenCache,
    /// The cache of access reviews.
    pub access_cache: TokenCache,
    /// Requests by how authentication ended.
    pub authentication: AuthenticationMetrics,
    /// Requests by what was decided.
    pub authorization: AuthorizationMetrics,
    /// The `ConfigMap`.
    pub trust: TrustMetrics,
}

impl Auth {
    /// Registers those that have the names of Kubernetes' own servers.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.begin_at_zero();
        for (name, reviews) in [
            ("apiserver_delegated_authn", &self.token_reviews),
            ("apiserver_delegated_authz", &self.access_reviews),
        ] {
            registry.register(
                format!("{name}_request"),
                "Calls of kube-apiserver for reviews, by status code",
                reviews.calls.clone(),
            );
            registry.register(
                format!("{name}_request_duration_seconds"),
                "Time such calls took",
                reviews.took.clone(),
            );
        }
        registry.register(
            "authentication_attempts",
            "Requests with credentials, by whether those were good",
            self.authentication.attempts.clone(),
        );
        registry.register(
            "apiserver_client_certificate_expiration_seconds",
            "How long the client certificates of requests were still valid",
            self.authentication.certificates.clone(),
        );
        registry.register(
            "authorization_attempts",
            "Requests that needed a decision, by what was decided",
            self.authorization.attempts.clone(),
        );
        registry.register(
            "authentication_token_cache_request",
            "Tokens looked for in the cache",
            self.token_cache.requests.clone(),
        );
        registry.register(
            "authentication_token_cache_fetch",
            "Tokens reviewed because they were not in the cache",
            self.token_cache.fetches.clone(),
        );
    }

    /// A counter that stands at zero can be alerted on; one that is not there cannot.
    fn begin_at_zero(&self) {
        for cache in [&self.token_cache, &self.access_cache] {
            let _ = (cache.hits(), cache.misses());
        }
        for status in ["ok", "error"] {
            let _ = self.token_cache.fetches.get_or_create(&StatusLabel { status });
        }
        for result in ["success", "failure", "error"] {
            let _ = self.authentication.attempts.get_or_create(&ResultLabel { result });
        }
        for result in ["allowed", "denied", "error"] {
            let _ = self.authorization.attempts.get_or_create(&ResultLabel { result });
        }
    }

    /// Registers ours, in a registry that has our prefix.
    pub(super) fn register_own(&self, registry: &mut Registry) {
        // What stands at zero can be seen.
        let _ = (self.access_cache.hits(), self.access_cache.misses());
        registry.register(
            "authorization_cache_requests",
            "Decisions looked for in the cache",
            self.access_cache.requests.clone(),
        );
        registry.register(
            "trust_updates",
            "Versions of the cluster's authentication ConfigMap taken over",
            self.trust.updates.clone(),
        );
        registry.register(
            "trust_updates_refused",
            "Versions of the cluster's authentication ConfigMap that made no sense; the last good one stays",
            self.trust.refused.clone(),
        );
        registry.register(
            "trust_watch_errors",
            "Requests for the cluster's authentication ConfigMap, and watches, that failed",
            self.trust.errors.clone(),
        );
    }
}
