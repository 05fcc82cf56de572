//! Where an aggregator is and how to reach it.

use std::{fmt, io, net::SocketAddr};

use hyper_util::rt::TokioIo;
use kubevitals::transport::{ConnectError, Ping, Trust, in_time};
use tokio::{io::DuplexStream, sync::mpsc};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// Buffer of an in-process pipe, bytes.
const PIPE_BUFFER: usize = 256 << 10;

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

impl Endpoint {
    pub(super) async fn connect(&self) -> Result<Channel, ConnectError> {
        match self {
            Self::Address { address, host, trust } => {
                in_time(trust.connect(*address, host, Ping::Seldom)).await
            }
            Self::Pipe(pipes) => in_time(async { Ok(connect_pipe(pipes.clone()).await?) }).await,
        }
    }

    /// The header that proves who we are, if there is one to send.
    pub(super) fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, ConnectError> {
        match self {
            Self::Address { trust, .. } => trust.authorization(),
            Self::Pipe(_) => Ok(None),
        }
    }
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
