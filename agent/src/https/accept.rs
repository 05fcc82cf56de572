//! Accepting TCP connections: no more than the limit, and on through every fault of a single one.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

/// Pause after a fault that the next attempt would meet again, such as no free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener with a bound on what it lets in.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Door {
    /// Lets in at most so many at one time.
    #[must_use]
    pub fn new(listener: TcpListener, connections: usize) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections)) }
    }

    /// The next connection; its place is free again when the permit is dropped. None after `shutdown`.
    pub async fn next(
        &self,
        shutdown: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let next = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
            let (stream, peer) = self.accept().await;
            Some((stream, peer, permit))
        };
        shutdown.run_until_cancelled(next).await.flatten()
    }

    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Responses are written whole; waiting to fill a packet only delays them.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "socket option not set");
                    }
                    return (stream, peer);
                }
                Err(error) if ended_by_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn ended_by_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
