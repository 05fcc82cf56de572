//! The client: one HTTP/2 connection, bodies read and dropped.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the server knows its client by.
pub(crate) const TOKEN: &str = "bench-token";

/// The server's thread that stands for ingest.
pub(crate) const TICKING: &str = "ticking";

/// A server process; ends when dropped.
pub(crate) struct Server {
    process: Child,
    port: u16,
    authority: String,
}

/// One answer.
pub(crate) struct Got {
    /// Until the first byte of the body.
    pub(crate) first: Duration,
    /// Until the last one.
    pub(crate) last: Duration,
    pub(crate) bytes: usize,
}

impl Server {
    pub(crate) async fn start(pods: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", &pods.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let port = lines.next().unwrap().parse().unwrap();
        let authority: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let server = Self { process, port, authority: authority.join("\n") };
        // A first small request, so that what every connection needs is there.
        server.connect().await.get("/version", "application/json", false).await;
        server
    }

    /// Resident memory, bytes; from now on the peak is counted anew.
    pub(crate) fn memory_now(&self) -> usize {
        fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
        self.memory("VmRSS:")
    }

    /// Most resident memory since [`memory_now`](Self::memory_now), bytes.
    pub(crate) fn memory_peak(&self) -> usize {
        self.memory("VmHWM:")
    }

    /// What the server has used so far but for what stands for ingest.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let used = |task: &Path| -> u64 {
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            let used = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            let nanos = used.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok());
            nanos.filter(|_| name.trim() != TICKING).unwrap_or_default()
        };
        Duration::from_nanos(tasks.map(|task| used(&task.unwrap().path())).sum())
    }

    fn memory(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    pub(crate) async fn connect(&self) -> Connection {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
        // The windows of a Go client.
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(1 << 30)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Connection { sender, port: self.port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One connection.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    port: u16,
}

impl Connection {
    pub(crate) async fn get(&mut self, path: &str, accept: &str, gzip: bool) -> Got {
        let request = Request::get(format!("https://localhost:{}{path}", self.port))
            .header("accept", accept)
            .header("accept-encoding", if gzip { "gzip" } else { "identity" })
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Empty::new())
            .unwrap();
        let begin = Instant::now();
        let response = self.sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let (mut body, mut first, mut bytes) = (response.into_body(), None, 0);
        while let Some(frame) = body.frame().await {
            let length = frame.unwrap().into_data().map_or(0, |data| data.len());
            first.get_or_insert_with(|| begin.elapsed());
            bytes += length;
        }
        Got { first: first.unwrap(), last: begin.elapsed(), bytes }
    }
}
