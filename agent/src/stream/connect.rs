//! Where an aggregator is and how to reach it.

use std::{fmt, fs, io, net::SocketAddr, path::PathBuf, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc, time::timeout};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig},
};

/// A connection that is not up after this long, its handshake included, is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// HTTP/2 pings find a peer that is gone without a word: after this long without an answer the stream ends.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Buffer of an in-process pipe, bytes.
const PIPE_BUFFER: usize = 256 << 10;

/// What to believe and what to show. Files are read again for each connection, so that rotation needs no restart.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM certificates of the authority that signed the aggregator's.
    pub ca_file: Option<PathBuf>,
    /// The name the aggregator's certificate must carry, when it is not the host's.
    pub server_name: Option<String>,
    /// A bearer token.
    pub token_file: Option<PathBuf>,
}

/// One aggregator.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// By address, over TLS.
    Address {
        /// Where.
        address: SocketAddr,
        /// The host it was given as; its certificate must carry this name unless [`Trust`] says another.
        host: String,
        /// With what.
        trust: Trust,
    },
    /// In this process: each new connection's other end is sent here.
    Pipe(mpsc::Sender<DuplexStream>),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, .. } => write!(f, "{address}"),
            Self::Pipe(_) => f.write_str("in-process"),
        }
    }
}

/// Why no connection could be tried or made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: not usable as a bearer token", path.display())]
    Token { path: PathBuf },
    #[error("{}", chain(.0))]
    Transport(#[from] tonic::transport::Error),
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

impl Endpoint {
    pub(super) async fn connect(&self) -> Result<Channel, ConnectError> {
        // The library's own limit ends with the TCP handshake: whoever accepts and is silent then would hold us for ever.
        timeout(CONNECT_TIMEOUT, self.try_connect()).await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn try_connect(&self) -> Result<Channel, ConnectError> {
        match self {
            Self::Address { address, host, trust } => {
                let endpoint = Channel::builder(uri(*address)).tls_config(trust.tls(host)?)?;
                Ok(limits(endpoint).connect().await?)
            }
            Self::Pipe(pipes) => Ok(connect_pipe(pipes.clone()).await?),
        }
    }

    /// The header that proves who we are, if there is one to send.
    pub(super) fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, ConnectError> {
        let Self::Address { trust: Trust { token_file: Some(path), .. }, .. } = self else {
            return Ok(None);
        };
        let token = read(path)?;
        let value = MetadataValue::try_from(format!("Bearer {}", token.trim_ascii_end()));
        let mut value = value.map_err(|_| ConnectError::Token { path: path.clone() })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Trust {
    fn tls(&self, host: &str) -> Result<ClientTlsConfig, ConnectError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let mut tls = ClientTlsConfig::new().domain_name(name);
        if let Some(path) = &self.ca_file {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        Ok(tls)
    }
}

fn read(path: &PathBuf) -> Result<String, ConnectError> {
    fs::read_to_string(path).map_err(|source| ConnectError::File { path: path.clone(), source })
}

fn uri(address: SocketAddr) -> http::Uri {
    // An address never needs escaping.
    http::Uri::builder()
        .scheme("https")
        .authority(address.to_string())
        .path_and_query("/")
        .build()
        .expect("a socket address is a valid authority")
}

fn limits(endpoint: tonic::transport::Endpoint) -> tonic::transport::Endpoint {
    endpoint
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

async fn connect_pipe(pipes: mpsc::Sender<DuplexStream>) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Channel::builder(http::Uri::from_static("http://in-process"));
    let connector = tower::service_fn(move |_| {
        let pipes = pipes.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(PIPE_BUFFER);
            let gone = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            pipes.send(theirs).await.map_err(gone)?;
            Ok::<_, io::Error>(TokioIo::new(ours))
        }
    });
    endpoint.connect_with_connector(connector).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_aggregator_that_accepts_and_is_silent_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, host) = (silent.local_addr().unwrap(), "localhost".to_owned());
        let endpoint = Endpoint::Address { address, host, trust: Trust::default() };
        let connected = timeout(CONNECT_TIMEOUT * 3, endpoint.connect()).await.unwrap();
        assert!(matches!(connected, Err(ConnectError::TimedOut)), "{connected:?}");
    }
}
