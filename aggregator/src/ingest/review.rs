//! Whether somebody who asks an agent for its node's metrics may have them, asked for the agent.
//!
//! A kubelet asks kube-apiserver by itself: whose token is this, and may its user `get` `nodes/metrics`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>)? An agent has no access to it. So it
//! asks here, over the connection of its stream and for its own node alone, and the token is judged as if it were shown to
//! the API. Whoever has stolen an agent's own token could ask about guesses; there is a limit to that.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kubevitals::{limits::MAX_NODE_NAME, wire};
use kubevitals_agent::rate::{Rate, Rates};
use tonic::Status;

use crate::{
    api::status::ApiError,
    auth::{
        Authenticator, Identity, Means, Unrecognised, access::Authorizer, attributes::Attributes,
        user::UserInfo,
    },
};

/// Why a question is not answered, as a log field.
pub(super) const TOO_OFTEN: &str = "too_many_reviews";

/// Questions of one agent. It keeps what it was told for a minute, and shields us from garbage by a lower rate.
const OF_ONE: Rate = Rate { burst: 100, every: Duration::from_millis(100) };

/// Agents remembered; more than there can be nodes by default.
const AGENTS: NonZeroUsize = NonZeroUsize::new(20_000).unwrap();

/// How a review ended, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may.
    Allowed,
    /// It is known who, and that one may not.
    Forbidden,
    /// The token is nobody's.
    Unauthenticated,
    /// The cluster could not be asked.
    Failed,
    /// The agent asked too often.
    Limited,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Allowed, Self::Forbidden, Self::Unauthenticated, Self::Failed, Self::Limited];

    /// As a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Forbidden => "forbidden",
            Self::Unauthenticated => "unauthenticated",
            Self::Failed => "failed",
            Self::Limited => "limited",
        }
    }
}

/// Judges tokens for agents, by the same rules as the API.
pub struct Reviewer {
    authenticator: Arc<Authenticator>,
    authorizer: Arc<Authorizer>,
    asked: Mutex<Rates<String>>,
}

impl fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

/// What an agent is told, and what is counted.
pub(super) type Reviewed = (Result<wire::ReviewResponse, Status>, Outcome);

impl Reviewer {
    /// By those who decide about requests to the API.
    #[must_use]
    pub fn new(authenticator: Arc<Authenticator>, authorizer: Arc<Authorizer>) -> Self {
        Self { authenticator, authorizer, asked: Mutex::new(Rates::new(OF_ONE, AGENTS)) }
    }

    /// Whether `agent` may ask once more now.
    pub(super) fn may_ask(&self, agent: &str, now: Instant) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).take(agent.to_owned(), now)
    }

    /// Whether the user of the token may get `nodes/metrics` of the node.
    pub(super) async fn judge(&self, request: &wire::ReviewRequest) -> Reviewed {
        let user = match self.user(&request.token).await {
            Ok(Some(user)) => user,
            Ok(None) => {
                let reason = "the token is nobody's".to_owned();
                let response = wire::ReviewResponse { reason, ..wire::ReviewResponse::default() };
                return (Ok(response), Outcome::Unauthenticated);
            }
            Err(_) => return failed("the token cannot be reviewed now"),
        };
        let decided = self.authorizer.check(&user, &metrics_of(&request.node_name)).await;
        let answer =
            |allowed, reason| wire::ReviewResponse { authenticated: true, allowed, user: user.name, reason };
        match decided {
            Ok(()) => (Ok(answer(true, String::new())), Outcome::Allowed),
            Err(ApiError::Forbidden { message, .. }) => (Ok(answer(false, message)), Outcome::Forbidden),
            Err(_) => failed("whether this is allowed cannot be found out now"),
        }
    }

    /// Whose a token is, as if it were shown to the API; `None` for nobody's.
    async fn user(&self, token: &str) -> Result<Option<UserInfo>, Unrecognised> {
        // A header would be read up to the first space.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(None);
        }
        let Ok(value) = HeaderValue::try_from(format!("Bearer {token}")) else { return Ok(None) };
        let shown = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        match self.authenticator.recognise(&shown, None).await {
            Ok(Identity { by: Means::Nothing, .. }) | Err(Unrecognised::Refused) => Ok(None),
            Ok(identity) => Ok(Some(identity.user)),
            Err(error) => Err(error),
        }
    }
}

fn failed(what: &'static str) -> Reviewed {
    (Err(Status::unavailable(what)), Outcome::Failed)
}

/// What a kubelet asks about its `/metrics` and all below.
fn metrics_of(node: &str) -> Attributes {
    let text = |text: &str| Some(text.to_owned());
    let wanted = ResourceAttributes {
        verb: text("get"),
        version: text("v1"),
        resource: text("nodes"),
        subresource: text("metrics"),
        name: text(node),
        ..ResourceAttributes::default()
    };
    Attributes::reading(wanted, None, None)
}

/// Refuses what is no question.
pub(super) fn check(request: &wire::ReviewRequest) -> Result<(), Status> {
    match request.node_name.len() {
        0 => Err(Status::invalid_argument("node_name: is empty")),
        1..=MAX_NODE_NAME => Ok(()),
        length => Err(Status::invalid_argument(format!("node_name: {length} bytes"))),
    }
}

#[cfg(test)]
mod tests;
