//! Who may speak as an agent, and for which node.
//!
//! With reviews the node comes from the token: kube-apiserver writes into it for which pod it was made and on which
//! node that pod runs, and a node can have tokens made for its own pods alone. What an agent says itself is only
//! compared with that.

use std::{fmt, sync::Arc, time::Duration};

use tonic::{Status, metadata::MetadataMap};

use crate::{
    auth::{
        token::{StaticTokens, bearer},
        token_review::TokenReviews,
        user::UserInfo,
    },
    config::auth::service_account,
    directory::Directory,
};

const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// How long a stream goes on before its token is looked at again. A token that ended meanwhile ends the stream, and
/// the agent comes back with a new one; with thousands of agents more often would be a burden.
const REVIEW_AFTER: Duration = Duration::from_secs(300);

/// When a review could not be had, the next try comes sooner.
const REVIEW_AGAIN: Duration = Duration::from_secs(30);

/// How agents are recognised.
#[derive(Debug, Clone)]
pub enum AgentGate {
    /// Agent and aggregator share this process; nobody else can reach the stream.
    InProcess,
    /// By a token that all agents share. Whoever holds it may speak for any node.
    Tokens(Arc<StaticTokens>),
    /// As the cluster says, each for its own node.
    Reviewed(Arc<ReviewedAgents>),
}

/// The service account of agents, and who knows its tokens.
#[derive(Debug)]
pub struct ReviewedAgents {
    reviews: TokenReviews,
    username: String,
}

/// A stream that was let in.
pub struct Admission {
    /// The node it may speak for; any when `None`.
    node: Option<Arc<str>>,
    token: Option<String>,
}

impl fmt::Debug for Admission {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Admission {
    const ANY: Self = Self { node: None, token: None };

    /// Whether it may speak for `node`.
    #[must_use]
    pub fn speaks_for(&self, node: &str) -> bool {
        self.node.as_deref().is_none_or(|own| own == node)
    }
}

impl AgentGate {
    /// Lets a stream in, or says why not. `directory` knows the nodes of pods.
    pub async fn admit(&self, metadata: &MetadataMap, directory: &Directory) -> Result<Admission, Status> {
        if matches!(self, Self::InProcess) {
            return Ok(Admission::ANY);
        }
        let token =
            bearer(metadata.as_ref()).ok_or_else(|| Status::unauthenticated("a bearer token is required"))?;
        match self {
            Self::InProcess => Ok(Admission::ANY),
            Self::Tokens(tokens) => match tokens.user(&token) {
                Some(_) => Ok(Admission::ANY),
                None => Err(Status::unauthenticated("the bearer token is not known")),
            },
            Self::Reviewed(agents) => {
                let node = agents.node(&token, directory).await?;
                Ok(Admission { node: Some(node), token: Some(token.into_owned()) })
            }
        }
    }

    /// Waits until a stream that was let in may not go on, and says why. While the cluster does not answer it may.
    pub async fn revoked(&self, admission: &Admission, directory: &Directory) -> Status {
        let (Self::Reviewed(agents), Some(token)) = (self, &admission.token) else {
            return std::future::pending().await;
        };
        let mut pause = REVIEW_AFTER;
        loop {
            // Agents that came together are not looked at together.
            tokio::time::sleep(pause.mul_f64(0.8 + 0.2 * rand::random::<f64>())).await;
            pause = match agents.node(token, directory).await {
                Ok(node) if admission.node.as_ref() == Some(&node) => REVIEW_AFTER,
                Ok(_) => return Status::permission_denied("the token is another node's now"),
                Err(status) if status.code() == tonic::Code::Unavailable => REVIEW_AGAIN,
                Err(status) => return status,
            };
        }
    }
}

impl ReviewedAgents {
    /// Agents are those whose token is `username`'s by `reviews`.
    #[must_use]
    pub fn new(reviews: TokenReviews, username: String) -> Self {
        Self { reviews, username }
    }

    /// The node whose agent holds `token`.
    async fn node(&self, token: &str, directory: &Directory) -> Result<Arc<str>, Status> {
        let found = self.reviews.user(token).await;
        let user = found.map_err(|_| Status::unavailable("the bearer token cannot be checked now"))?;
        let user = user.ok_or_else(|| Status::unauthenticated("the bearer token is not valid"))?;
        if user.name != self.username {
            return Err(Status::permission_denied("the bearer token is no agent's"));
        }
        node_of(&user, directory)
    }
}

/// The node in a token's facts, or else the node of the pod it was made for.
fn node_of(user: &UserInfo, directory: &Directory) -> Result<Arc<str>, Status> {
    if user.extra.contains_key(NODE_NAME) {
        let node = user.only_extra(NODE_NAME).map(Arc::from);
        return node
            .ok_or_else(|| Status::permission_denied("the bearer token does not name exactly one node"));
    }
    let bound = || {
        let (namespace, _) = service_account(&user.name)?;
        Some((namespace, user.only_extra(POD_NAME)?, user.only_extra(POD_UID)?))
    };
    let (namespace, name, uid) =
        bound().ok_or_else(|| Status::permission_denied("the bearer token is not bound to a pod"))?;
    let pod = directory.pod(namespace, name).filter(|pod| pod.uid.as_ref() == uid);
    // The pod may just have begun to run.
    let pod = pod.ok_or_else(|| Status::unavailable("the pod of the bearer token is not known yet"))?;
    Ok(Arc::clone(&pod.node))
}

#[cfg(test)]
mod tests;
