//! The HTTPS server: connections in, requests to a router, and nothing that a peer does holds up another.
//!
//! Written on hyper itself, because every stage needs its own time limit: the handshake, the first request (a client
//! may finish the handshake and say nothing), the next request, and the end. [`Server::incoming`] is the same door
//! for a gRPC server. What requests mean is [`crate::api`]'s business.

mod accept;
mod incoming;

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, response::Response};
use http::{Request, header::CONNECTION};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::tls::clients::{PeerCertificates, Settings};
use accept::Door;
pub use incoming::{Peer, TlsConnection};

/// What one peer, and all of them together, may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the connection to the end of the handshake.
    pub handshake: Duration,
    /// From the handshake to the first complete request head.
    pub first_request: Duration,
    /// HTTP/1.1: from one response to the next complete request head. HTTP/2 has pings instead.
    pub idle: Duration,
    /// HTTP/2: how long a peer may be silent before it is asked whether it is there.
    pub ping_after: Duration,
    /// HTTP/2: how long it may take to answer that.
    pub ping_timeout: Duration,
    /// From the wish to stop to the moment when requests in flight are cut off.
    pub drain: Duration,
    /// Connections at one time; more wait in the kernel's queue.
    pub connections: usize,
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
            // An API server sends its own pings after 30 s; ours find peers that are gone.
            ping_after: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(30),
            // Far above one connection per API server, and within the usual 65,536 descriptors.
            connections: 4096,
            streams: 100,
            head_bytes: 1 << 20,
        }
    }
}

/// HTTP/2 flow control per request, bytes. No request has a body that is read, so the window stays small.
const STREAM_WINDOW: u32 = 64 << 10;

/// HTTP/2 frames, bytes.
const FRAME_BYTES: u32 = 256 << 10;

/// A server that is not bound to an address yet.
#[derive(Clone, Debug)]
pub struct Server {
    /// Certificates and protocols.
    pub tls: Arc<Settings>,
    /// Time and size limits.
    pub limits: Limits,
    /// Counts handshakes that failed or took too long.
    pub failed_handshakes: Counter,
}

impl Server {
    /// Serves until `shutdown`; then finishes what is in flight, for at most [`Limits::drain`].
    pub async fn serve(self, listener: TcpListener, app: Router, shutdown: CancellationToken) {
        let door = Door::new(listener, self.limits.connections);
        let mut connections = JoinSet::new();
        while let Some((stream, peer, permit)) = door.next(&shutdown).await {
            let connection = self.clone().connection(stream, peer, app.clone(), shutdown.clone());
            connections.spawn(holding(permit, connection));
            // Forget those that have ended.
            while connections.try_join_next().is_some() {}
        }
        drop(door);
        let drained = async { while connections.join_next().await.is_some() {} };
        if timeout(self.limits.drain, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections cut off that did not end in time");
        }
    }

    /// One connection from the handshake to its end.
    async fn connection(self, stream: TcpStream, peer: SocketAddr, app: Router, shutdown: CancellationToken) {
        // One that has not shaken hands yet has nothing in flight.
        let shaken = shutdown.run_until_cancelled(self.handshake(stream, peer));
        let Some(Some(stream)) = shaken.await else {
            return;
        };
        if let Err(error) = self.requests(stream, peer, app, shutdown).await {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    }

    /// None when it failed; that is counted and no reason to tell anybody, because anyone can cause it.
    async fn handshake(&self, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
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

    /// Serves the protocol that the handshake settled; without one it is HTTP/1.1. Each request carries its [`Peer`]
    /// and, if there are any, its [`PeerCertificates`]. Upgrades are never offered: each
    /// request is authorized by itself, and a request that asks for an upgrade is answered as any other.
    async fn requests(
        &self,
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
        app: Router,
        shutdown: CancellationToken,
    ) -> Result<(), hyper::Error> {
        let signals = Arc::new(Signals::default());
        let signal = Arc::clone(&signals);
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let shown = stream.get_ref().1.peer_certificates().and_then(PeerCertificates::new);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            if let Some(shown) = &shown {
                request.extensions_mut().insert(shown.clone());
            }
            signal.first_request.notify_one();
            let (response, signal) = (app.clone().oneshot(request), Arc::clone(&signal));
            async move { response.await.map(|response| signal.watch(response, is_http2)) }
        });
        let stream = TokioIo::new(stream);
        if is_http2 {
            let connection = self.http2().serve_connection(stream, service);
            drive(connection, http2::Connection::graceful_shutdown, &signals, self.limits, &shutdown).await
        } else {
            let connection = self.http1().serve_connection(stream, service);
            drive(connection, http1::Connection::graceful_shutdown, &signals, self.limits, &shutdown).await
        }
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // Hyper's limit runs from the moment it waits for a request, so it bounds idleness too.
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.idle);
        builder.max_buf_size(usize::try_from(self.limits.head_bytes).unwrap_or(usize::MAX));
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.ping_after)
            .keep_alive_timeout(self.limits.ping_timeout)
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(self.limits.head_bytes)
            .initial_stream_window_size(STREAM_WINDOW)
            .max_frame_size(FRAME_BYTES);
        builder
    }
}

/// What the requests of a connection tell the connection.
#[derive(Debug, Default)]
struct Signals {
    first_request: Notify,
    last_response: Notify,
}

impl Signals {
    /// Looks for `Connection: close`. HTTP/2 has no such header: there the whole connection is told instead.
    fn watch(&self, mut response: Response, is_http2: bool) -> Response {
        if response.headers().get(CONNECTION).is_some_and(|value| value == "close") {
            self.last_response.notify_one();
            if is_http2 {
                response.headers_mut().remove(CONNECTION);
            }
        }
        response
    }
}

/// Runs a connection to its end. One that sends no request in time is dropped; on `shutdown`, and with a response
/// that is to be the last, it finishes what it has.
async fn drive<C>(
    connection: C,
    finish: fn(Pin<&mut C>),
    signals: &Signals,
    limits: Limits,
    shutdown: &CancellationToken,
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = std::pin::pin!(connection);
    let mut silence = std::pin::pin!(tokio::time::sleep(limits.first_request));
    let (mut silent, mut finishing) = (true, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = signals.first_request.notified(), if silent => silent = false,
            () = silence.as_mut(), if silent => return Ok(()),
            () = ending(signals, shutdown), if !finishing => {
                finishing = true;
                finish(connection.as_mut());
            }
        }
    }
}

async fn ending(signals: &Signals, shutdown: &CancellationToken) {
    tokio::select! {
        () = signals.last_response.notified() => {}
        () = shutdown.cancelled() => {}
    }
}

/// Runs `connection` while it counts among the open ones.
async fn holding(permit: OwnedSemaphorePermit, connection: impl Future<Output = ()>) {
    connection.await;
    drop(permit);
}

#[cfg(test)]
mod tests;
