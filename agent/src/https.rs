//! The HTTPS server: connections in, requests to a router, and nothing that a peer does holds up another.
//!
//! Written on hyper itself, because every stage needs its own time limit: the handshake, the first request (a client
//! may finish the handshake and say nothing), the next request, and the end. What requests mean is the router's
//! business. The aggregator serves by it too.

mod accept;
mod admitted;
mod patience;
mod peers;
mod pieces;
mod protocol;
mod streams;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

pub use self::{
    accept::Door,
    admitted::Admitted,
    protocol::{Lasting, Stranger},
};

use self::{
    peers::{Entered, Peers},
    protocol::Caller,
};
use crate::tls::clients::{PeerCertificates, Settings};

/// What one peer, and all of them together, may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the connection to the end of the handshake.
    pub handshake: Duration,
    /// From the handshake to the first complete request head.
    pub first_request: Duration,
    /// HTTP/1.1: from one response to the next complete request head. HTTP/2 has pings instead.
    pub idle: Duration,
    /// Agents: from the handshake until it is known who speaks. Others: see [`Stranger`].
    pub admission: Duration,
    /// HTTP/2: how long a peer may be silent before it is asked whether it is there.
    pub ping_after: Duration,
    /// HTTP/2: how long it may take to answer that.
    pub ping_timeout: Duration,
    /// How long a client may take nothing of its response.
    pub stall: Duration,
    /// From a request's head to the end of its response.
    pub response: Duration,
    /// From the wish to stop to the moment when requests in flight are cut off.
    pub drain: Duration,
    /// Connections at one time; more wait in the kernel's queue.
    pub connections: usize,
    /// Of those, from one address; more are closed at once.
    pub connections_of_one: usize,
    /// HTTP/2: requests at one time on a connection.
    pub streams: u32,
    /// Size of a request head, bytes.
    pub head_bytes: u32,
}

impl Default for Limits {
    /// What Kubernetes' own servers have, except that silent clients are cut off sooner.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(90),
            // A review of a token takes 30 s at most.
            admission: Duration::from_secs(45),
            // An API server sends its own pings after 30 s; ours find peers that are gone.
            ping_after: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            // The longest time a request may ask for, and half of it again for a slow client.
            response: Duration::from_secs(90),
            drain: Duration::from_secs(30),
            // Far above one connection per API server, and within the usual 65,536 descriptors.
            connections: 4096,
            // All of an API server's users come from one address.
            connections_of_one: usize::MAX,
            streams: 100,
            head_bytes: 1 << 20,
        }
    }
}

/// A server that is not bound to an address yet.
#[derive(Clone, Debug)]
pub struct Server {
    /// Certificates and protocols.
    pub tls: Arc<Settings>,
    /// Time and size limits.
    pub limits: Limits,
    /// Counts handshakes that failed or took too long, and connections that were one too many of their address.
    pub failed_handshakes: Counter,
}

impl Server {
    /// Serves until `shutdown`; then finishes what is in flight, for at most [`Limits::drain`].
    pub async fn serve(self, listener: TcpListener, app: Router, shutdown: CancellationToken) {
        let (limits, refused, stop) = (self.limits, self.failed_handshakes.clone(), shutdown.clone());
        let connection = move |stream, peer| self.clone().connection(stream, peer, app.clone(), stop.clone());
        serve_each(listener, limits, &refused, connection, shutdown).await;
    }

    /// One connection from the handshake to its end.
    async fn connection(self, stream: TcpStream, peer: SocketAddr, app: Router, shutdown: CancellationToken) {
        // One that has not shaken hands yet has nothing in flight.
        let shaken = shutdown.run_until_cancelled(self.handshake(stream, peer));
        let Some(Some(stream)) = shaken.await else {
            return;
        };
        let tls = stream.get_ref().1;
        let shown = tls.peer_certificates().and_then(PeerCertificates::new);
        let caller = Caller { peer, shown, is_http2: tls.alpn_protocol() == Some(b"h2") };
        if let Err(error) = protocol::requests(stream, caller, app, self.limits, shutdown).await {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    }

    /// None when it failed; that is counted and no reason to tell anybody, because anyone can cause it.
    pub async fn handshake(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(self.tls.current()).accept(stream);
        let outcome = timeout(self.limits.handshake, handshake).await;
        match outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.failed_handshakes.inc();
                tracing::debug!(%peer, %error, "tls handshake failed");
                None
            }
        }
    }
}

/// Serves without TLS and over HTTP/1.1 alone, until `shutdown`. For loopback.
pub async fn serve_plain(listener: TcpListener, app: Router, limits: Limits, shutdown: CancellationToken) {
    let stop = shutdown.clone();
    let connection = move |stream, peer| {
        let (app, stop) = (app.clone(), stop.clone());
        async move {
            let caller = Caller { peer, shown: None, is_http2: false };
            if let Err(error) = protocol::requests(stream, caller, app, limits, stop).await {
                tracing::debug!(%peer, %error, "connection ended early");
            }
        }
    };
    serve_each(listener, limits, &Counter::default(), connection, shutdown).await;
}

/// Runs `connection` for each one that comes in.
async fn serve_each<F>(
    listener: TcpListener,
    limits: Limits,
    refused: &Counter,
    connection: impl Fn(TcpStream, SocketAddr) -> F,
    shutdown: CancellationToken,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (door, peers) = (Door::new(listener, limits.connections), Peers::new(limits.connections_of_one));
    let mut connections = JoinSet::new();
    while let Some((stream, peer, permit)) = door.next(&shutdown).await {
        match peers.enter(peer.ip()) {
            Some(entered) => drop(connections.spawn(holding((permit, entered), connection(stream, peer)))),
            None => drop(refused.inc()),
        }
        // Forget those that have ended.
        while connections.try_join_next().is_some() {}
    }
    drop(door);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut off that did not end in time");
    }
}

/// Where a connection comes from; in the extensions of each of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Runs `connection` while it counts among the open ones.
async fn holding(place: (OwnedSemaphorePermit, Entered), connection: impl Future<Output = ()>) {
    connection.await;
    drop(place);
}
