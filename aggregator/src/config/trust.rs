//! Flags about whom clients trust: the shared authority, and where it is published.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;

use super::resolve::{Faults, duration};
use crate::ca::rotation::Plan;

/// Where a pod finds the name of its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// A rotation takes eight overlaps of the two thirds of a life after which the next one begins.
const OVERLAPS: u32 = 12;

/// As a calendar has them.
const TEN_YEARS: Duration = Duration::from_secs(10 * 31_557_600);

/// Longest name of an object (RFC 1123 subdomain).
const NAME: usize = 253;

/// Our Services, as deploy/ names them; others are given by --server-name.
const SERVICES: [&str; 3] = ["kubevitals-aggregator", "kubevitals-ingest", "kubevitals-query"];

/// Whom clients are told to trust, and how.
#[derive(Debug, Clone, Args)]
pub struct TrustFlags {
    /// Secret with the authority that all replicas share: made when it is not there, rotated by itself; an authority that
    /// somebody else put there (ca.crt, ca.key) is used and never written [default: an authority of this process alone]
    #[arg(long, env = "KUBEVITALS_CA_SECRET", value_name = "NAME")]
    pub ca_secret: Option<String>,
    /// ConfigMap whose key ca.crt is kept as the bundle that agents trust; made when it is not there
    #[arg(long, env = "KUBEVITALS_CA_CONFIG_MAP", value_name = "NAME")]
    pub ca_config_map: Option<String>,
    /// APIService whose caBundle is kept as long as it leads to a Service of our namespace to which our certificate is made
    /// out; may be given more than once or as a list with commas
    #[arg(long, env = "KUBEVITALS_API_SERVICE", value_name = "NAME", value_delimiter = ',')]
    pub api_service: Vec<String>,
    /// Namespace of the Secret, the ConfigMap and our Services [default: that of the pod's service account]
    #[arg(long, env = "KUBEVITALS_NAMESPACE")]
    pub namespace: Option<String>,
    /// PEM file with the authorities of --tls-cert-file, to publish; read again when it changes
    #[arg(long, env = "KUBEVITALS_TLS_CA_FILE")]
    pub tls_ca_file: Option<PathBuf>,
    /// How long an authority that we make for --ca-secret lives; the next one is made at two thirds, 1m to 10y, and at
    /// least 12 times --ca-overlap [default: 8760h]
    #[arg(long, env = "KUBEVITALS_CA_LIFE", default_value = "8760h", hide_default_value = true)]
    pub ca_life: String,
    /// How long a serving certificate by --ca-secret lives; renewed at two thirds, 10s to 8760h [default: 2160h]
    #[arg(long, env = "KUBEVITALS_SERVING_LIFE", default_value = "2160h", hide_default_value = true)]
    pub serving_life: String,
    /// How long a new authority is published before it is relied on: kubelets refresh mounted ConfigMaps within two and
    /// a half minutes, and clocks differ; less is for tests, 5s to 24h [default: 10m]
    #[arg(long, env = "KUBEVITALS_CA_OVERLAP", default_value = "10m", hide_default_value = true)]
    pub ca_overlap: String,
}

/// The shared authority, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretAuthority {
    /// Name of the Secret.
    pub secret: String,
    /// Its namespace.
    pub namespace: String,
    /// Whom certificates are made out to, beside localhost.
    pub names: Vec<String>,
    /// Where to write the bundle.
    pub ca_out: Option<PathBuf>,
    /// Lives.
    pub plan: Plan,
    /// Life of a serving certificate.
    pub serving_life: Duration,
}

/// Where the bundle is published, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publish {
    /// Namespace and name of the `ConfigMap`.
    pub config_map: Option<(String, String)>,
    /// Names of `APIService`s.
    pub api_services: Vec<String>,
    /// Where the Service is that they lead to when they are ours; none when nobody says so.
    pub namespace: Option<String>,
    /// How long what others published is kept.
    pub overlap: Duration,
}

impl Publish {
    /// Whether there is anything to write.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.config_map.is_some() || !self.api_services.is_empty()
    }
}

impl TrustFlags {
    /// Whether a cluster is to be asked.
    pub(super) fn is_of_cluster(&self) -> bool {
        self.ca_secret.is_some() || self.ca_config_map.is_some() || !self.api_service.is_empty()
    }

    /// The shared authority, when there is to be one, with `names` for its certificates.
    pub(super) fn secret(
        &self,
        names: &[String],
        ca_out: Option<&PathBuf>,
        faults: &mut Faults,
    ) -> Option<SecretAuthority> {
        let overlap = self.overlap(faults);
        let least = (overlap.unwrap_or_default() * OVERLAPS).max(Duration::from_secs(60));
        let life = faults.take(duration("--ca-life", &self.ca_life, least, TEN_YEARS));
        let shortest = Duration::from_secs(10);
        let serving =
            faults.take(duration("--serving-life", &self.serving_life, shortest, Duration::from_hours(8760)));
        let secret = self.ca_secret.as_ref()?;
        let secret = faults.take(object_name("--ca-secret", secret));
        let namespace = faults.take(self.namespace("--ca-secret"));
        let namespace = namespace?;
        Some(SecretAuthority {
            secret: secret?,
            names: service_names(&namespace).chain(names.iter().cloned()).collect(),
            namespace,
            ca_out: ca_out.cloned(),
            plan: Plan { life: life?, overlap: overlap? },
            serving_life: serving?,
        })
    }

    /// Where to publish.
    pub(super) fn publish(&self, faults: &mut Faults) -> Option<Publish> {
        let overlap = duration_of_overlap(&self.ca_overlap).ok();
        let has_bundle = self.ca_secret.is_some() || self.tls_ca_file.is_some();
        for (flag, is_given) in [
            ("--ca-config-map", self.ca_config_map.is_some()),
            ("--api-service", !self.api_service.is_empty()),
        ] {
            if is_given && !has_bundle {
                faults.add(&format!("{flag}: goes with --ca-secret or --tls-ca-file only"));
            }
        }
        let mut config_map = None;
        if let Some(name) = &self.ca_config_map {
            let namespace = faults.take(self.namespace("--ca-config-map"));
            config_map = namespace.zip(faults.take(object_name("--ca-config-map", name)));
        }
        let services =
            self.api_service.iter().filter_map(|name| faults.take(object_name("--api-service", name)));
        let api_services = services.collect();
        let namespace = self.namespace("--api-service").ok();
        Some(Publish { config_map, api_services, namespace, overlap: overlap? })
    }

    fn overlap(&self, faults: &mut Faults) -> Option<Duration> {
        faults.take(duration_of_overlap(&self.ca_overlap))
    }

    fn namespace(&self, flag: &str) -> Result<String, String> {
        let name = match &self.namespace {
            Some(name) => name.clone(),
            None => fs::read_to_string(NAMESPACE_FILE)
                .map_err(|_| format!("--namespace: required with {flag} outside of a cluster"))?,
        };
        object_name("--namespace", name.trim())
    }
}

fn duration_of_overlap(text: &str) -> Result<Duration, String> {
    duration("--ca-overlap", text, Duration::from_secs(5), Duration::from_hours(24))
}

/// Every name that our Services have within a cluster.
fn service_names(namespace: &str) -> impl Iterator<Item = String> {
    let forms = |service: &str| {
        [
            String::new(),
            format!(".{namespace}"),
            format!(".{namespace}.svc"),
            format!(".{namespace}.svc.cluster.local"),
        ]
        .map(|rest| format!("{service}{rest}"))
    };
    SERVICES.into_iter().flat_map(forms).collect::<Vec<_>>().into_iter()
}

/// A name that can stand in a path.
fn object_name(flag: &str, name: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        let inner =
            part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    let is_name = name.len() <= NAME && name.split('.').all(is_part);
    if is_name { Ok(name.to_owned()) } else { Err(format!("{flag}: {name:?} is no name of an object")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_made_out_to_our_services_in_every_form() {
        let names: Vec<String> = service_names("ns").collect();
        for name in [
            "kubevitals-aggregator.ns.svc",
            "kubevitals-ingest.ns.svc.cluster.local",
            "kubevitals-ingest",
            "kubevitals-query.ns",
        ] {
            assert!(names.contains(&name.to_owned()), "{name} not in {names:?}");
        }
        assert_eq!(names.len(), 12);
    }

    #[test]
    fn names_of_objects_are_checked_before_they_stand_in_paths() {
        for name in ["kubevitals-ca", "v1.metrics.k8s.io", "a"] {
            assert_eq!(object_name("--x", name), Ok(name.to_owned()));
        }
        for name in ["", "a/b", "..", "A", "-a", "a-", "a..b", "a b", &"a".repeat(NAME + 1)] {
            assert!(object_name("--x", name).is_err(), "{name:?}");
        }
    }
}
