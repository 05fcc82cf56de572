//! What the listener for scrapers counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::access::Means;
use crate::tls::counted::Certificate;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    page: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MeansLabel {
    by: &'static str,
}

/// How a review of a token ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// It may read.
    Allowed,
    /// It is somebody's who may not.
    Forbidden,
    /// It is nobody's.
    Unauthenticated,
    /// No aggregator answered, and a verdict that is older than usual counts on.
    Held,
    /// No aggregator answered.
    Failed,
    /// Not asked, because unknown tokens are shown too often.
    Limited,
}

impl Reviewed {
    const ALL: [Self; 6] =
        [Self::Allowed, Self::Forbidden, Self::Unauthenticated, Self::Held, Self::Failed, Self::Limited];

    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Forbidden => "forbidden",
            Self::Unauthenticated => "unauthenticated",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Limited => "limited",
        }
    }
}

/// Handles; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    requests: Family<RequestLabels, Counter>,
    admitted: Family<MeansLabel, Counter>,
    reviews: Family<OutcomeLabel, Counter>,
    /// Handshakes that failed, and connections that were one too many of their address.
    pub failed_handshakes: Counter,
    /// Times that the file of tokens or of authorities could not be used.
    pub credential_faults: Counter,
    /// The serving certificate.
    pub certificate: Certificate,
}

impl Counted {
    /// Registers everything. Only where there is a listener: without one, nothing of it has a value.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("kubevitals_agent_exporter");
        let counted = Self::default();
        // A counter that stands at zero can be alerted on; one that is not there cannot.
        for reviewed in Reviewed::ALL {
            let _ = counted.reviews.get_or_create(&OutcomeLabel { outcome: reviewed.as_str() });
        }
        for means in Means::ALL {
            let _ = counted.admitted.get_or_create(&MeansLabel { by: means.as_str() });
        }
        registry.register("requests", "Requests of scrapers, by page and status", counted.requests.clone());
        registry.register(
            "admitted_requests",
            "Requests that were let in, by what was shown",
            counted.admitted.clone(),
        );
        registry.register(
            "reviews",
            "Tokens of the cluster that were not known and how their review ended",
            counted.reviews.clone(),
        );
        registry.register(
            "failed_handshakes",
            "TLS handshakes that failed, and connections that were one too many of their address",
            counted.failed_handshakes.clone(),
        );
        registry.register(
            "credential_faults",
            "Times that a new file of tokens or authorities could not be used",
            counted.credential_faults.clone(),
        );
        counted.certificate.register(registry);
        counted
    }

    /// Counts an answer.
    pub fn answered(&self, page: &'static str, code: u16) {
        self.requests.get_or_create(&RequestLabels { page, code }).inc();
    }

    /// Counts a request that was let in.
    pub fn admitted(&self, means: Means) {
        self.admitted.get_or_create(&MeansLabel { by: means.as_str() }).inc();
    }

    /// Counts a review.
    pub fn reviewed(&self, reviewed: Reviewed) {
        self.reviews.get_or_create(&OutcomeLabel { outcome: reviewed.as_str() }).inc();
    }
}
