//! What looking after the shared authority counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::ca::rotation::Step;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

/// An object that flags name, so there are as few as flags.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabel {
    target: String,
}

/// The shared authority.
#[derive(Clone, Debug, Default)]
pub struct Ca {
    /// When the authority that signs expires, seconds since 1970.
    pub expiry: Gauge,
    /// Certificates that clients are told to trust.
    pub certificates: Gauge,
    steps: Family<StepLabel, Counter>,
    /// Times that the Secret, or the file with the authority, could not be read, written, or made sense of.
    pub errors: Counter,
    published: Family<TargetLabel, Gauge>,
    writes: Family<TargetLabel, Counter>,
    publish_errors: Family<TargetLabel, Counter>,
}

/// One object that carries the bundle.
#[derive(Clone, Debug)]
pub struct Target {
    /// 1 while it says what it should.
    pub published: Gauge,
    /// Times it was written.
    pub writes: Counter,
    /// Times it could not be read or written.
    pub errors: Counter,
}

impl Ca {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "ca_expiry_timestamp",
            "When the shared authority that signs serving certificates expires",
            Unit::Seconds,
            self.expiry.clone(),
        );
        registry.register(
            "ca_bundle_certificates",
            "Certificates that clients are told to trust",
            self.certificates.clone(),
        );
        registry.register(
            "ca_rotation_steps",
            "Changes of the shared authority that this replica wrote",
            self.steps.clone(),
        );
        registry.register(
            "ca_errors",
            "Times the authority's Secret or file could not be read, written or understood",
            self.errors.clone(),
        );
        registry.register("ca_published", "Whether an object holds the bundle", self.published.clone());
        registry.register(
            "ca_publications",
            "Times the bundle was written to an object",
            self.writes.clone(),
        );
        registry.register(
            "ca_publish_errors",
            "Times an object with the bundle could not be read or written",
            self.publish_errors.clone(),
        );
    }

    pub(super) fn begin_at_zero(&self) {
        for step in Step::ALL {
            let _ = self.steps.get_or_create(&StepLabel { step: step.as_str() });
        }
    }

    /// Counts a step.
    pub fn stepped(&self, step: Step) {
        self.steps.get_or_create(&StepLabel { step: step.as_str() }).inc();
    }

    /// What an object counts.
    #[must_use]
    pub fn target(&self, name: &str) -> Target {
        let label = TargetLabel { target: name.to_owned() };
        Target {
            published: self.published.get_or_create_owned(&label),
            writes: self.writes.get_or_create_owned(&label),
            errors: self.publish_errors.get_or_create_owned(&label),
        }
    }
}
