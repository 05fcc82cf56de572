//! Stand-in kubelets over real TLS that answer, hang, lie and break off on command.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{ServerConfig, crypto::ring};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::apiserver::{
    make::node,
    pki::{Authority, Wanted},
};

/// What a kubelet does with whoever asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Answers with its page.
    Good,
    /// Takes the connection and says nothing at all.
    HangsAtConnect,
    /// Takes the request and does not answer.
    HangsAtHead,
    /// Answers with half a page and says nothing more.
    HangsInBody,
    /// Ends the connection within the page it announced.
    BreaksOff,
    /// Answers with a page that is whole by its length and ends within a line.
    HalfALine,
    /// Answers with a gigabyte.
    Endless,
    /// Answers with this status; a redirect leads to itself.
    Status(u16),
    /// Answers and closes the connection.
    Closes,
}

type Page = Arc<dyn Fn() -> String + Send + Sync>;

struct State {
    manner: Manner,
    page: Page,
    /// Connections so far.
    connections: u64,
    /// Heads of requests so far.
    requests: Vec<String>,
}

/// A running kubelet. Dropping it ends its connections.
pub(crate) struct Kubelet {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubelet").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Kubelet {
    /// Starts one with a certificate for `names`, on a free port of loopback.
    pub(crate) fn start(
        authority: &Authority,
        names: &[&str],
        page: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kubelet")
            .enable_all()
            .build()
            .expect("a thread can be started");
        let identity = authority.issue(&Wanted::server("system:node:stand-in", names));
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the usual versions")
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key())
            .expect("a certificate and its key");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let state =
            State { manner: Manner::Good, page: Arc::new(page), connections: 0, requests: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        listener.set_nonblocking(true).expect("a listener can be made so");
        let address = listener.local_addr().expect("it is bound");
        let serving = Arc::clone(&state);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("within a runtime");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(acceptor.clone(), stream, Arc::clone(&serving)));
            }
        });
        Self { address, state, runtime: Some(runtime) }
    }

    pub(crate) fn set(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    pub(crate) fn set_page(&self, page: impl Fn() -> String + Send + Sync + 'static) {
        self.state.lock().unwrap().page = Arc::new(page);
    }

    pub(crate) fn connections(&self) -> u64 {
        self.state.lock().unwrap().connections
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The node that this is the kubelet of, as the API has it.
    pub(crate) fn node(&self, name: &str) -> Value {
        let mut node = node(name, &[]);
        node["status"]["addresses"] = json!([{"type": "Hostname", "address": name},
            {"type": "InternalIP", "address": self.address.ip().to_string()}]);
        node["status"]["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": self.address.port()}});
        node
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) {
    state.lock().unwrap().connections += 1;
    if state.lock().unwrap().manner == Manner::HangsAtConnect {
        hang().await;
    }
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    while let Some(head) = head(&mut stream).await {
        let (manner, page) = {
            let mut state = state.lock().unwrap();
            state.requests.push(head);
            (state.manner.clone(), Arc::clone(&state.page))
        };
        if answer(&mut stream, manner, &page()).await.is_none() {
            return;
        }
    }
}

async fn hang() {
    tokio::time::sleep(Duration::from_hours(1)).await;
}

/// The head of the next request; none at the connection's end.
async fn head(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Answers once; none when the connection is to end.
async fn answer(stream: &mut TlsStream<TcpStream>, manner: Manner, page: &str) -> Option<()> {
    let head = |length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let half = page.get(..page.len() / 2)?;
    let text = match &manner {
        Manner::Good | Manner::Closes | Manner::HangsAtConnect => head(page.len()) + page,
        Manner::HangsAtHead => {
            hang().await;
            return None;
        }
        Manner::HangsInBody | Manner::BreaksOff => head(page.len()) + half,
        Manner::HalfALine => head(half.len()) + half,
        Manner::Endless => head(1 << 30),
        Manner::Status(status) => format!(
            "HTTP/1.1 {status} Some\r\nLocation: /metrics/resource\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        ),
    };
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    match manner {
        Manner::HangsInBody => hang().await,
        Manner::BreaksOff | Manner::Closes => return None,
        Manner::Endless => {
            let line = "container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1\n"
                .repeat(1000);
            for _ in 0..(1 << 30) / line.len() {
                stream.write_all(line.as_bytes()).await.ok()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Milliseconds since 1970.
pub(crate) fn millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the year 500000")
}

/// The lines of a container.
pub(crate) fn container(
    [namespace, pod, container]: [&str; 3],
    cpu: impl fmt::Display,
    memory: u64,
    at_millis: impl fmt::Display,
    start_millis: u64,
) -> String {
    let labels = format!("{{container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"}}");
    format!(
        "container_cpu_usage_seconds_total{labels} {cpu} {at_millis}\n\
         container_memory_working_set_bytes{labels} {memory} {at_millis}\n\
         container_start_time_seconds{labels} {}.{:03}\n",
        start_millis / 1000,
        start_millis % 1000
    )
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}
