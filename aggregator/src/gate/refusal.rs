//! Why an agent is not let in, or not any longer.

use tonic::Status;

/// One reason; also the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It shows no bearer token.
    NoToken,
    /// Its token is nobody's: false, expired, revoked, or for another audience.
    InvalidToken,
    /// Its token is not that of the agents' service account.
    WrongAccount,
    /// Its token was not made for a pod.
    UnboundToken,
    /// Its token names several nodes, or an empty one.
    NoSingleNode,
    /// The pod of its token is not known, so neither is the node. It may just have begun to run.
    UnknownPod,
    /// It says it speaks for another node than its token's.
    OtherNode,
    /// The pod of its token is gone.
    PodGone,
    /// It cannot be found out now whose the token is.
    Unchecked,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NoToken,
        Self::InvalidToken,
        Self::WrongAccount,
        Self::UnboundToken,
        Self::NoSingleNode,
        Self::UnknownPod,
        Self::OtherNode,
        Self::PodGone,
        Self::Unchecked,
    ];

    /// As a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::InvalidToken => "invalid_token",
            Self::WrongAccount => "wrong_account",
            Self::UnboundToken => "unbound_token",
            Self::NoSingleNode => "no_single_node",
            Self::UnknownPod => "unknown_pod",
            Self::OtherNode => "other_node",
            Self::PodGone => "pod_gone",
            Self::Unchecked => "unchecked",
        }
    }

    /// Whether it may pass by itself; then it is nobody's fault.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::UnknownPod | Self::Unchecked)
    }

    /// What the agent is told.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::NoToken => Status::unauthenticated("a bearer token is required"),
            Self::InvalidToken => Status::unauthenticated(
                "the bearer token is not valid: expired, revoked, or made out for another audience",
            ),
            Self::WrongAccount => Status::permission_denied("the bearer token is no agent's"),
            Self::UnboundToken => Status::permission_denied("the bearer token is not bound to a pod"),
            Self::NoSingleNode => {
                Status::permission_denied("the bearer token does not name exactly one node")
            }
            Self::UnknownPod => Status::unavailable("the pod of the bearer token is not known yet"),
            Self::OtherNode => Status::permission_denied("the bearer token is another node's"),
            Self::PodGone => Status::unauthenticated("the pod of the bearer token is gone"),
            Self::Unchecked => Status::unavailable("the bearer token cannot be checked now"),
        }
    }
}
