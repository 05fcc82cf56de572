//! TLS connections as a stream, for the port of agents.

use std::{
    io,
    net::{self, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use kubevitals_agent::{
    https::{Admitted, Door, Limits, Server},
    tls::clients::PeerCertificates,
};

/// Connections that wait to be taken. The taker does nothing but spawn, so a few suffice.
const QUEUE: usize = 16;

/// Length of the text that begins every HTTP/2 connection, bytes. Until it is complete the server above sends no
/// pings, so the limit on silence is ours.
const PREFACE: usize = 24;

/// A connection before its handshake, which belongs to no runtime yet.
#[derive(Debug)]
pub struct Accepted {
    stream: net::TcpStream,
    peer: SocketAddr,
    /// Its place among the open ones.
    permit: OwnedSemaphorePermit,
}

/// Connections as they come, until `shutdown`; no more at one time than `limits` allow.
pub fn accepted(
    listener: TcpListener,
    limits: Limits,
    shutdown: CancellationToken,
) -> impl Stream<Item = Accepted> + Send + 'static {
    let door = Door::new(listener, limits.connections);
    futures_util::stream::unfold((door, shutdown), async |(door, shutdown)| {
        loop {
            let (stream, peer, permit) = door.next(&shutdown).await?;
            match stream.into_std() {
                Ok(stream) => return Some((Accepted { stream, peer, permit }, (door, shutdown))),
                Err(error) => tracing::debug!(%peer, %error, "connection lost"),
            }
        }
    })
}

/// How often something came in over the connections that share this.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<AtomicU64>);

impl Arrivals {
    /// Since the beginning.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same server for agents.
pub trait Incoming {
    /// Those of `accepted` whose handshake succeeded, until it ends. Handshakes run side by side.
    fn incoming(
        self,
        accepted: impl Stream<Item = Accepted> + Send + 'static,
        arrivals: Arrivals,
    ) -> impl Stream<Item = TlsConnection> + Send + 'static;
}

impl Incoming for Server {
    fn incoming(
        self,
        accepted: impl Stream<Item = Accepted> + Send + 'static,
        arrivals: Arrivals,
    ) -> impl Stream<Item = TlsConnection> + Send + 'static {
        let (sender, receiver) = mpsc::channel(QUEUE);
        // Ends with `accepted`, or when nobody takes connections any more.
        tokio::spawn(shake_all(self, accepted, arrivals, sender));
        ReceiverStream::new(receiver)
    }
}

async fn shake_all(
    server: Server,
    accepted: impl Stream<Item = Accepted>,
    arrivals: Arrivals,
    sender: mpsc::Sender<TlsConnection>,
) {
    let mut accepted = std::pin::pin!(accepted);
    // Dropped at the end, which ends unfinished handshakes.
    let mut handshakes = JoinSet::new();
    loop {
        let connection = tokio::select! {
            connection = accepted.next() => connection,
            // What a task leaves behind would stay until somebody else comes, and after a restart all come at once.
            Some(_) = handshakes.join_next() => continue,
        };
        let Some(connection) = connection else { return };
        if sender.is_closed() {
            return;
        }
        let (server, arrivals, sender) = (server.clone(), arrivals.clone(), sender.clone());
        handshakes.spawn(async move {
            if let Some(connection) = shake(&server, connection, arrivals).await {
                // When it fails, nobody wants connections any more.
                let _closed = sender.send(connection).await;
            }
        });
    }
}

async fn shake(server: &Server, connection: Accepted, arrivals: Arrivals) -> Option<TlsConnection> {
    let Accepted { stream, peer, permit } = connection;
    let stream = TcpStream::from_std(stream)
        .inspect_err(|error| tracing::warn!(%peer, %error, "connection cannot be watched"));
    let stream = server.handshake(stream.ok()?, peer).await?;
    Some(TlsConnection::new(stream, peer, permit, arrivals, server.limits))
}

/// One TLS connection. It fails when the peer does not begin to speak in time, or is let in too late.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    admitted: Admitted,
    /// The time until which it must be admitted; None once it is.
    stranger: Option<Pin<Box<Sleep>>>,
    /// Bytes of the preface still to come, and the time until which they must be here; None once they are.
    silence: Option<(usize, Pin<Box<Sleep>>)>,
    arrivals: Arrivals,
    /// Keeps the connection's place among the open ones.
    _permit: OwnedSemaphorePermit,
}

impl TlsConnection {
    fn new(
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        arrivals: Arrivals,
        limits: Limits,
    ) -> Self {
        let silence = Some((PREFACE, Box::pin(sleep(limits.first_request))));
        let stranger = Some(Box::pin(sleep(limits.admission)));
        let shown = stream.get_ref().1.peer_certificates().and_then(PeerCertificates::new);
        Self { stream, admitted: Admitted::of(peer, shown), stranger, silence, arrivals, _permit: permit }
    }

    /// Whether it was not let in in time. Asked before each read, as a peer that sends all the time is no better.
    fn is_unwanted(&mut self, cx: &mut Context<'_>) -> bool {
        if self.admitted.is_set() {
            self.stranger = None;
        }
        self.stranger.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready())
    }
}

impl Connected for TlsConnection {
    type ConnectInfo = Admitted;

    fn connect_info(&self) -> Admitted {
        self.admitted.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_unwanted(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if read.is_ready() {
            this.arrivals.one_more();
        }
        let Some((missing, deadline)) = &mut this.silence else {
            return read;
        };
        if read.is_ready() {
            *missing = missing.saturating_sub(buffer.filled().len().saturating_sub(before));
            if *missing == 0 {
                this.silence = None;
            }
            return read;
        }
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
