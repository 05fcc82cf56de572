//! Connections over TLS as a client: with or without a certificate, HTTP/2 or HTTP/1.1.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::pki::Identity;

/// Why there is no answer.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// Where a server is, and how it is known to be the right one.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// What its certificate has to be made out to.
    pub(crate) name: String,
    /// PEM of the authorities that may vouch for it.
    pub(crate) ca_pem: String,
}

impl Target {
    /// TLS settings for it.
    pub(crate) fn tls(&self, identity: Option<&Identity>, protocol: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca_pem.as_bytes()) {
            roots.add(certificate.expect("PEM")).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the usual versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chosen = builder.with_client_auth_cert(identity.chain.clone(), identity.key());
                chosen.expect("a certificate and its key")
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    /// A connection with these settings.
    pub(crate) async fn connect(&self, tls: ClientConfig) -> Result<TlsStream<TcpStream>, Fault> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.name.clone())?;
        Ok(TlsConnector::from(Arc::new(tls)).connect(name, stream).await?)
    }

    /// An HTTP/2 connection, which pings as an API server's does.
    pub(crate) async fn http2(&self, identity: Option<&Identity>) -> Result<Connection, Fault> {
        let stream = self.connect(self.tls(identity, b"h2")).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(15))
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(Connection::Http2(sender))
    }

    /// An HTTP/1.1 connection.
    pub(crate) async fn http1(&self, identity: Option<&Identity>) -> Result<Connection, Fault> {
        let stream = self.connect(self.tls(identity, b"http/1.1")).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection::Http1(sender))
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Http2(http2::SendRequest<Full<Bytes>>),
    Http1(http1::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Whether no further request can be sent.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http2(sender) => sender.is_closed(),
            Self::Http1(sender) => sender.is_closed(),
        }
    }

    /// Another handle on it, when it carries several requests at one time.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
            Self::Http1(_) => None,
        }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}
