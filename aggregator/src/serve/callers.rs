//! Who may call `serve`: whoever the cluster says, or whoever holds a fixed token.

use std::sync::Arc;

use super::{RunError, files::Tokens};
use crate::{
    auth::{Authenticator, access::Authorizer, delegation::Delegation, trust::follow::Follower},
    config::{
        ServeConfig,
        auth::{AgentAuth, ApiAuth},
    },
    gate::AgentGate,
    metrics::auth::Auth,
    query::access::Access,
    tls::clients::Settings,
};

/// Who may call, and who says so.
pub(super) struct Callers {
    pub(super) access: Access,
    /// Who may speak as an agent.
    pub(super) gate: AgentGate,
    /// Keeps trust as the cluster says.
    pub(super) follower: Option<Follower>,
}

impl Callers {
    /// Asks the cluster whom to trust, if it is to be asked. Then handshakes by each of `settings` will ask for certificates.
    pub(super) async fn connect(
        config: &ServeConfig,
        tokens: Tokens,
        settings: Vec<Arc<Settings>>,
        metrics: &Auth,
    ) -> Result<Self, RunError> {
        let fixed = AgentGate::Tokens(Arc::new(tokens.agents));
        let ApiAuth::Delegated(delegated) = &config.auth else {
            let access = Access::new(Authenticator::Tokens(tokens.clients), Authorizer::Named);
            return Ok(Self { access, gate: fixed, follower: None });
        };
        let account = match &config.agents {
            AgentAuth::Account(account) => Some(account),
            AgentAuth::Token(_) => None,
        };
        let kubeconfig = config.kubeconfig.as_deref();
        let connected = Delegation::connect(delegated, kubeconfig, account, settings, metrics);
        let Delegation { authenticator, authorizer, agents, follower } = Box::pin(connected).await?;
        let gate = agents.map_or(fixed, |agents| AgentGate::Reviewed(Arc::new(agents)));
        let access = Access::new(authenticator, authorizer);
        Ok(Self { access, gate, follower: Some(follower) })
    }
}
