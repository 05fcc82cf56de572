//! What `serve` reads from files before anything listens, and the one file it writes.

use std::{fs, path::Path, sync::Arc, time::Duration};

use super::RunError;
use crate::{
    auth::token::StaticTokens,
    ca::keeper,
    config::{
        Certificate, ServeConfig,
        auth::{AgentAuth, ApiAuth},
    },
    tls::{
        self, Authority, Serving, TlsError,
        reload::{Source, Upkeep},
    },
};

/// What is read from files at the start.
pub(super) struct Files {
    pub(super) tokens: Tokens,
    /// The serving certificate, and where the next ones come from; none yet where the cluster has its authority.
    pub(super) certificate: Option<(Arc<Serving>, Source)>,
}

/// Fixed tokens; none where the cluster is asked.
pub(super) struct Tokens {
    pub(super) agents: StaticTokens,
    pub(super) clients: StaticTokens,
}

impl Files {
    /// Reads them all, so that every fault is reported at once.
    pub(super) fn read(config: &ServeConfig) -> Result<Self, RunError> {
        let agents = match &config.agents {
            AgentAuth::Token(path) => token("--agent-token-file", path, "agent"),
            AgentAuth::Account(_) => Ok(StaticTokens::none()),
        };
        let clients = match &config.auth {
            ApiAuth::Token(path) => token("--api-token-file", path, "api-client"),
            ApiAuth::Delegated(_) => Ok(StaticTokens::none()),
        };
        let certificate = certificate(&config.certificate, config.publish.overlap);
        match (agents, clients, certificate) {
            (Ok(agents), Ok(clients), Ok(certificate)) => {
                Ok(Self { tokens: Tokens { agents, clients }, certificate })
            }
            (agents, clients, certificate) => {
                let faults = [agents.err(), clients.err(), certificate.err()];
                Err(RunError::Configuration(faults.into_iter().flatten().collect()))
            }
        }
    }
}

fn token(flag: &str, path: &Path, user: &str) -> Result<StaticTokens, String> {
    let fault = |what: &dyn std::fmt::Display| format!("{flag}: {}: {what}", path.display());
    let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
    match text.trim() {
        "" => Err(fault(&"holds no token")),
        token => Ok(StaticTokens::new([(token, user)])),
    }
}

/// The serving certificate, and where the next ones come from.
fn certificate(
    certificate: &Certificate,
    overlap: Duration,
) -> Result<Option<(Arc<Serving>, Source)>, String> {
    let begun = match certificate {
        Certificate::Shared(_) => return Ok(None),
        Certificate::Files { cert, key, ca } => {
            let mut files = tls::files::Files::new(cert.clone(), key.clone());
            if let Some(ca) = ca {
                keeper::read_file(ca).map_err(|error| format!("--tls-ca-file: {error}"))?;
                files = files.with_authorities(ca.clone(), overlap);
            }
            let begun = Upkeep::begin(Source::Files(files));
            begun.map_err(|error| format!("--tls-cert-file: {error}"))
        }
        Certificate::Own { names, ca_out } => {
            let fault = |error: TlsError| format!("--server-name: {error}");
            let authority = Authority::generate().map_err(fault)?;
            let ca_pem = authority.ca_pem();
            let begun = Upkeep::begin(Source::own(authority, names.clone())).map_err(fault)?;
            if let Some(path) = ca_out {
                let written = keeper::write_whole(path, &ca_pem);
                written.map_err(|error| format!("--ca-out: {}: {error}", path.display()))?;
            }
            Ok(begun)
        }
    };
    begun.map(Some)
}
