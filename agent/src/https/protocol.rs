//! One connection after its handshake: requests in, responses out, and the ways in which it ends.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{BoxError, Router, body::Body as AxumBody, response::Response};
use http::{Request, header::CONNECTION};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    Admitted, Limits, Peer,
    patience::{Patience, Patient},
    pieces::{PIECE, Pieces},
    streams::Streams,
};
use crate::tls::clients::PeerCertificates;

/// HTTP/2 flow control per request, bytes. The API reads no bodies, and those of gRPC are small.
const STREAM_WINDOW: u32 = 64 << 10;

/// HTTP/2 frames, bytes.
const FRAME_BYTES: u32 = 256 << 10;

/// HTTP/2: what may wait to be sent of one response, bytes; one piece in front of the one being sent. A client that
/// reads slowly costs no more than that for each request, besides what the response itself holds.
const SEND_BYTES: usize = 2 * PIECE;

/// HTTP/2: requests that were reset before we took them up, after which a connection is ended; and those that we
/// reset ourselves because they broke the protocol. An honest client cancels a few at a time.
const ABANDONED_REQUESTS: usize = 20;
const FAULTY_REQUESTS: usize = 100;

/// HTTP/1.1: header lines of a request. A front proxy adds a line for each group of a user, who may have hundreds.
const HEADER_LINES: usize = 2000;

/// Who is at the other end.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    /// What was shown in the handshake.
    pub(super) shown: Option<PeerCertificates>,
    /// What the handshake settled; without one it is HTTP/1.1.
    pub(super) is_http2: bool,
}

/// Serves the requests of a connection. Each carries its [`Peer`], its connection's [`Admitted`] and, if there are any,
/// its [`PeerCertificates`]. Upgrades are never offered: each request is authorized by itself, and a request that asks for
/// an upgrade is answered as any other.
pub(super) async fn requests<S>(
    stream: S,
    caller: Caller,
    app: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Caller { peer, shown, is_http2 } = caller;
    let admitted = Admitted::of(peer, shown.clone());
    let signals = Arc::new(Signals { admitted: admitted.clone(), ..Signals::default() });
    let signal = Arc::clone(&signals);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(admitted.clone());
        if let Some(shown) = &shown {
            request.extensions_mut().insert(shown.clone());
        }
        signal.first_request.notify_one();
        respond(app.clone(), request, Arc::clone(&signal), is_http2, limits)
    });
    let whole = (!is_http2).then_some(limits.response);
    let stream = TokioIo::new(Patient::new(stream, Patience { stall: limits.stall, whole }));
    if is_http2 {
        let connection = http2(limits).serve_connection(stream, service);
        drive(connection, http2::Connection::graceful_shutdown, &signals, limits, &shutdown).await
    } else {
        let connection = http1(limits).serve_connection(stream, service);
        drive(connection, http1::Connection::graceful_shutdown, &signals, limits, &shutdown).await
    }
}

fn http1(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Hyper's limit runs from the moment it waits for a request, so it bounds idleness too.
    builder.timer(TokioTimer::new()).header_read_timeout(limits.idle);
    builder.max_buf_size(usize::try_from(limits.head_bytes).unwrap_or(usize::MAX)).max_headers(HEADER_LINES);
    builder
}

fn http2(limits: Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.ping_after)
        .keep_alive_timeout(limits.ping_timeout)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BYTES)
        .max_pending_accept_reset_streams(ABANDONED_REQUESTS)
        .max_local_error_reset_streams(FAULTY_REQUESTS);
    builder
}

/// One request. An error ends an HTTP/1.1 connection, and of an HTTP/2 connection this request alone.
async fn respond(
    app: Router,
    request: Request<Incoming>,
    signals: Arc<Signals>,
    is_http2: bool,
    limits: Limits,
) -> Result<Response<Pieces<AxumBody>>, BoxError> {
    let end = Instant::now() + limits.response;
    // The API never reads bodies. Over HTTP/1.1 one would stand in the way of the next request, and where it ends is the
    // question that request smuggling is about.
    let is_last = !is_http2 && !request.body().is_end_stream();
    let mut response = timeout_at(end, app.oneshot(request)).await??;
    if is_last {
        response.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("close"));
    }
    let last = signals.last(&mut response, is_http2);
    if response.extensions().get::<Stranger>().is_some() {
        signals.stranger.notify_one();
    }
    let (stall, end) = match response.extensions().get::<Lasting>() {
        Some(lasting) => (lasting.stall, Instant::now() + FOR_EVER),
        None => (limits.stall, end),
    };
    Ok(response.map(|body| Pieces::new(body, stall, end, last)))
}

/// In the extensions of a response that is a stream: it ends when it is over or nobody wants it any more, and not after
/// [`Limits::response`].
#[derive(Clone, Copy, Debug)]
pub struct Lasting {
    /// How long its client may take nothing of it, in place of [`Limits::stall`].
    pub stall: Duration,
}

/// In the extensions of a response to nobody who is known: unless somebody is [`Admitted`] on its connection within
/// [`Limits::admission`], the connection ends then. Until then it may ask on, and say who it is.
#[derive(Clone, Copy, Debug)]
pub struct Stranger;

/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What the requests of a connection tell the connection.
#[derive(Debug, Default)]
struct Signals {
    first_request: Notify,
    last_response: Notify,
    stranger: Notify,
    admitted: Admitted,
}

impl Signals {
    /// Looks for `Connection: close`. HTTP/2 has no such header: there the whole connection is told instead.
    fn last(self: &Arc<Self>, response: &mut Response, is_http2: bool) -> Option<Last> {
        response.headers().get(CONNECTION).filter(|value| *value == "close")?;
        if is_http2 {
            response.headers_mut().remove(CONNECTION);
        }
        Some(Last(Arc::clone(self)))
    }
}

/// The last response of a connection. The connection is told when this is dropped, which is when all of it was handed
/// over to be sent: a client that hears of the end first may lose an answer that it has not read yet.
#[derive(Debug)]
pub(super) struct Last(Arc<Signals>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.last_response.notify_one();
    }
}

/// Runs a connection to its end. One that sends no request in time is dropped; on `shutdown`, and with a response
/// that is to be the last, it finishes what it has, but does not linger: a peer can put off the end by not confirming
/// it, and would keep a place among the open connections.
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
    let mut limit = std::pin::pin!(sleep_until(Instant::now() + limits.first_request));
    let mut ending = std::pin::pin!(ending(signals, limits.admission, shutdown));
    let (mut silent, mut finishing) = (true, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = signals.first_request.notified(), if silent && !finishing => silent = false,
            () = limit.as_mut(), if silent || finishing => return Ok(()),
            () = ending.as_mut(), if !finishing => {
                finishing = true;
                limit.as_mut().reset(Instant::now() + limits.response);
                finish(connection.as_mut());
            }
        }
    }
}

async fn ending(signals: &Signals, admission: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = signals.last_response.notified() => {}
        () = unknown(signals, admission) => {}
        () = shutdown.cancelled() => {}
    }
}

/// Waits until a stranger was answered and nobody was recognised for so long after.
async fn unknown(signals: &Signals, admission: Duration) {
    signals.stranger.notified().await;
    sleep(admission).await;
    if signals.admitted.is_set() {
        std::future::pending::<()>().await;
    }
}
