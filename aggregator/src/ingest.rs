//! The gRPC service for agents: who is this node, is the batch valid, store it, acknowledge.
//!
//! Each stream is a task of its own. What one agent sends can end its own stream and nothing else.

mod hello;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kubevitals::{
    chain::{ChainError, Decoder},
    limits::MAX_MESSAGE_BYTES,
    wire::{
        self, agent_message, aggregator_message,
        ingest_server::{self, IngestServer},
    },
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use self::hello::Hello;
use crate::{
    directory::Directory,
    explain::refusals::{Refusals, Turned},
    gate::{Admission, AgentGate},
    https::Admitted,
    metrics,
    names::Names,
    store::{Shard, Store, node::Session},
};

/// An agent says who it is within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// A stream without a batch for this long, or this many of its ticks, is of no use to anyone.
const SILENCE: Duration = Duration::from_secs(30);
const SILENT_TICKS: u32 = 5;

/// A batch is acknowledged after so many, or so much time, whichever is first: acknowledgements cost as much
/// as batches do, and agents keep a minute.
const ACK_BATCHES: u64 = 5;
const ACK_TIME: Duration = Duration::from_secs(2);

/// Answers on their way to an agent. One that does not read them misses acknowledgements, which are cumulative.
const QUEUE: usize = 8;

/// What every stream needs.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Where samples go.
    pub store: Arc<Store>,
    /// Where names go.
    pub directory: Arc<Directory>,
    /// Where names come from.
    pub names: Arc<Names>,
    /// Who may speak.
    pub gate: Arc<AgentGate>,
    /// Where to count.
    pub metrics: metrics::Ingest,
    /// The last agents that were turned away.
    pub refusals: Arc<Refusals>,
    /// Ends every stream.
    pub shutdown: CancellationToken,
}

impl Ingest {
    /// The service for a server.
    #[must_use]
    pub fn into_server(self) -> IngestServer<Self> {
        IngestServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl ingest_server::Ingest for Ingest {
    type StreamStream = ReceiverStream<Result<wire::AggregatorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let connection = request.extensions().get::<Admitted>().cloned();
        let peer = connection.as_ref().and_then(Admitted::peer);
        let admission = self.gate.admit(request.metadata(), &self.directory).await.inspect_err(|status| {
            self.metrics.ended("refused");
            self.refusals.note(Turned { peer, node: None, reason: "refused", what: status.message() });
        })?;
        if let Some(connection) = connection {
            connection.set();
        }
        let (answers, outgoing) = mpsc::channel(QUEUE);
        let ingest = self.clone();
        tokio::spawn(async move {
            ingest.metrics.streams.inc();
            let mut node = None;
            let end = ingest.serve(admission, request.into_inner(), &answers, &mut node).await;
            ingest.metrics.streams.dec();
            ingest.metrics.ended(end.reason());
            if let Some(status) = end.status() {
                if end.is_refusal() {
                    let (reason, what) = (end.reason(), status.message());
                    ingest.refusals.note(Turned { peer, node: node.as_deref(), reason, what });
                }
                // An agent that is gone does not hear why.
                let _ = answers.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// Every way in which a stream can end, as metric labels.
pub const REASONS: [&str; 8] =
    ["agent", "shutdown", "replaced", "duplicate", "silent", "full", "violation", "refused"];

/// How a stream ended.
#[derive(Debug)]
enum End {
    /// The agent closed it or was lost.
    Agent,
    /// We shut down.
    Shutdown,
    /// Another stream speaks for the node now.
    Replaced,
    /// The same agent process streams already, by another address.
    Duplicate,
    /// Nothing came for too long.
    Silent,
    /// No place for another node.
    Full,
    /// The contract was broken.
    Violation(String),
    /// It may not speak, or not for this node.
    Refused(Status),
}

impl From<ChainError> for End {
    fn from(error: ChainError) -> Self {
        Self::Violation(error.to_string())
    }
}

impl End {
    fn reason(&self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Shutdown => "shutdown",
            Self::Replaced => "replaced",
            Self::Duplicate => "duplicate",
            Self::Silent => "silent",
            Self::Full => "full",
            Self::Violation(_) => "violation",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether an operator who misses the agent wants to hear of it.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Replaced | Self::Full | Self::Violation(_) | Self::Refused(_))
    }

    fn status(&self) -> Option<Status> {
        match self {
            Self::Agent | Self::Shutdown => None,
            Self::Replaced => Some(Status::aborted("another stream speaks for this node now")),
            Self::Duplicate => Some(Status::already_exists("this agent process streams here already")),
            Self::Silent => Some(Status::deadline_exceeded("no message for too long")),
            Self::Full => Some(Status::resource_exhausted("too many nodes")),
            Self::Violation(what) => Some(Status::invalid_argument(what.clone())),
            Self::Refused(status) => Some(status.clone()),
        }
    }
}

type Answers = mpsc::Sender<Result<wire::AggregatorMessage, Status>>;

impl Ingest {
    async fn serve(
        &self,
        admission: Admission,
        mut incoming: Streaming<wire::AgentMessage>,
        answers: &Answers,
        node: &mut Option<String>,
    ) -> End {
        let hello = match timeout(HELLO_TIMEOUT, self.next(&mut incoming)).await {
            Err(_) => return End::Silent,
            Ok(Err(end)) => return end,
            Ok(Ok(agent_message::Kind::Hello(hello))) => hello,
            Ok(Ok(_)) => return End::Violation("the first message is no hello".to_owned()),
        };
        let hello = match Hello::try_from(hello) {
            Ok(hello) => hello,
            Err(what) => return End::Violation(what),
        };
        *node = Some(hello.node.clone());
        if !admission.speaks_for(&hello.node) {
            tracing::warn!(node = hello.node, ?admission, "an agent spoke for another node than its own");
            return End::Refused(Status::permission_denied("the bearer token is another node's"));
        }
        let Some(shard) = self.store.shard_or_new(&hello.node) else {
            return End::Full;
        };
        let Some((generation, chain)) = shard.write().begin(hello.session.clone(), Instant::now()) else {
            return End::Duplicate;
        };
        let resume = chain
            .as_ref()
            .map(|chain| wire::Resume { instance: hello.session.instance, sequence: chain.sequence() });
        tracing::info!(
            node = hello.node,
            version = &*hello.session.version,
            interval_s = hello.session.interval.as_secs_f64(),
            resumed_after = resume.map(|resume| resume.sequence),
            "agent connected"
        );
        let aggregator_version = kubevitals::VERSION.to_owned();
        let welcome = wire::Welcome { aggregator_version, resume };
        if !answer(answers, aggregator_message::Kind::Welcome(welcome)) {
            return End::Agent;
        }
        let mut stream = Stream::new(self, &shard, generation, hello.session, chain);
        let end = tokio::select! {
            end = stream.run(&mut incoming, answers) => end,
            status = self.gate.revoked(&admission, &self.directory) => End::Refused(status),
        };
        // A chain that met an error is of no further use, and one that has not joined the store would never join it.
        let chain = stream.chain.take().filter(|_| !stream.joining && !matches!(end, End::Violation(_)));
        shard.write().end(generation, chain);
        match &end {
            End::Violation(what) => tracing::warn!(node = hello.node, what, "agent broke the contract"),
            end => tracing::info!(node = hello.node, reason = end.reason(), "agent disconnected"),
        }
        end
    }

    /// The next message.
    async fn next(&self, incoming: &mut Streaming<wire::AgentMessage>) -> Result<agent_message::Kind, End> {
        let message = tokio::select! {
            () = self.shutdown.cancelled() => return Err(End::Shutdown),
            message = incoming.message() => message,
        };
        match message {
            Ok(Some(wire::AgentMessage { kind: Some(kind) })) => Ok(kind),
            Ok(Some(_)) => Err(End::Violation("message of no known kind".to_owned())),
            // Too large, or not protobuf: the agent's doing. Anything else is the connection's.
            Err(status) if matches!(status.code(), tonic::Code::OutOfRange | tonic::Code::Internal) => {
                Err(End::Violation(status.message().to_owned()))
            }
            Ok(None) | Err(_) => Err(End::Agent),
        }
    }
}

fn answer(answers: &Answers, kind: aggregator_message::Kind) -> bool {
    let message = wire::AggregatorMessage { kind: Some(kind) };
    !matches!(answers.try_send(Ok(message)), Err(mpsc::error::TrySendError::Closed(_)))
}

/// One stream after its welcome.
struct Stream<'a> {
    ingest: &'a Ingest,
    shard: &'a Shard,
    generation: u64,
    session: Session,
    /// The chain, once it has a beginning.
    chain: Option<Decoder>,
    /// A snapshot of which parts are still to come.
    pending: Option<Decoder>,
    /// The position at which the chain was resumed or held before; what a snapshot skips was lost.
    held: Option<u64>,
    /// A snapshot came, and so far only ticks that are stored already.
    joining: bool,
    /// No tick was stored yet.
    first: bool,
    acknowledged: u64,
    acknowledged_at: Instant,
}

impl<'a> Stream<'a> {
    fn new(
        ingest: &'a Ingest,
        shard: &'a Shard,
        generation: u64,
        session: Session,
        chain: Option<Decoder>,
    ) -> Self {
        let held = chain.as_ref().map(Decoder::sequence);
        Self {
            ingest,
            shard,
            generation,
            session,
            chain,
            pending: None,
            held,
            joining: false,
            first: true,
            acknowledged: held.unwrap_or(0),
            acknowledged_at: Instant::now(),
        }
    }

    async fn run(&mut self, incoming: &mut Streaming<wire::AgentMessage>, answers: &Answers) -> End {
        let patience = SILENCE.max(self.session.interval * SILENT_TICKS);
        loop {
            let kind = match timeout(patience, self.ingest.next(incoming)).await {
                Err(_) => return End::Silent,
                Ok(Err(end)) => return end,
                Ok(Ok(kind)) => kind,
            };
            let taken = match kind {
                agent_message::Kind::Hello(_) => Err(End::Violation("a second hello".to_owned())),
                agent_message::Kind::Snapshot(part) => self.snapshot(&part),
                agent_message::Kind::Batch(encoded) => self.batch(&encoded),
            };
            if let Err(end) = taken {
                return end;
            }
            if !self.acknowledge(answers) {
                return End::Agent;
            }
        }
    }

    fn snapshot(&mut self, part: &[u8]) -> Result<(), End> {
        let mut chain = self.pending.take().unwrap_or_default();
        if chain.encoded_snapshot(part)? {
            self.pending = Some(chain);
            return Ok(());
        }
        if let Some(held) = self.held.take() {
            self.ingest.metrics.lost.inc_by(chain.sequence().saturating_sub(held));
        }
        self.joining = true;
        self.acknowledged = chain.sequence();
        self.chain = Some(chain);
        self.first = true;
        Ok(())
    }

    fn batch(&mut self, encoded: &[u8]) -> Result<(), End> {
        let Some(chain) = self.chain.as_mut().filter(|_| self.pending.is_none()) else {
            return Err(End::Violation("a batch before the snapshot was complete".to_owned()));
        };
        let tick = chain.batch(encoded)?.clone();
        let applied = {
            let mut state = self.shard.write();
            if !state.is_in_charge(self.generation) {
                return Err(End::Replaced);
            }
            if self.joining {
                if tick.time <= state.last_tick() {
                    // A replay of what an earlier stream stored.
                    return Ok(());
                }
                self.joining = false;
                self.ingest.metrics.applied(state.restart(chain));
            }
            state.apply(&tick, Instant::now())
        };
        let Ingest { names, directory, metrics, .. } = self.ingest;
        names.ticked(directory, &self.shard.node, &tick, chain, self.first);
        self.first = false;
        metrics.batches.inc();
        metrics.bytes.inc_by(u64::try_from(encoded.len()).unwrap_or(u64::MAX));
        metrics.applied(applied);
        for omission in &tick.omissions {
            metrics.omitted(omission.reason.as_str(), omission.count);
        }
        Ok(())
    }

    /// Acknowledges when it is time to; false when the agent is gone.
    fn acknowledge(&mut self, answers: &Answers) -> bool {
        let sequence = self.chain.as_ref().map_or(0, Decoder::sequence);
        let waiting = sequence.saturating_sub(self.acknowledged);
        if waiting == 0 || waiting < ACK_BATCHES && self.acknowledged_at.elapsed() < ACK_TIME {
            return true;
        }
        self.acknowledged = sequence;
        self.acknowledged_at = Instant::now();
        answer(answers, aggregator_message::Kind::Ack(wire::Ack { sequence }))
    }
}
