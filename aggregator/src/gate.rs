//! Who may speak as an agent.

use std::sync::Arc;

use tonic::{Status, metadata::MetadataMap};

use crate::auth::token::{StaticTokens, bearer};

/// How agents are recognised.
#[derive(Debug, Clone)]
pub enum AgentGate {
    /// Agent and aggregator share this process; nobody else can reach the stream.
    InProcess,
    /// By a token that all agents share. Whoever holds it may speak for any node.
    Tokens(Arc<StaticTokens>),
}

impl AgentGate {
    /// Lets a stream in, or says why not.
    pub fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Self::Tokens(tokens) = self else { return Ok(()) };
        let token =
            bearer(metadata.as_ref()).ok_or_else(|| Status::unauthenticated("a bearer token is required"))?;
        match tokens.user(token) {
            Some(_) => Ok(()),
            None => Err(Status::unauthenticated("the bearer token is not known")),
        }
    }
}
