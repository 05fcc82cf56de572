//! Where the serving certificate of `serve` comes from, and who is told of its authority.

use std::sync::Arc;

use kube::Client;
use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::{
    ca::{
        keeper::{self, Keeper},
        publish::Target,
        shared::Shared,
        store::Store,
    },
    cluster::{ClusterError, client_for_reviews},
    config::{Certificate, ServeConfig, trust::Publish},
    metrics::ca::Ca as Metrics,
    tls::{
        Serving, TlsError,
        reload::{Source, Upkeep},
        signer::Issuing,
    },
};

/// The serving certificate, and all that keeps it good.
pub(super) struct Trust {
    pub(super) serving: Arc<Serving>,
    pub(super) source: Source,
    /// Looks after the shared authority and what is published.
    pub(super) keeper: Option<Keeper>,
}

impl Trust {
    /// Takes the certificate from `files`, or has it signed by the authority in the cluster, however long that takes;
    /// `None` when it is to end before that.
    pub(super) async fn begin(
        config: &ServeConfig,
        files: Option<(Arc<Serving>, Source)>,
        metrics: &Metrics,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, RunError> {
        let mut keeper = keeper(config, metrics).await?;
        if let Some((serving, source)) = files {
            let keeper = keeper.map(|keeper| keeper.serving(&serving));
            return Ok(Some(Self { serving, source, keeper }));
        }
        let Certificate::Shared(shared) = &config.certificate else {
            return Err(TlsError::Certificate("none".to_owned()).into());
        };
        let begun = async {
            if let Some(keeper) = &mut keeper {
                keeper.begin().await;
            }
        };
        if shutdown.run_until_cancelled(begun).await.is_none() {
            return Ok(None);
        }
        let signer = keeper.as_ref().and_then(Keeper::shared).and_then(Shared::signer);
        let signer = signer.ok_or_else(|| TlsError::Certificate("nobody signs it".to_owned()))?;
        let issuing = Issuing::new(signer, shared.names.clone(), shared.serving_life);
        let (serving, source) = Upkeep::begin(Source::Signed(issuing))?;
        let keeper = keeper.map(|keeper| keeper.serving(&serving));
        Ok(Some(Self { serving, source, keeper }))
    }
}

/// Whoever looks after the authority, when there is something to look after.
async fn keeper(config: &ServeConfig, metrics: &Metrics) -> Result<Option<Keeper>, RunError> {
    let publish = &config.publish;
    let (source, out) = match &config.certificate {
        Certificate::Shared(shared) => {
            let store = Store::new(client(config).await?, &shared.namespace, &shared.secret);
            let shared_authority = Shared::new(store, shared.plan, metrics.clone());
            (keeper::Source::Secret(Box::new(shared_authority)), shared.ca_out.clone())
        }
        Certificate::Files { ca: Some(ca), .. } if publish.is_any() => {
            (keeper::Source::File(ca.clone()), None)
        }
        Certificate::Files { .. } | Certificate::Own { .. } => return Ok(None),
    };
    let targets =
        if publish.is_any() { targets(publish, &client(config).await?, metrics) } else { Vec::new() };
    Ok(Some(Keeper::new(source, targets, publish.overlap, out, metrics.clone())))
}

async fn client(config: &ServeConfig) -> Result<Client, ClusterError> {
    client_for_reviews(config.kubeconfig.as_deref()).await
}

fn targets(publish: &Publish, client: &Client, metrics: &Metrics) -> Vec<Target> {
    let config_map = publish
        .config_map
        .iter()
        .map(|(namespace, name)| Target::config_map(client.clone(), namespace, name, metrics.target(name)));
    let services = publish.api_services.iter().map(|name| {
        Target::api_service(client.clone(), name, publish.namespace.as_deref(), metrics.target(name))
    });
    config_map.chain(services).collect()
}
