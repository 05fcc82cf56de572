//! The parts of delegated authentication and authorization, put together.

use std::{path::Path, sync::Arc};

use super::{
    Authenticator,
    access::Authorizer,
    access_review::AccessReviews,
    delegated::Delegated,
    token_review::TokenReviews,
    trust::follow::{Follower, TrustLookupError},
};
use crate::{
    cluster::{self, ClusterError},
    config::auth::{AgentAccount, DelegatedAuth},
    gate::ReviewedAgents,
    metrics::auth::Auth,
    tls::clients::Settings,
};

/// Why the cluster cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    /// There is no way to it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// It does not say whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustLookupError),
    /// Tokens are kept as keyed digests, and there is no key.
    #[error("no random numbers for the key of the token cache")]
    NoRandomness,
}

/// Everything that asks the cluster about callers.
#[derive(Debug)]
pub struct Delegation {
    /// Who calls the API.
    pub authenticator: Authenticator,
    /// Whether it may.
    pub authorizer: Authorizer,
    /// Who speaks as an agent, if the cluster is asked about agents too.
    pub agents: Option<ReviewedAgents>,
    /// Keeps trust as the cluster says.
    pub follower: Follower,
}

impl Delegation {
    /// Connects, and reads whom to trust. From then on handshakes by each of `settings` ask for certificates.
    pub async fn connect(
        config: &DelegatedAuth,
        kubeconfig: Option<&Path>,
        agents: Option<&AgentAccount>,
        settings: Vec<Arc<Settings>>,
        metrics: &Auth,
    ) -> Result<Self, DelegationError> {
        let client = cluster::client_for_reviews(kubeconfig).await?;
        let mut follower = Follower::new(client.clone(), settings, metrics.trust.clone());
        match follower.load().await {
            Err(TrustLookupError::Lookup(error)) if config.tolerate_lookup_failure => {
                tracing::warn!(%error, "it is not known yet whom to trust; only bearer tokens are recognised");
            }
            outcome => outcome?,
        }
        let reviews = |audiences| {
            let reviews = TokenReviews::new(client.clone(), audiences, config.token_ttl, metrics);
            reviews.ok_or(DelegationError::NoRandomness)
        };
        let tokens = reviews(config.audiences.clone())?;
        let agents = agents.map(|account| {
            let reviews = reviews(vec![account.audience.clone()])?;
            Ok::<_, DelegationError>(ReviewedAgents::new(reviews, account.username.clone()))
        });
        let access = AccessReviews::new(client.clone(), config.allowed_ttl, config.denied_ttl, metrics);
        let (trust, counted) = (follower.trust(), metrics.authentication.clone());
        Ok(Self {
            authenticator: Authenticator::Delegated(Delegated::new(trust, tokens, counted)),
            authorizer: Authorizer::Delegated { reviews: access, metrics: metrics.authorization.clone() },
            agents: agents.transpose()?,
            follower,
        })
    }
}

#[cfg(test)]
mod tests;
