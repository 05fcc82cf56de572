//! Telling clients whom to trust: one `ConfigMap` that agents mount, and `APIService`s that API servers go by.
//!
//! Only the bundle is written, and for an `APIService` that its certificate is to be verified; everything else of the objects
//! is somebody else's. An `APIService` that leads to a Service of another namespace, or to one that our certificate is not made
//! out to, is left alone: whoever answers there, such as a metrics-server that is still to be replaced, would not be believed
//! any more. They are looked at every few seconds rather than watched: that finds what another writer changed as
//! well, costs each replica one small read per object and look, and bounds how often we write whoever writes against us.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    ByteString, api::core::v1::ConfigMap, kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{
    bundle::Bundle,
    held::Held,
    rotation::Publication,
    store::{CallError, call},
};
use crate::{metrics::ca::Target as Metrics, tls::Serving};

/// The key of the `ConfigMap` that holds the bundle.
pub const CONFIG_MAP_KEY: &str = "ca.crt";

/// An object that is not there is looked for again after this long. An `APIService` that is installed later works within
/// this time; a `ConfigMap` is created at once.
const MISSING: Duration = Duration::from_secs(60);

/// A field manager's name, as `kubectl get --show-managed-fields` shows it.
const MANAGER: &str = "kubevitals-aggregator";

/// Where a bundle stands in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ConfigMap,
    ApiService,
}

/// What an object says at present.
#[derive(Debug)]
pub struct Seen {
    version: String,
    /// Empty where there is none, or none that can be read.
    bundle: Bundle,
    /// Whether the object says more or less than its bundle should.
    is_odd: bool,
    /// Whether it leads to somebody else.
    is_foreign: bool,
}

/// One object that carries the bundle.
#[derive(Debug)]
pub struct Target {
    kind: Kind,
    api: Api<DynamicObject>,
    name: String,
    /// The namespace of the Service that an `APIService` of ours leads to; none when that is not known.
    namespace: Option<String>,
    /// What we show to whoever comes by that Service.
    serving: Option<Arc<Serving>>,
    held: Held,
    /// When to look for it again, once it was missing.
    absent_until: Option<Instant>,
    /// The last fault, until all was well again.
    trouble: Option<CallError>,
    /// What we wrote last, and whether somebody wrote against it since.
    written: Option<Bundle>,
    is_contested: bool,
    /// Whether it led to somebody else when it was last looked at.
    is_foreign: bool,
    metrics: Metrics,
}

/// Whether an `APIService` leads to a Service of another namespace or another Service of ours, or is kube-apiserver's own.
fn is_foreign(object: &DynamicObject, ours: &str, serving: Option<&Serving>) -> bool {
    let service = object.data.get("spec").and_then(|spec| spec.get("service"));
    let field = |name| service.and_then(|service| service.get(name)).and_then(Value::as_str);
    let name = field("name").unwrap_or_default();
    // The name that kube-apiserver asks for.
    let is_shown = |serving: &Serving| serving.is_for(&format!("{name}.{ours}.svc"));
    field("namespace") != Some(ours) || !serving.is_none_or(is_shown)
}

impl Target {
    /// The `ConfigMap`.
    #[must_use]
    pub fn config_map(client: Client, namespace: &str, name: &str, metrics: Metrics) -> Self {
        let resource = ApiResource::erase::<ConfigMap>(&());
        Self::new(Kind::ConfigMap, Api::namespaced_with(client, namespace, &resource), name, metrics)
    }

    /// An `APIService`, as far as it leads to `namespace`.
    #[must_use]
    pub fn api_service(client: Client, name: &str, namespace: Option<&str>, metrics: Metrics) -> Self {
        let resource = ApiResource::erase::<APIService>(&());
        let target = Self::new(Kind::ApiService, Api::all_with(client, &resource), name, metrics);
        Self { namespace: namespace.map(ToOwned::to_owned), ..target }
    }

    /// The same, as far as what is shown there is `serving`.
    pub(super) fn serve(&mut self, serving: &Arc<Serving>) {
        self.serving = Some(Arc::clone(serving));
    }

    fn new(kind: Kind, api: Api<DynamicObject>, name: &str, metrics: Metrics) -> Self {
        Self {
            kind,
            api,
            name: name.to_owned(),
            namespace: None,
            serving: None,
            held: Held::default(),
            absent_until: None,
            trouble: None,
            written: None,
            is_contested: false,
            is_foreign: false,
            metrics,
        }
    }

    /// As in logs.
    fn label(&self) -> String {
        let kind = if self.kind == Kind::ConfigMap { "configmap" } else { "apiservice" };
        format!("{kind}/{}", self.name)
    }

    /// Looks at it (`get`); `None` when it is not there.
    pub async fn look(&self) -> Result<Option<Seen>, CallError> {
        if self.absent_until.is_some_and(|until| Instant::now() < until) {
            return Ok(None);
        }
        Ok(call(self.api.get_opt(&self.name)).await?.map(|object| self.read(&object)))
    }

    fn read(&self, object: &DynamicObject) -> Seen {
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let field = |name| object.data.get(name);
        let (text, is_insecure) = match self.kind {
            Kind::ConfigMap => {
                let text = field("data").and_then(|data| data.get(CONFIG_MAP_KEY)?.as_str());
                (text.map(|text| text.as_bytes().to_vec()), false)
            }
            Kind::ApiService => {
                let spec = |name| field("spec")?.get(name).cloned();
                let bytes = spec("caBundle").and_then(|bundle| serde_json::from_value(bundle).ok());
                let is_insecure = spec("insecureSkipTLSVerify") == Some(Value::Bool(true));
                (bytes.map(|ByteString(bytes)| bytes), is_insecure)
            }
        };
        let parsed = Bundle::parse(&text.unwrap_or_default());
        let is_odd = is_insecure || parsed.is_err();
        let serving = self.serving.as_deref();
        let is_foreign = self.namespace.as_deref().is_some_and(|ours| is_foreign(object, ours, serving));
        Seen { version, is_odd, is_foreign, bundle: parsed.unwrap_or_default() }
    }

    /// Makes it say what it should, where it does not (`patch`, and `create` for a `ConfigMap`). `seen` was looked at before
    /// `ours` was: what somebody newer wrote in between is not overwritten.
    pub async fn publish(
        &mut self,
        seen: Result<Option<Seen>, CallError>,
        ours: &Bundle,
        is_newest: bool,
        keep: Duration,
    ) {
        let outcome = match seen {
            Err(error) => Err(error),
            Ok(None) => self.absent(ours).await,
            Ok(Some(seen)) if seen.is_foreign => {
                self.foreign();
                Ok(())
            }
            Ok(Some(seen)) => self.correct(&seen, ours, is_newest, keep).await,
        };
        match outcome {
            // The next look sees what the other one wrote.
            Ok(()) | Err(CallError::Conflict) => self.recovered(),
            Err(error) => self.failed(error),
        }
    }

    async fn correct(
        &mut self,
        seen: &Seen,
        ours: &Bundle,
        is_newest: bool,
        keep: Duration,
    ) -> Result<(), CallError> {
        self.absent_until = None;
        self.is_foreign = false;
        let wanted = self.held.merge(ours, &seen.bundle, is_newest, Instant::now(), keep);
        if !seen.is_odd && wanted.same_as(&seen.bundle) {
            self.metrics.published.set(1);
            self.is_contested = false;
            return Ok(());
        }
        self.metrics.published.set(0);
        let is_contested = self.written.as_ref() == Some(&wanted);
        if is_contested && !self.is_contested {
            tracing::warn!(
                object = self.label(),
                "another writer takes the ca bundle away; writing it again"
            );
        }
        self.is_contested = is_contested;
        let patch = self.patch(&seen.version, &wanted);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        call(self.api.patch(&self.name, &params, &Patch::Merge(&patch))).await?;
        self.wrote(wanted);
        Ok(())
    }

    fn wrote(&mut self, bundle: Bundle) {
        self.metrics.writes.inc();
        self.metrics.published.set(1);
        if !self.is_contested {
            tracing::info!(
                object = self.label(),
                certificates = bundle.certificates().len(),
                "ca bundle published"
            );
        }
        self.written = Some(bundle);
    }

    fn patch(&self, version: &str, bundle: &Bundle) -> Value {
        let (metadata, pem) = (json!({"resourceVersion": version}), bundle.pem());
        match self.kind {
            Kind::ConfigMap => json!({"metadata": metadata, "data": {CONFIG_MAP_KEY: pem}}),
            // The field is taken out, which means false.
            Kind::ApiService => json!({"metadata": metadata,
                "spec": {"caBundle": ByteString(pem.into_bytes()), "insecureSkipTLSVerify": null}}),
        }
    }

    fn foreign(&mut self) {
        self.absent_until = None;
        self.metrics.published.set(0);
        if !self.is_foreign {
            self.is_foreign = true;
            tracing::info!(object = self.label(), "leads to another Service, so it is left alone");
        }
    }

    /// A `ConfigMap` is made; an `APIService` is for whoever installs us to make.
    async fn absent(&mut self, ours: &Bundle) -> Result<(), CallError> {
        self.metrics.published.set(0);
        if self.kind == Kind::ApiService {
            if self.absent_until.is_none() {
                tracing::warn!(object = self.label(), "not installed, so nothing is published there");
            }
            if self.absent_until.is_none_or(|until| Instant::now() >= until) {
                self.absent_until = Some(Instant::now() + MISSING);
            }
            return Ok(());
        }
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name},
            "data": {CONFIG_MAP_KEY: ours.pem()}});
        let object = serde_json::from_value(object).map_err(|error| CallError::Failed(error.to_string()))?;
        call(self.api.create(&PostParams::default(), &object)).await?;
        self.wrote(ours.clone());
        Ok(())
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(object = self.label(), "reached again");
        }
    }

    fn failed(&mut self, error: CallError) {
        self.metrics.errors.inc();
        if self.trouble.as_ref() != Some(&error) {
            tracing::error!(object = self.label(), %error, "ca bundle cannot be published; trying on");
        }
        self.trouble = Some(error);
    }
}

/// Where a certificate was seen. An object that is not there has no clients, and one that leads to somebody else has none
/// of ours.
#[must_use]
pub fn publication(
    certificate: &CertificateDer<'_>,
    seen: &[Result<Option<Seen>, CallError>],
) -> Publication {
    let lacks = |seen: &Seen| !seen.is_foreign && (seen.is_odd || !seen.bundle.contains(certificate));
    if seen.iter().flatten().flatten().any(lacks) {
        Publication::Lacking
    } else if seen.iter().any(Result::is_err) {
        Publication::Unknown
    } else {
        Publication::Everywhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Authority;

    #[test]
    fn whoever_leads_to_somebody_else_does_not_hold_up_a_rotation() {
        let next = Authority::generate().unwrap().certificate().clone();
        let seen = |bundle: Bundle, is_odd, is_foreign| {
            Ok(Some(Seen { version: String::new(), bundle, is_odd, is_foreign }))
        };
        let ours = || seen([&next].into_iter().collect(), false, false);
        let of_metrics_server = || seen(Bundle::default(), true, true);
        assert_eq!(publication(&next, &[ours(), of_metrics_server(), Ok(None)]), Publication::Everywhere);
        assert_eq!(publication(&next, &[ours(), seen(Bundle::default(), true, false)]), Publication::Lacking);
        assert_eq!(publication(&next, &[ours(), Err(CallError::TimedOut)]), Publication::Unknown);
    }
}
