//! The port for agents: a few threads, each with a runtime of its own for its share of the connections.
//!
//! Apart from the runtime of the API, so that neither waits for the other. A connection stays with its thread: all that
//! a batch does happens there, and no other thread is woken for it.

mod connections;
mod pause;

use std::{io, num::NonZero, pin::pin, thread};

use tokio::{net::TcpListener, runtime::Builder, sync::mpsc, task::JoinHandle};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

pub(crate) use self::connections::serve as serve_connections;

use self::pause::Pauses;
use super::thread::Thread;
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
    let stop = pipeline.ingest.shutdown.clone();
    let connections = accepted(listener, server.limits, stop.clone());
    let mut connections = pin!(connections);
    for share in shares.iter().cycle() {
        let Some(connection) = connections.next().await else { break };
        if share.connections.send(connection).await.is_err() {
            if stop.is_cancelled() {
                break;
            }
            // Its task panicked. Without it others would be served, but not all: the program is to end, and begin anew.
            return tracing::error!("a thread for agents ended");
        }
    }
    for Share { connections, serving, thread: _thread } in shares {
        drop(connections);
        // One that panicked has ended too.
        let _ = serving.await;
    }
}

/// A thread and the connections it serves.
struct Share {
    connections: mpsc::Sender<Accepted>,
    serving: JoinHandle<()>,
    thread: Thread,
}

impl Share {
    fn start(nth: usize, pipeline: Pipeline, server: Server) -> io::Result<Self> {
        let (connections, given) = mpsc::channel(QUEUE);
        let arrivals = Arrivals::default();
        let pauses = Pauses::new(arrivals.clone());
        let mut runtime = Builder::new_current_thread();
        runtime.enable_all().on_thread_park(move || pauses.before_waiting());
        let thread = Thread::of(&format!("agents-{nth}"), runtime)?;
        let serving = thread.spawn(async move {
            let incoming = server.incoming(ReceiverStream::new(given), arrivals);
            serve_connections(incoming, pipeline.ingest).await;
        });
        Ok(Self { connections, serving, thread })
    }
}
