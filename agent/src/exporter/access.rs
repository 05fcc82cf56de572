//! Who may read the pages: whoever shows a certificate of the given authorities, a token of the given file, or a token
//! of the cluster that an aggregator finds good. One is enough. Whatever cannot be found out is no permission.

pub mod cluster;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::HeaderMap;
use prometheus_client::metrics::counter::Counter;

use self::cluster::{ClusterTokens, Verdict};
use super::{settings::Credentials, watched::Watched};
use crate::{
    bearer::{StaticTokens, bearer},
    tls::{clients::PeerCertificates, pool::Pool},
};

/// What let a request in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A client certificate.
    Certificate,
    /// A token of the file.
    Token,
    /// A token of the cluster.
    Cluster,
    /// Nothing was asked for.
    Nothing,
}

impl Means {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Certificate, Self::Token, Self::Cluster, Self::Nothing];

    /// As a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Cluster => "cluster",
            Self::Nothing => "nothing",
        }
    }
}

/// Why a request was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It shows nothing that is good.
    Unauthenticated,
    /// It is known who sends it, and that one may not; the cluster's words.
    Forbidden(Arc<str>),
    /// It cannot be found out now.
    Unknown,
}

/// Decides.
#[derive(Debug, Default)]
pub struct Access {
    /// Nothing has to be shown.
    is_open: bool,
    authorities: Option<Watched<Pool>>,
    tokens: Option<Watched<StaticTokens>>,
    cluster: Option<ClusterTokens>,
}

impl Access {
    /// Lets everybody in.
    #[must_use]
    pub fn open() -> Self {
        Self { is_open: true, ..Self::default() }
    }

    /// Reads the files. The error has a line for each that cannot be used.
    pub fn read(
        wanted: &Credentials,
        cluster: Option<ClusterTokens>,
        faults: &Counter,
    ) -> Result<Self, Vec<String>> {
        let tokens = watched("--exporter-token-file", wanted.token_file.as_ref(), tokens, faults);
        let tokens = tokens.and_then(|found| match found {
            Some(none) if none.current().is_empty() => {
                Err("--exporter-token-file: holds no token".to_owned())
            }
            found => Ok(found),
        });
        let authorities =
            watched("--exporter-client-ca-file", wanted.client_ca_file.as_ref(), Pool::from_pem, faults);
        match (tokens, authorities) {
            (Ok(tokens), Ok(authorities)) => Ok(Self { is_open: false, authorities, tokens, cluster }),
            (tokens, authorities) => Err([tokens.err(), authorities.err()].into_iter().flatten().collect()),
        }
    }

    /// Whether a request that shows this may be answered, and because of what. `peer` is where it comes from.
    pub async fn check(
        &self,
        headers: &HeaderMap,
        shown: Option<&PeerCertificates>,
        peer: IpAddr,
    ) -> Result<Means, Denial> {
        if self.is_open {
            return Ok(Means::Nothing);
        }
        if let (Some(authorities), Some(shown)) = (&self.authorities, shown)
            && authorities.current().trusts(shown, since_1970()).is_some()
        {
            return Ok(Means::Certificate);
        }
        let token = bearer(headers).ok_or(Denial::Unauthenticated)?;
        if let Some(tokens) = &self.tokens
            && tokens.current().user(&token).is_some()
        {
            return Ok(Means::Token);
        }
        let cluster = self.cluster.as_ref().ok_or(Denial::Unauthenticated)?;
        match cluster.verdict(&token, peer).await {
            Verdict::Allowed => Ok(Means::Cluster),
            Verdict::Unauthenticated => Err(Denial::Unauthenticated),
            Verdict::Forbidden(reason) => Err(Denial::Forbidden(reason)),
            Verdict::Unknown => Err(Denial::Unknown),
        }
    }

    /// The authorities of client certificates, to be named in handshakes.
    #[must_use]
    pub fn authorities(&self) -> Option<Arc<Pool>> {
        self.authorities.as_ref().map(Watched::current)
    }

    /// Looks at the files again; true when the authorities have changed. May block.
    pub fn look(&self) -> bool {
        if let Some(tokens) = &self.tokens
            && tokens.look()
            && tokens.current().is_empty()
        {
            tracing::warn!("the file of tokens is empty now, so nobody is let in by one of its tokens");
        }
        self.authorities.as_ref().is_some_and(Watched::look)
    }
}

fn watched<T>(
    flag: &str,
    path: Option<&PathBuf>,
    parse: fn(&str) -> Result<T, String>,
    faults: &Counter,
) -> Result<Option<Watched<T>>, String> {
    let opened = path.map(|path| Watched::open(path, parse, faults.clone())).transpose();
    opened.map_err(|fault| format!("{flag}: {fault}"))
}

/// Bearer tokens, one a line. A file without any is one that lets nobody in.
fn tokens(text: &str) -> Result<StaticTokens, String> {
    let lines = text.lines().map(str::trim);
    let is_wrong = |line: &str| !line.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(index) = lines.clone().position(is_wrong) {
        return Err(format!("line {} is not usable as a bearer token", index + 1));
    }
    // They are all the same to us, so none has a name.
    Ok(StaticTokens::new(lines.map(|line| (line, ""))))
}

/// Certificates are good or not by the wall clock.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
