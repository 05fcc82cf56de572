//! Who may speak as an agent, and for which node.
//!
//! With reviews the node comes from the token: kube-apiserver writes into it for which pod it was made and on which
//! node that pod runs, and a node can have tokens made for its own pods alone. What an agent says itself is only
//! compared with that.

mod refusal;

use std::{fmt, sync::Arc, time::Duration};

use kubevitals::sample::WallTime;
use tonic::metadata::MetadataMap;

pub use self::refusal::Refusal;
use crate::{
    auth::{
        token::{StaticTokens, bearer},
        token_review::TokenReviews,
        user::UserInfo,
    },
    config::auth::service_account,
    directory::{Directory, Uid},
};

const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// How long a stream goes on before its token is looked at again. A token that ended meanwhile ends the stream, and
/// the agent comes back with a new one; with thousands of agents more often would be a burden.
const REVIEW_AFTER: Duration = Duration::from_secs(300);

/// When a review could not be had, the next try comes sooner. So does the first one of a stream whose pod is not
/// known yet: a pod that is known is missed as soon as it is gone.
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
#[derive(Default)]
pub struct Admission {
    /// The node it may speak for; any when `None`.
    node: Option<Arc<str>>,
    /// UID of the pod its token was made for.
    pod: Option<Uid>,
    token: Option<String>,
}

/// What a token says of its holder.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    node: Arc<str>,
    pod: Option<Uid>,
}

impl fmt::Debug for Admission {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("node", &self.node).field("pod", &self.pod).finish_non_exhaustive()
    }
}

impl Admission {
    /// Whether it may speak for `node`.
    #[must_use]
    pub fn speaks_for(&self, node: &str) -> bool {
        self.node.as_deref().is_none_or(|own| own == node)
    }

    /// The node that it alone may speak for; `None` for one that may speak for any.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// When the agent's pod was made, as far as `directory` knows it.
    #[must_use]
    pub fn created(&self, directory: &Directory) -> Option<WallTime> {
        directory.pod_by_uid(self.pod.as_ref()?)?.created.time()
    }
}

impl AgentGate {
    /// Lets a stream in, or says why not. `directory` knows the nodes of pods.
    pub async fn admit(&self, metadata: &MetadataMap, directory: &Directory) -> Result<Admission, Refusal> {
        if matches!(self, Self::InProcess) {
            return Ok(Admission::default());
        }
        let token = bearer(metadata.as_ref()).ok_or(Refusal::NoToken)?;
        match self {
            Self::InProcess => Ok(Admission::default()),
            Self::Tokens(tokens) => match tokens.user(&token) {
                Some(_) => Ok(Admission::default()),
                None => Err(Refusal::InvalidToken),
            },
            Self::Reviewed(agents) => {
                let Holder { node, pod } = agents.holder(&token, directory).await?;
                Ok(Admission { node: Some(node), pod, token: Some(token.into_owned()) })
            }
        }
    }

    /// Waits until a stream that was let in may not go on, and says why. While the cluster does not answer it may.
    pub async fn revoked(&self, admission: &Admission, directory: &Directory) -> Refusal {
        let (Self::Reviewed(agents), Some(token), Some(node)) = (self, &admission.token, &admission.node)
        else {
            return std::future::pending().await;
        };
        let mut pod = PodWatch::new(admission.pod.as_ref(), node, directory);
        let mut pause = if pod.is_known { REVIEW_AFTER } else { REVIEW_AGAIN };
        loop {
            // Agents that came together are not looked at together.
            let pause_over = tokio::time::sleep(pause.mul_f64(0.8 + 0.2 * rand::random::<f64>()));
            tokio::select! {
                () = pause_over => {}
                () = pod.gone() => {
                    // What was found out about its token while it was there counts no more.
                    agents.reviews.forget(token);
                    return Refusal::PodGone;
                }
            }
            pause = match agents.holder(token, directory).await {
                Ok(holder) if holder.node == *node => REVIEW_AFTER,
                Ok(_) => return Refusal::OtherNode,
                Err(refusal) if refusal.may_pass() => REVIEW_AGAIN,
                Err(refusal) => return refusal,
            };
        }
    }
}

/// Waits for the end of a pod as the cluster tells it. A pod that was never known is never gone: the watch may lag
/// behind its agent, and there may be no watch.
struct PodWatch<'a> {
    uid: Option<&'a Uid>,
    directory: &'a Directory,
    changes: tokio::sync::watch::Receiver<()>,
    is_known: bool,
}

impl<'a> PodWatch<'a> {
    fn new(uid: Option<&'a Uid>, node: &str, directory: &'a Directory) -> Self {
        // Followed first, so that no change is missed.
        let changes = directory.follow(node);
        let mut watch = Self { uid, directory, changes, is_known: false };
        watch.is_known = watch.is_there();
        watch
    }

    fn is_there(&self) -> bool {
        self.uid.is_some_and(|uid| self.directory.pod_by_uid(uid).is_some())
    }

    async fn gone(&mut self) {
        while self.changes.changed().await.is_ok() {
            match (self.is_known, self.is_there()) {
                (true, false) => return,
                (_, is_there) => self.is_known = is_there,
            }
        }
        std::future::pending::<()>().await;
    }
}

impl ReviewedAgents {
    /// Agents are those whose token is `username`'s by `reviews`.
    #[must_use]
    pub fn new(reviews: TokenReviews, username: String) -> Self {
        Self { reviews, username }
    }

    /// Who holds `token`.
    async fn holder(&self, token: &str, directory: &Directory) -> Result<Holder, Refusal> {
        let found = self.reviews.user(token).await;
        let user = found.map_err(|_| Refusal::Unchecked)?.ok_or(Refusal::InvalidToken)?;
        if user.name != self.username {
            return Err(Refusal::WrongAccount);
        }
        let pod = user.only_extra(POD_UID).map(Uid::from);
        Ok(Holder { node: node_of(&user, directory)?, pod })
    }
}

/// The node in a token's facts, or else the node of the pod it was made for.
fn node_of(user: &UserInfo, directory: &Directory) -> Result<Arc<str>, Refusal> {
    if user.extra.contains_key(NODE_NAME) {
        let node = user.only_extra(NODE_NAME).filter(|node| !node.is_empty());
        return node.map(Arc::from).ok_or(Refusal::NoSingleNode);
    }
    let bound = || {
        let (namespace, _) = service_account(&user.name)?;
        Some((namespace, user.only_extra(POD_NAME)?, user.only_extra(POD_UID)?))
    };
    let (namespace, name, uid) = bound().ok_or(Refusal::UnboundToken)?;
    let pod = directory.pod(namespace, name).filter(|pod| pod.uid == *uid);
    pod.map(|pod| Arc::clone(&pod.node)).ok_or(Refusal::UnknownPod)
}

#[cfg(test)]
mod tests;
