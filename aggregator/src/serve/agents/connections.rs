//! The agents' connections: HTTP/2 with the ingest service right behind it.
//!
//! On hyper itself, as the API is. A gRPC library's server puts a dozen layers between the two, for settings that are not
//! used here: there is a connection for each node, and all of that would be kept for each and asked for each message.

use std::time::Duration;

use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kubevitals::wire::ingest_server::IngestServer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin,
};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{codegen::Service as _, transport::server::Connected};

use crate::{causes::with_causes, ingest::Ingest};

/// One stream for a connection; a second is there while the first ends, and questions about tokens beside them.
const STREAMS: u32 = 4;

/// Pings find agents that are gone without a word: after so long in silence, and so long without an answer.
const PING_AFTER: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `ingest` over these connections until there are no more, or until it is shut down; then lets them end.
pub(crate) async fn serve<C>(connections: impl Stream<Item = C>, ingest: Ingest)
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    // Of this thread alone: each connection looks at it whenever it has nothing else to do.
    let (stop, service) = (ingest.shutdown.child_token(), ingest.into_server());
    let open = TaskTracker::new();
    {
        // Dropped at the end of this block: whoever comes later is not kept waiting.
        pin!(connections);
        while let Some(Some(connection)) = stop.run_until_cancelled(connections.next()).await {
            open.spawn(serve_one(connection, service.clone(), stop.clone()));
        }
    }
    open.close();
    open.wait().await;
}

/// The connection's state is made and put in its place here, not in a future, which would have room for it twice: where it is
/// made and where it is used.
fn serve_one<C>(
    connection: C,
    service: IngestServer<Ingest>,
    stop: CancellationToken,
) -> impl Future<Output = ()>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let from = connection.connect_info();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(from.clone());
        service.clone().call(request)
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    let mut serving = Box::pin(http.serve_connection(TokioIo::new(connection), answer));
    async move {
        let ended = tokio::select! {
            biased;
            ended = &mut serving => ended,
            () = stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = with_causes(&error), "an agent's connection ended early");
        }
    }
}
