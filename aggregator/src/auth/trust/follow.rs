//! Following the `ConfigMap`: read at the start, then watched. Whatever is wrong with a later version changes nothing.
//!
//! The role that Kubernetes has for this allows one `ConfigMap` by name, so lists and watches ask for that one alone.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Dispatch, instrument::WithSubscriber as _};

use super::{Trust, TrustError};
use crate::{
    auth::review::{CALL, pauses},
    metrics::auth::TrustMetrics,
    tls::clients::Settings,
};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// After so many seconds the API server ends a watch and the next one begins where it ended: a connection that died
/// without a word is found out soon after.
const WATCH_SECONDS: u32 = 60;

/// Why it is not known whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustLookupError {
    /// The `ConfigMap` cannot be read.
    #[error(
        "configmap {NAMESPACE}/{NAME} cannot be read, so that nobody could be trusted \
         (--authentication-tolerate-lookup-failure starts all the same): {0}"
    )]
    Lookup(String),
    /// It makes no sense.
    #[error("configmap {NAMESPACE}/{NAME}: {0}")]
    Content(#[from] TrustError),
}

/// Keeps `trust` and the handshakes as the cluster says.
pub struct Follower {
    api: Api<ConfigMap>,
    trust: Arc<ArcSwap<Trust>>,
    settings: Vec<Arc<Settings>>,
    metrics: TrustMetrics,
    /// The data seen last, good or not.
    seen: Option<BTreeMap<String, String>>,
    /// The last error, until something was heard again.
    trouble: Option<String>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

impl Follower {
    /// Nothing is asked yet, and nobody trusted. Handshakes by each of `settings` will ask for certificates.
    #[must_use]
    pub fn new(client: Client, settings: Vec<Arc<Settings>>, metrics: TrustMetrics) -> Self {
        let (api, trust) = (Api::namespaced(client, NAMESPACE), Arc::default());
        Self { api, trust, settings, metrics, seen: None, trouble: None }
    }

    /// What is trusted at present.
    #[must_use]
    pub fn trust(&self) -> Arc<ArcSwap<Trust>> {
        Arc::clone(&self.trust)
    }

    /// Reads it for the first time. Asks again while the API server does not answer.
    pub async fn load(&mut self) -> Result<(), TrustLookupError> {
        let mut pauses = pauses();
        let found = loop {
            let call = timeout(CALL, self.api.get(NAME)).with_subscriber(Dispatch::none());
            let (fault, is_final) = match call.await {
                Ok(Ok(found)) => break found,
                Ok(Err(error)) => (error.to_string(), is_final(&error)),
                Err(_) => ("no answer in time".to_owned(), false),
            };
            match pauses.next() {
                Some(pause) if !is_final => sleep(pause).await,
                _ => return Err(TrustLookupError::Lookup(fault)),
            }
        };
        Ok(self.take(found)?)
    }

    /// Follows it until `shutdown`. Errors are logged and counted, never final.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let config =
            watcher::Config::default().timeout(WATCH_SECONDS).fields(&format!("metadata.name={NAME}"));
        let mut events = pin!(watcher(self.api.clone(), config).default_backoff());
        loop {
            // The client logs each failed request as an error of its own; we log what changes.
            let next = events.next().with_subscriber(Dispatch::none());
            let Some(Some(event)) = shutdown.run_until_cancelled(next).await else { return };
            match event {
                Ok(event) => self.heard(event),
                Err(error) => self.failed(&error),
            }
        }
    }

    fn heard(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => return,
            Event::InitDone => {}
            Event::Apply(found) | Event::InitApply(found) => {
                if let Err(error) = self.take(found) {
                    self.metrics.refused.inc();
                    tracing::error!(%error, "configmap {NAMESPACE}/{NAME} refused; the last good one stays");
                }
            }
            Event::Delete(_) => {
                tracing::warn!("configmap {NAMESPACE}/{NAME} was deleted; what it said last stays");
            }
        }
        if self.trouble.take().is_some() {
            tracing::info!("watching configmap {NAMESPACE}/{NAME} again");
        }
    }

    fn failed(&mut self, error: &watcher::Error) {
        self.metrics.errors.inc();
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(error = trouble, "configmap {NAMESPACE}/{NAME} cannot be watched; trying on");
        }
        self.trouble = Some(trouble);
    }

    /// Takes over one version, whole or not at all.
    fn take(&mut self, found: ConfigMap) -> Result<(), TrustError> {
        let data = found.data.unwrap_or_default();
        if self.seen.as_ref() == Some(&data) {
            return Ok(());
        }
        let parsed = Trust::from_config_map(&data);
        self.seen = Some(data);
        let trust = parsed?;
        trust.check_successor_of(&self.trust.load())?;
        for warning in trust.warnings() {
            tracing::warn!("configmap {NAMESPACE}/{NAME}: {warning}");
        }
        for settings in &self.settings {
            if let Err(error) = settings.ask_for(trust.authorities()) {
                tracing::error!(%error, "handshakes still name the former authorities");
            }
        }
        self.trust.store(Arc::new(trust));
        self.metrics.updates.inc();
        tracing::info!("configmap {NAMESPACE}/{NAME} taken over");
        Ok(())
    }
}

/// Whether asking again in a moment is of no use.
fn is_final(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code != 429 && status.code < 500,
        kube::Error::Service(_) | kube::Error::HyperError(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
