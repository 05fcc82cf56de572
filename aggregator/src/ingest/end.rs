//! How a stream ends, and what its agent is told.

use kubevitals::chain::ChainError;
use tonic::Status;

use crate::{gate::Refusal, store::Rivalry};

/// Every way in which a stream can end, as metric labels.
pub const REASONS: [&str; 9] =
    ["agent", "shutdown", "replaced", "outranked", "duplicate", "silent", "full", "violation", "refused"];

/// How a stream ended.
#[derive(Debug)]
pub(super) enum End {
    /// The agent closed it or was lost.
    Agent,
    /// We shut down.
    Shutdown,
    /// Another stream speaks for the node now.
    Replaced,
    /// A newer agent streams for the node already.
    Outranked,
    /// The same agent process streams already, by another address.
    Duplicate,
    /// Nothing came for too long.
    Silent,
    /// No place for another node.
    Full,
    /// The contract was broken.
    Violation(String),
    /// It may not speak, or not for this node.
    Refused(Refusal),
}

impl From<ChainError> for End {
    fn from(error: ChainError) -> Self {
        Self::Violation(error.to_string())
    }
}

impl From<Rivalry> for End {
    fn from(rivalry: Rivalry) -> Self {
        match rivalry {
            Rivalry::SameProcess => Self::Duplicate,
            Rivalry::NewerAgent => Self::Outranked,
        }
    }
}

impl End {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Shutdown => "shutdown",
            Self::Replaced => "replaced",
            Self::Outranked => "outranked",
            Self::Duplicate => "duplicate",
            Self::Silent => "silent",
            Self::Full => "full",
            Self::Violation(_) => "violation",
            Self::Refused(_) => "refused",
        }
    }

    /// Why the agent was turned away, if an operator who misses it wants to hear of that.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.as_str()),
            Self::Replaced | Self::Outranked | Self::Full | Self::Violation(_) => Some(self.reason()),
            Self::Agent | Self::Shutdown | Self::Duplicate | Self::Silent => None,
        }
    }

    /// `ALREADY_EXISTS` makes an agent wait longer before it comes back.
    pub(super) fn status(&self) -> Option<Status> {
        match self {
            Self::Agent | Self::Shutdown => None,
            Self::Replaced => Some(Status::already_exists("another agent speaks for this node now")),
            Self::Outranked => Some(Status::already_exists("a newer agent speaks for this node")),
            Self::Duplicate => Some(Status::already_exists("this agent process streams here already")),
            Self::Silent => Some(Status::deadline_exceeded("no message for too long")),
            Self::Full => Some(Status::resource_exhausted("too many nodes")),
            Self::Violation(what) => Some(Status::invalid_argument(what.clone())),
            Self::Refused(refusal) => Some(refusal.status()),
        }
    }
}
