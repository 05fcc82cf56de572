//! The port for agents: a few threads, each with a runtime of its own for its share of the connections.
//!
//! Apart from the runtime of the API, so that neither waits for the other. A connection stays with its thread: all that
//! a batch does happens there, and no other thread is woken for it.

mod connections;
mod pause;

use std::{io, num::NonZero, pin::pin, thread};

use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

pub(crate) use self::connections::serve as serve_connections;

use self::pause::Pauses;
use crate::{
    https::{Accepted, Arrivals, Incoming as _, Server, accepted},
    pipeline::Pipeline,
};

/// Most threads. Two bear ten thousand agents; when all of them come back at once, more are of use.
const THREADS: usize = 4;

/// Connections on their way to a thread; more wait in the kernel's queue.
const QUEUE: usize = 64;

/// Serves agents until the pipeline's streams are to end.
pub(super) async fn serve(pipeline: Pipeline, server: Server, listener: TcpListener) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
    let started: io::Result<Vec<_>> =
        (0..threads).map(|nth| Share::start(nth, pipeline.clone(), server.clone())).collect();
    let shares = match started {
        Ok(shares) => shares,
        Err(error) => return tracing::error!(%error, "no threads for agents"),
    };
    let connections = accepted(listener, server.limits, pipeline.ingest.shutdown.clone());
    let mut connections = pin!(connections);
    for share in shares.iter().cycle() {
        let Some(connection) = connections.next().await else { break };
        if share.connections.send(connection).await.is_err() {
            break;
        }
    }
    for Share { connections, ended } in shares {
        drop(connections);
        // The sender of a thread that panicked is gone too.
        let _ = ended.await;
    }
}

/// A thread and the connections it serves.
struct Share {
    connections: mpsc::Sender<Accepted>,
    ended: oneshot::Receiver<()>,
}

impl Share {
    fn start(nth: usize, pipeline: Pipeline, server: Server) -> io::Result<Self> {
        let (connections, given) = mpsc::channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let arrivals = Arrivals::default();
        let pauses = Pauses::new(arrivals.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || pauses.before_waiting())
            .build()?;
        thread::Builder::new().name(format!("agents-{nth}")).spawn(move || {
            runtime.block_on(async move {
                let incoming = server.incoming(ReceiverStream::new(given), arrivals);
                serve_connections(incoming, pipeline.ingest).await;
            });
            let _ = end.send(());
        })?;
        Ok(Self { connections, ended })
    }
}
