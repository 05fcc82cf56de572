//! The server over real sockets. Clients are raw bytes over TLS, and the real kubectl.

mod agents;
mod discovery;
mod http2;
mod kubectl;
mod slow;
mod strange;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use prometheus_client::metrics::counter::Counter;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    api::{self, fixture},
    tls::{Authority, Serving},
};

/// Everything here is done long before.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server on a free port, stopped when dropped.
struct Running {
    address: SocketAddr,
    ca_pem: String,
    failed_handshakes: Counter,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn failed_handshakes_reach(&self, count: u64) {
        let reached = async {
            while self.failed_handshakes.get() < count {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, reached).await.unwrap();
        assert_eq!(self.failed_handshakes.get(), count);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn start(limits: Limits, app: Router) -> Running {
    let authority = Authority::generate().unwrap();
    let tls = Serving::new(authority.issue(&[]).unwrap()).api_config().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, failed_handshakes) = (CancellationToken::new(), Counter::default());
    let server = Server { tls, limits, failed_handshakes: failed_handshakes.clone() };
    let task = tokio::spawn(server.serve(listener, app, shutdown.clone()));
    Running { address, ca_pem: authority.ca_pem(), failed_handshakes, shutdown, task }
}

fn api() -> Router {
    api::router(fixture::state(true))
}

async fn connect(
    address: SocketAddr,
    ca_pem: &str,
    protocols: &[&str],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    connect_with(address, ca_pem, protocols, rustls::DEFAULT_VERSIONS).await
}

async fn connect_with(
    address: SocketAddr,
    ca_pem: &str,
    protocols: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Sends `text` over HTTP/1.1 and returns all that comes back until the server closes.
async fn exchange(running: &Running, text: &str) -> String {
    let mut stream = connect(running.address, &running.ca_pem, &["http/1.1"]).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes without a TLS goodbye has closed all the same.
    let _end = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str, more: &str) -> String {
    let token = fixture::TOKEN;
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}Connection: close\r\n\r\n"
    )
}

#[tokio::test]
async fn c104_both_protocols_are_offered_and_http_1_answers() {
    let running = start(Limits::default(), api()).await;
    for (offered, settled) in [(["h2", "http/1.1"], "h2"), (["http/1.1", "x"], "http/1.1")] {
        let stream = connect(running.address, &running.ca_pem, &offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(settled.as_bytes()));
    }
    let answer = exchange(&running, &get("/apis/metrics.k8s.io/v1/nodes/n1", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"kind\":\"NodeMetrics\""), "{answer}");
}

#[tokio::test]
async fn c109_a_huge_head_is_refused_and_a_long_selector_is_a_status() {
    let running = start(Limits::default(), api()).await;
    let answer = exchange(&running, &get("/", &format!("X: {}\r\n", "x".repeat(2 << 20)))).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let selector = "x".repeat(60_000);
    let answer =
        exchange(&running, &get(&format!("/apis/metrics.k8s.io/v1/nodes?labelSelector={selector}"), ""))
            .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_failed_handshake_is_counted_and_harms_nobody() {
    let running = start(Limits::default(), api()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _end = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap();
    running.failed_handshakes_reach(1).await;
    assert!(exchange(&running, &get("/livez", "")).await.ends_with("ok"));
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_closed() {
    let limits = Limits { handshake: Duration::from_millis(100), ..Limits::default() };
    let running = start(limits, api()).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let _end = timeout(DEADLINE, silent.read_to_end(&mut Vec::new())).await.unwrap();
    running.failed_handshakes_reach(1).await;
}

#[tokio::test]
async fn a_client_that_shakes_hands_and_asks_nothing_is_closed() {
    let limits = Limits { first_request: Duration::from_millis(100), ..Limits::default() };
    let running = start(limits, api()).await;
    for (protocol, said) in
        [("http/1.1", ""), ("http/1.1", "GET / HT"), ("h2", ""), ("h2", "PRI * HTTP/2.0\r\n")]
    {
        let mut stream = connect(running.address, &running.ca_pem, &[protocol]).await.unwrap();
        // It may be closed already.
        let _sent = stream.write_all(said.as_bytes()).await;
        let closed = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "{protocol} {said:?}");
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_a_place() {
    let running = start(Limits { connections: 1, ..Limits::default() }, api()).await;
    let first = connect(running.address, &running.ca_pem, &["http/1.1"]).await.unwrap();
    let text = get("/livez", "");
    let mut second = std::pin::pin!(exchange(&running, &text));
    // The second cannot even shake hands while the first is open.
    assert!(timeout(Duration::from_millis(100), second.as_mut()).await.is_err());
    drop(first);
    assert!(timeout(DEADLINE, second).await.unwrap().ends_with("ok"));
}

#[tokio::test]
async fn c116_a_request_in_flight_is_finished_before_the_server_ends() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, wait) = (Arc::clone(&entered), Arc::clone(&release));
    let app = Router::new().fallback(async move || {
        enter.notify_one();
        wait.notified().await;
        "done"
    });
    let mut running = start(Limits::default(), app).await;
    let (address, ca_pem) = (running.address, running.ca_pem.clone());
    let client = tokio::spawn(async move {
        let mut stream = connect(address, &ca_pem, &["http/1.1"]).await.unwrap();
        stream.write_all(get("/", "").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _end = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    });
    timeout(DEADLINE, entered.notified()).await.unwrap();
    running.shutdown.cancel();
    // New connections are refused as soon as the listener is gone.
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(DEADLINE, refused).await.unwrap();
    assert!(!running.task.is_finished());
    release.notify_one();
    assert!(timeout(DEADLINE, client).await.unwrap().unwrap().ends_with("done"));
    timeout(DEADLINE, &mut running.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_when_the_drain_time_is_over() {
    let entered = Arc::new(Notify::new());
    let enter = Arc::clone(&entered);
    let app = Router::new().fallback(async move || {
        enter.notify_one();
        std::future::pending::<()>().await;
    });
    let mut running = start(Limits { drain: Duration::from_millis(50), ..Limits::default() }, app).await;
    let mut stream = connect(running.address, &running.ca_pem, &["http/1.1"]).await.unwrap();
    stream.write_all(get("/", "").as_bytes()).await.unwrap();
    timeout(DEADLINE, entered.notified()).await.unwrap();
    running.shutdown.cancel();
    timeout(DEADLINE, &mut running.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn incoming_yields_connections_and_fails_those_that_stay_silent() {
    let authority = Authority::generate().unwrap();
    let serving = Serving::new(authority.issue(&[]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { first_request: Duration::from_millis(200), ..Limits::default() };
    let server =
        Server { tls: serving.grpc_config().unwrap(), limits, failed_handshakes: Counter::default() };
    let shutdown = CancellationToken::new();
    let mut incoming =
        std::pin::pin!(server.incoming(accepted(listener, limits, shutdown.clone()), Arrivals::default()));
    // A peer that never shakes hands is in nobody's way.
    let _silent = TcpStream::connect(address).await.unwrap();
    let ca_pem = authority.ca_pem();
    let client = tokio::spawn(async move { connect(address, &ca_pem, &["h2"]).await.unwrap() });
    let mut connection = timeout(DEADLINE, incoming.next()).await.unwrap().unwrap();
    let mut client = client.await.unwrap();
    client.write_all(b"PRI *").await.unwrap();
    let mut said = Vec::new();
    let error = timeout(DEADLINE, connection.read_to_end(&mut said)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(b"PRI *".starts_with(&said));
    shutdown.cancel();
    assert!(timeout(DEADLINE, incoming.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn c106_a_replaced_certificate_serves_new_handshakes_and_keeps_open_connections() {
    let (old, new) = (Authority::generate().unwrap(), Authority::generate().unwrap());
    let serving = Serving::new(old.issue(&[]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = serving.api_config().unwrap();
    let server = Server { tls, limits: Limits::default(), failed_handshakes: Counter::default() };
    tokio::spawn(server.serve(listener, api(), CancellationToken::new()));
    let mut open = connect(address, &old.ca_pem(), &["http/1.1"]).await.unwrap();
    serving.replace(new.issue(&[]).unwrap());
    assert!(connect(address, &old.ca_pem(), &["http/1.1"]).await.is_err());
    assert!(connect(address, &new.ca_pem(), &["http/1.1"]).await.is_ok());
    open.write_all(get("/livez", "").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _end = timeout(DEADLINE, open.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("ok"), "{answer}");
}
