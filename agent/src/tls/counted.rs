//! What the upkeep of the serving certificate counts.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

/// The serving certificate.
#[derive(Clone, Debug, Default)]
pub struct Certificate {
    /// When it expires, seconds since 1970.
    pub expiry: Gauge,
    /// Times that another one took its place.
    pub replacements: Counter,
    /// Times that there was another one and it could not be used.
    pub faults: Counter,
}

impl Certificate {
    /// Registers them, in a registry that has the program's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "serving_certificate_expiry_timestamp",
            "When the serving certificate expires",
            Unit::Seconds,
            self.expiry.clone(),
        );
        registry.register(
            "serving_certificate_replacements",
            "New certificates taken into service",
            self.replacements.clone(),
        );
        registry.register(
            "serving_certificate_faults",
            "New certificates that could not be used",
            self.faults.clone(),
        );
    }
}
