//! Connections to an aggregator, as agents and direct consumers make them: where it is, whom to believe, what to show.
//!
//! One connection at a time; when to try again, and where, is for the callers. Files are read for each connection, so
//! that whatever rotates them needs no restart.

use std::{fmt, fs, io, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;
use tonic::{
    codegen::http::Uri,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// A connection that is not up after this long, its handshake included, is given up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// HTTP/2 pings find a peer that is gone without a word: after this long without an answer the connection ends.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What was sent and is not confirmed by the peer's machine for this long ends the connection too. It costs nothing
/// while something is sent, where a ping costs both sides as much as a message.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// When a peer is asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    /// When it said nothing for 5 s: for those who mostly listen.
    Often,
    /// When it said nothing for 20 s: for those who send all the time, and so find out by themselves.
    Seldom,
}

impl Ping {
    fn after(self) -> Duration {
        match self {
            Self::Often => KEEP_ALIVE,
            Self::Seldom => KEEP_ALIVE * 4,
        }
    }
}

/// A host (name or address) and port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Reads `https://HOST:PORT`; the error says what is wrong with it.
impl FromStr for HostPort {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("{url:?} {why}; expected https://HOST:PORT");
        let uri: Uri = url.trim().parse().map_err(|_| fault("is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(fault("has no https scheme"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(fault("has a path or query"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| fault("has no host"))?;
        let port = uri.port_u16().ok_or_else(|| fault("has no port"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port })
    }
}

/// Whom to believe and what to show.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM certificates of the authorities that sign the aggregator's. Without it nobody is believed: the store of the
    /// operating system is not asked, because an aggregator's authority is the cluster's own.
    pub ca_file: Option<PathBuf>,
    /// The name the aggregator's certificate must carry, when it is not the host's.
    pub server_name: Option<String>,
    /// What shows who we are.
    pub credential: Credential,
}

/// What shows who calls.
#[derive(Clone, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    Nothing,
    /// A bearer token.
    Token(String),
    /// A file with a bearer token, such as a service account's projected one.
    TokenFile(PathBuf),
    /// A client certificate and its key, PEM files.
    Certificate {
        /// The certificate, with those that lead to its authority.
        cert_file: PathBuf,
        /// Its key.
        key_file: PathBuf,
    },
}

/// Never shows a token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Token(_) => f.write_str("Token"),
            Self::TokenFile(path) => f.debug_tuple("TokenFile").field(path).finish(),
            Self::Certificate { cert_file, .. } => f.debug_tuple("Certificate").field(cert_file).finish(),
        }
    }
}

/// Why no connection could be tried or made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file that the connection needs cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What should be a token cannot stand in a header.
    #[error("{0}: not usable as a bearer token")]
    Token(String),
    /// The network, the handshake, or a certificate on either side.
    #[error("{}", chain(.0))]
    Transport(#[from] tonic::transport::Error),
    /// The peer did not finish the handshake in time.
    #[error("not connected within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
}

/// An error with its causes; tonic's own text is only "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Holds an attempt to connect to [`CONNECT_TIMEOUT`]. The library's own limit ends with the TCP handshake: whoever
/// accepts and is silent then would hold us for ever.
pub async fn in_time<T>(attempt: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ConnectError> {
    timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or(Err(ConnectError::TimedOut))
}

impl Trust {
    /// Connects to an aggregator that was found under the name `host`. Not limited in time; see [`in_time`].
    pub async fn connect(
        &self,
        address: SocketAddr,
        host: &str,
        ping: Ping,
    ) -> Result<Channel, ConnectError> {
        let endpoint = Channel::builder(uri(address)).tls_config(self.tls(host)?)?;
        Ok(kept_alive(endpoint, ping).connect_with_connector(tcp()).await?)
    }

    /// The header that shows who we are, if there is one to send.
    pub fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, ConnectError> {
        let (token, from) = match &self.credential {
            Credential::Nothing | Credential::Certificate { .. } => return Ok(None),
            Credential::Token(token) => (token.clone(), "the token".to_owned()),
            Credential::TokenFile(path) => (read(path)?, path.display().to_string()),
        };
        let value = MetadataValue::try_from(format!("Bearer {}", token.trim_ascii()));
        let mut value = value.map_err(|_| ConnectError::Token(from))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn tls(&self, host: &str) -> Result<ClientTlsConfig, ConnectError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let mut tls = ClientTlsConfig::new().domain_name(name);
        if let Some(path) = &self.ca_file {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let Credential::Certificate { cert_file, key_file } = &self.credential {
            tls = tls.identity(Identity::from_pem(read(cert_file)?, read(key_file)?));
        }
        Ok(tls)
    }
}

fn read(path: &PathBuf) -> Result<String, ConnectError> {
    fs::read_to_string(path).map_err(|source| ConnectError::File { path: path.clone(), source })
}

fn uri(address: SocketAddr) -> Uri {
    // An address never needs escaping.
    Uri::builder()
        .scheme("https")
        .authority(address.to_string())
        .path_and_query("/")
        .build()
        .expect("a socket address is a valid authority")
}

fn kept_alive(endpoint: Endpoint, ping: Ping) -> Endpoint {
    endpoint
        .http2_keep_alive_interval(ping.after())
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// The library's own connector, with a limit that it has no setting for.
fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // TLS is put on top of it.
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_tcp_user_timeout(Some(UNCONFIRMED));
    connector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_aggregator_that_accepts_and_is_silent_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, trust) = (silent.local_addr().unwrap(), Trust::default());
        let connected =
            timeout(CONNECT_TIMEOUT * 3, in_time(trust.connect(address, "localhost", Ping::Often))).await;
        assert!(matches!(connected, Ok(Err(ConnectError::TimedOut))), "{connected:?}");
    }

    #[test]
    fn hosts_and_ports_are_read_from_https_urls_alone() {
        let read = |url: &str| url.parse::<HostPort>().map(|it| (it.host, it.port));
        assert_eq!(read("https://a.b:10252"), Ok(("a.b".to_owned(), 10252)));
        assert_eq!(read(" https://[::1]:9/ "), Ok(("::1".to_owned(), 9)));
        for wrong in ["", "a:1", "http://a:1", "https://a", "https://a:1/x", "https://a:1?x", "https://:1"] {
            assert!(read(wrong).unwrap_err().contains("expected https://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_read_anew_trimmed_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trust = Trust { credential: Credential::TokenFile(file.path().to_owned()), ..Trust::default() };
        for token in ["first", "second"] {
            fs::write(file.path(), format!("{token}\n")).unwrap();
            let header = trust.authorization().unwrap().unwrap();
            assert_eq!(header.to_str().unwrap(), format!("Bearer {token}"));
            assert!(!format!("{header:?}").contains(token));
        }
        fs::write(file.path(), "two\nlines").unwrap();
        assert!(matches!(trust.authorization(), Err(ConnectError::Token(_))));
        assert!(!format!("{:?}", Credential::Token("secret".to_owned())).contains("secret"));
    }
}
