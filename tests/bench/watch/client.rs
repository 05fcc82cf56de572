//! Watchers, each with a connection of its own, as a client library has it.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kubevitals::wire::{self, query_client::QueryClient};
use tokio::sync::watch;
use tonic::{
    Request, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// What the server knows its client by.
pub(crate) const TOKEN: &str = "bench-token";

/// A watch of all pods.
pub(crate) struct Watcher {
    stream: Streaming<wire::WatchResponse>,
    pub(crate) counted: Counted,
    /// Working set by pod, where it is followed.
    held: Option<HashMap<String, u64>>,
    /// Digest of `held` at the last complete ticks.
    pub(crate) digests: BTreeMap<String, u64>,
}

/// What a watcher was told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) usages: usize,
    pub(crate) conflated: u64,
    pub(crate) full: usize,
    /// From the reading of the newest usage of each message to the message.
    pub(crate) since_batch: Vec<Duration>,
    /// From the begin of each complete tick to its last message.
    pub(crate) since_tick: Vec<Duration>,
}

/// HTTP/2 flow control, as the specification and most clients have it at first. Ours has megabytes by default, which
/// would hide for long that nobody reads.
const WINDOW: u32 = 65_535;

/// Connects to the server.
pub(crate) async fn connect(port: u16, authority: &str) -> QueryClient<Channel> {
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap();
    let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    QueryClient::new(channel)
}

impl Watcher {
    /// Begins to watch; with `follow` it holds what it is told.
    pub(crate) async fn begin(port: u16, authority: &str, every: Duration, follow: bool) -> Self {
        let every = prost_types::Duration::try_from(every).unwrap();
        let mut request =
            Request::new(wire::WatchRequest { every: Some(every), ..wire::WatchRequest::default() });
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let stream = connect(port, authority).await.watch(request).await.unwrap().into_inner();
        let (counted, held) = (Counted::default(), follow.then(HashMap::new));
        Self { stream, counted, held, digests: BTreeMap::new() }
    }

    /// Reads one message; whether its tick is complete.
    pub(crate) async fn read(&mut self) -> bool {
        let message = self.stream.message().await.unwrap().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let counted = &mut self.counted;
        counted.messages += 1;
        counted.bytes += prost::Message::encoded_len(&message);
        counted.usages += message.usages.len();
        counted.conflated += message.conflated;
        counted.full += usize::from(message.full && !message.more);
        if let Some(newest) = message.usages.iter().filter_map(|usage| usage.time).map(since).max() {
            counted.since_batch.push(now.saturating_sub(newest));
        }
        if !message.more && !message.usages.is_empty() {
            counted.since_tick.push(now.saturating_sub(message.time.map(since).unwrap()));
        }
        self.hold(&message);
        !message.more
    }

    fn hold(&mut self, message: &wire::WatchResponse) {
        let Some(held) = &mut self.held else { return };
        assert!(message.absent.is_empty(), "{:?}", message.absent.first());
        for usage in &message.usages {
            let subject = usage.subject.as_ref().unwrap();
            held.insert(subject.pod_uid.clone(), usage.working_set_bytes ^ usage.cpu_nanocores);
        }
        if !message.more {
            let mut sorted: Vec<_> = held.iter().collect();
            sorted.sort_unstable();
            let mut hasher = DefaultHasher::new();
            sorted.hash(&mut hasher);
            self.digests.insert(message.position.clone(), hasher.finish());
        }
    }

    /// How many pods it holds.
    pub(crate) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, HashMap::len)
    }

    /// Reads until told to end.
    pub(crate) async fn run(mut self, mut end: watch::Receiver<bool>) -> Self {
        loop {
            tokio::select! {
                _ = end.wait_for(|&end| end) => return self,
                _ = self.read() => {}
            }
        }
    }
}

fn since(timestamp: prost_types::Timestamp) -> Duration {
    SystemTime::try_from(timestamp).unwrap().duration_since(UNIX_EPOCH).unwrap()
}
