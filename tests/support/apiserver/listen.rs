//! Connections in, over TLS, until the stand-in is away.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{ServerConfig, crypto::ring};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use super::{Cluster, pki::Identity, reply::Reply};

/// Longest body of a request: a real one takes 3 MiB.
const BODY: usize = 3 << 20;

/// Whether connections are taken, and which still live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    is_away: bool,
    /// How often all were closed.
    closings: u64,
}

/// Lets connections in and throws them out.
#[derive(Default)]
pub(super) struct Door(watch::Sender<State>, Mutex<Option<TlsAcceptor>>);

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Door").field(&self.0).finish()
    }
}

impl Door {
    pub(super) fn disconnect(&self) {
        self.0.send_modify(|state| state.closings += 1);
    }

    /// New connections are shown this certificate.
    pub(super) fn show(&self, identity: &Identity) {
        *self.1.lock().unwrap() = Some(acceptor(identity));
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.1.lock().unwrap().clone().expect("a certificate was given before anybody came")
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.0.send_modify(|state| *state = State { is_away, closings: state.closings + 1 });
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the usual versions")
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key())
        .expect("a certificate and its key");
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

/// Binds and serves until the runtime ends.
pub(super) async fn serve(
    cluster: Arc<Cluster>,
    door: Arc<Door>,
    identity: &Identity,
    ip: IpAddr,
) -> SocketAddr {
    door.show(identity);
    let listener = TcpListener::bind((ip, 0)).await.expect("the address is this network's");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut state = door.0.subscribe();
            if state.borrow_and_update().is_away {
                continue;
            }
            let connection = connection(door.acceptor(), stream, Arc::clone(&cluster));
            tokio::spawn(async move {
                tokio::select! {
                    () = connection => {}
                    _ = state.changed() => {}
                }
            });
        }
    });
    address
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, cluster: Arc<Cluster>) {
    // An error here is the client's business; it is told by the end of the connection.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request: http::Request<Incoming>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (head, body) = request.into_parts();
            let Reply(response) = match Limited::new(body, BODY).collect().await {
                Ok(body) => cluster.answer(http::Request::from_parts(head, body.to_bytes())).await,
                Err(error) => Reply::plain(http::StatusCode::BAD_REQUEST, error.to_string()),
            };
            Ok::<_, Infallible>(response)
        }
    });
    drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
}
