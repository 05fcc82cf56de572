//! Where to ask, whom to believe, what to show.

use std::{path::PathBuf, time::Duration};

use super::Error;
use crate::transport::{Credential, HostPort, Trust};

/// A call with all its attempts ends within this time unless another is set.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a [`Client`](super::Client) needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) endpoints: Vec<HostPort>,
    pub(super) trust: Trust,
    pub(super) timeout: Duration,
}

impl Options {
    /// Asks at `https://HOST:PORT`. Every address the host resolves to is an aggregator that may be asked.
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        Ok(Self { endpoints: vec![read(endpoint)?], trust: Trust::default(), timeout: TIMEOUT })
    }

    /// Asks there too.
    pub fn endpoint(mut self, endpoint: &str) -> Result<Self, Error> {
        self.endpoints.push(read(endpoint)?);
        Ok(self)
    }

    /// PEM certificates of the authorities to believe: the mounted `ConfigMap` `kubevitals-ca`. Read for each connection.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.ca_file = Some(path.into());
        self
    }

    /// The name the aggregator's certificate must carry, when it is not the endpoint's host.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.trust.server_name = Some(name.into());
        self
    }

    /// A bearer token that never changes.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.trust.credential = Credential::Token(token.into());
        self
    }

    /// A file with a bearer token. Read for each connection, and again when the token was refused.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust.credential = Credential::TokenFile(path.into());
        self
    }

    /// A client certificate and its key, PEM files. Read for each connection.
    #[must_use]
    pub fn certificate(mut self, cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        let (cert_file, key_file) = (cert_file.into(), key_file.into());
        self.trust.credential = Credential::Certificate { cert_file, key_file };
        self
    }

    /// How long a call may take with all its attempts, and a watch's answer that it has begun. 10 s unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

fn read(endpoint: &str) -> Result<HostPort, Error> {
    endpoint.parse().map_err(Error::Options)
}
