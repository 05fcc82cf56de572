//! Where the pages are served and who may read them, as the flags say. Nothing is read or bound here.

use std::{net::SocketAddr, path::PathBuf};

/// The listener for scrapers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may read.
    pub protection: Protection,
}

/// Who may read the pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Whoever reaches the address, without TLS: for development, on loopback alone.
    Nothing,
    /// Whoever shows one of these, over TLS.
    Credentials(Credentials),
}

/// What may be shown; at least one is there. Each is enough by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// PEM files of the serving certificate and its key; one of our own without them.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// File with bearer tokens, one a line.
    pub token_file: Option<PathBuf>,
    /// PEM file with the authorities of client certificates.
    pub client_ca_file: Option<PathBuf>,
    /// Tokens of the cluster, reviewed by the aggregator.
    pub cluster: bool,
}

impl Credentials {
    /// Whether there is anything to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.token_file.is_none() && self.client_ca_file.is_none() && !self.cluster
    }
}
