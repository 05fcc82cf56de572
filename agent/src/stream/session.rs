//! The life of one stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kubevitals::{
    chain::ChainError,
    frames::SmallFrames,
    limits::MAX_MESSAGE_BYTES,
    transport::ConnectError,
    wire::{self, agent_message, aggregator_message, ingest_client::IngestClient},
};
use prometheus_client::metrics::gauge::Gauge;
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{Context, Endpoint, links::Linked};
use crate::history::Continuation;

/// The aggregator answers our hello within this time or not at all.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages on their way to the network. More would only hide from us that the peer is slow.
const QUEUE: usize = 8;

/// An aggregator acknowledges every few seconds; one that has not for this long, or for this many ticks, is
/// taken for lost.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);
const ACK_TIMEOUT_TICKS: u32 = 4;

/// Why a stream ended; also the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// A file of ours is missing or wrong.
    Configuration,
    /// No connection, or the connection was lost.
    Transport,
    /// The aggregator ended it in good order, to shut down.
    Peer,
    /// The aggregator does not let us in.
    Refused,
    /// The aggregator found our messages in breach of the contract.
    Violation,
    /// We stream to it already, by another address.
    Duplicate,
    /// The aggregator is busy or over a limit.
    Overloaded,
    /// No welcome, no acknowledgement or no progress in time.
    Timeout,
}

impl EndedBy {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Configuration,
        Self::Transport,
        Self::Peer,
        Self::Refused,
        Self::Violation,
        Self::Duplicate,
        Self::Overloaded,
        Self::Timeout,
    ];

    /// As a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Transport => "transport",
            Self::Peer => "peer",
            Self::Refused => "refused",
            Self::Violation => "violation",
            Self::Duplicate => "duplicate",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
        }
    }

    /// Whether trying again soon is of no use.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        match self {
            Self::Configuration | Self::Refused | Self::Violation | Self::Duplicate | Self::Overloaded => {
                true
            }
            Self::Transport | Self::Peer | Self::Timeout => false,
        }
    }
}

/// How a session ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) by: EndedBy,
    pub(super) detail: String,
    /// The aggregator had taken us in.
    pub(super) was_open: bool,
}

impl Ended {
    fn new(by: EndedBy, detail: impl Into<String>) -> Self {
        Self { by, detail: detail.into(), was_open: false }
    }
}

impl From<ConnectError> for Ended {
    fn from(error: ConnectError) -> Self {
        let by = match error {
            ConnectError::Transport(_) => EndedBy::Transport,
            ConnectError::TimedOut => EndedBy::Timeout,
            ConnectError::File { .. } | ConnectError::Token(_) => EndedBy::Configuration,
        };
        Self::new(by, error.to_string())
    }
}

/// Our own chain: no aggregator could follow it.
impl From<ChainError> for Ended {
    fn from(error: ChainError) -> Self {
        Self::new(EndedBy::Violation, error.to_string())
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        let by = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => EndedBy::Refused,
            Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented => EndedBy::Violation,
            Code::AlreadyExists => EndedBy::Duplicate,
            Code::ResourceExhausted => EndedBy::Overloaded,
            Code::DeadlineExceeded => EndedBy::Timeout,
            _ => EndedBy::Transport,
        };
        Self::new(by, format!("{:?}: {}", status.code(), status.message()))
    }
}

/// Connects and streams until something ends it.
pub(super) async fn run(endpoint: &Endpoint, context: &Context) -> Ended {
    match open(endpoint, context).await {
        Err(ended) => ended,
        Ok(mut session) => {
            tracing::info!(aggregator = %endpoint, resumed_after = session.position, "stream open");
            let _open = Open::new(&context.metrics.open);
            let ended = session.stream(context).await;
            Ended { was_open: true, ..ended }
        }
    }
}

/// Counts an open stream for as long as it lives, also when its task is dropped.
struct Open<'a>(&'a Gauge);

impl<'a> Open<'a> {
    fn new(open: &'a Gauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Session {
    outgoing: mpsc::Sender<wire::AgentMessage>,
    incoming: Streaming<wire::AggregatorMessage>,
    /// The last batch the aggregator holds or was sent; `None` when it holds nothing.
    position: Option<u64>,
    /// How far back it wants to begin when it holds nothing.
    back: Duration,
    unacknowledged_since: Option<Instant>,
    /// Whom it leads to, by which names are told apart.
    source: String,
    /// It can be asked something besides.
    _linked: Linked,
}

async fn open(endpoint: &Endpoint, context: &Context) -> Result<Session, Ended> {
    let authorization = endpoint.authorization()?;
    let channel = endpoint.connect().await?;
    let mut client = IngestClient::new(SmallFrames(channel))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (outgoing, messages) = mpsc::channel(QUEUE);
    let newest_sequence = context.history.newest().seen();
    let hello = wire::Hello { newest_sequence, ..wire::Hello::clone(&context.hello) };
    let hello = agent_message::Kind::Hello(hello);
    let mut request = tonic::Request::new(ReceiverStream::new(messages));
    if let Some(value) = authorization {
        request.metadata_mut().insert("authorization", value);
    }
    let welcome = async {
        // The queue is empty and its reader is in `request`.
        let _ = outgoing.try_send(wire::AgentMessage { kind: Some(hello) });
        let mut incoming = client.stream(request).await?.into_inner();
        let first = incoming.message().await?;
        Ok::<_, Status>((incoming, first.and_then(|message| message.kind)))
    };
    let (incoming, first) =
        timeout(WELCOME_TIMEOUT, welcome).await.map_err(|_| Ended::new(EndedBy::Timeout, "no welcome"))??;
    let Some(aggregator_message::Kind::Welcome(welcome)) = first else {
        return Err(Ended::new(EndedBy::Transport, "the first message was no welcome"));
    };
    let resume = welcome.resume.filter(|resume| resume.instance == context.hello.instance);
    Ok(Session {
        outgoing,
        incoming,
        position: resume.map(|resume| resume.sequence),
        back: welcome.history_ms.map_or(Duration::MAX, |back| Duration::from_millis(back.into())),
        unacknowledged_since: None,
        source: endpoint.to_string(),
        _linked: context.links.enter(endpoint, client),
    })
}

impl Session {
    async fn stream(&mut self, context: &Context) -> Ended {
        let mut newest = context.history.newest();
        let patience = ACK_TIMEOUT.max(context.interval * ACK_TIMEOUT_TICKS);
        loop {
            if let Err(ended) = self.send_news(context, patience).await {
                return ended;
            }
            let since = self.unacknowledged_since.unwrap_or_else(Instant::now);
            let deadline = tokio::time::Instant::from_std(since + patience);
            tokio::select! {
                () = newest.changed() => {}
                message = self.incoming.message() => match message {
                    Ok(Some(message)) => self.received(&message, context),
                    Ok(None) => return Ended::new(EndedBy::Peer, "closed by the aggregator"),
                    Err(status) => return status.into(),
                },
                () = tokio::time::sleep_until(deadline), if self.unacknowledged_since.is_some() => {
                    return Ended::new(EndedBy::Timeout, "batches are not acknowledged");
                }
            }
        }
    }

    /// Sends everything after the position; a snapshot first when the position is no longer kept.
    async fn send_news(&mut self, context: &Context, patience: Duration) -> Result<(), Ended> {
        let mut news = match self.position {
            None => context.history.begin(self.back)?,
            held => context.history.after(held)?,
        };
        if let Continuation::Snapshot { sequence, parts } = news {
            context.metrics.snapshots.inc();
            if let Some(position) = self.position {
                context.metrics.lost.inc_by(sequence.saturating_sub(position));
            }
            for part in parts {
                self.send(agent_message::Kind::Snapshot(part), context, patience).await?;
            }
            self.position = Some(sequence);
            news = context.history.after(self.position)?;
        }
        let Continuation::Batches(batches) = news else {
            return Err(Ended::new(EndedBy::Timeout, "overtaken by the history while sending a snapshot"));
        };
        for batch in batches {
            self.send_batch(batch, context, patience).await?;
        }
        Ok(())
    }

    async fn send_batch(&mut self, batch: Bytes, context: &Context, patience: Duration) -> Result<(), Ended> {
        self.send(agent_message::Kind::Batch(batch), context, patience).await?;
        self.position = self.position.map(|position| position + 1);
        self.unacknowledged_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    async fn send(
        &mut self,
        kind: agent_message::Kind,
        context: &Context,
        patience: Duration,
    ) -> Result<(), Ended> {
        let message = wire::AgentMessage { kind: Some(kind) };
        let size = message.encoded_len();
        match timeout(patience, self.outgoing.send(message)).await {
            Ok(Ok(())) => {
                context.metrics.bytes.inc_by(u64::try_from(size).unwrap_or(u64::MAX));
                Ok(())
            }
            // The request ended; the response says why.
            Ok(Err(_)) => Err(match self.incoming.message().await {
                Err(status) => status.into(),
                Ok(_) => Ended::new(EndedBy::Peer, "closed by the aggregator"),
            }),
            Err(_) => Err(Ended::new(EndedBy::Timeout, "the aggregator takes no messages")),
        }
    }

    fn received(&mut self, message: &wire::AggregatorMessage, context: &Context) {
        match &message.kind {
            Some(aggregator_message::Kind::Ack(ack)) => {
                context.identities.heard_again(&self.source, Instant::now());
                let lag = self.position.unwrap_or(0).saturating_sub(ack.sequence);
                context.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
                self.unacknowledged_since = (lag > 0).then(Instant::now);
            }
            Some(aggregator_message::Kind::Identity(identity)) => {
                let faults = context.identities.learn(&self.source, identity, Instant::now());
                context.metrics.odd_identities.inc_by(faults);
            }
            // Of a newer aggregator.
            Some(aggregator_message::Kind::Welcome(_)) | None => {
                context.metrics.unknown_messages.inc();
            }
        }
    }
}
