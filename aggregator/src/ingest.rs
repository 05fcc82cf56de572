//! The gRPC service for agents: who is this node, is the batch valid, store it, acknowledge.
//!
//! Each stream is a task of its own. What one agent sends can end its own stream and nothing else.

mod complaints;
mod end;
mod hello;
mod herald;
mod placement;
pub mod review;
mod rush;
mod sandbox;
mod silence;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use kubevitals::{
    chain::Decoder,
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

pub use self::{complaints::Complaints, end::REASONS, rush::Rush};

use self::{
    end::End,
    hello::Hello,
    review::{Outcome, Reviewer},
    rush::Behind,
    stream::Stream,
};
use crate::{
    directory::Directory,
    explain::refusals::{Refusals, Turned},
    gate::{Admission, AgentGate, Refusal},
    https::Admitted,
    metrics,
    names::Names,
    store::Store,
};

/// Why an announcement is refused, as a metric label: the pod is bound to another node.
pub const FOREIGN_POD: &str = "foreign_pod";

/// An agent says who it is within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// Judges tokens that agents are shown; `None` where nobody is asked.
    pub reviewer: Option<Arc<Reviewer>>,
    /// Where to count.
    pub metrics: metrics::Ingest,
    /// What was logged of agents that do wrong.
    pub complaints: Arc<Complaints>,
    /// The last agents that were turned away.
    pub refusals: Arc<Refusals>,
    /// Those that begin anew.
    pub rush: Arc<Rush>,
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
    type StreamStream = Outgoing;

    async fn stream(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (admission, peer, source) =
            self.admit(&request).await.inspect_err(|_| self.metrics.ended("refused"))?;
        let (answers, outgoing) = mpsc::channel(QUEUE);
        let (ingest, mut incoming) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            ingest.metrics.streams.inc();
            let mut node = None;
            let end = ingest.serve(&admission, &source, &mut incoming, &answers, &mut node).await;
            ingest.metrics.streams.dec();
            ingest.metrics.ended(end.reason());
            if let Some(status) = end.status() {
                if let Some(reason) = end.refusal() {
                    let what = status.message();
                    ingest.refusals.note(Turned { peer, node: node.as_deref(), reason, what });
                }
                // An agent that is gone does not hear why.
                let _ = answers.try_send(Box::new(Err(status)));
            }
        });
        Ok(Response::new(Outgoing(ReceiverStream::new(outgoing))))
    }

    async fn review(
        &self,
        request: Request<wire::ReviewRequest>,
    ) -> Result<Response<wire::ReviewResponse>, Status> {
        let (admission, _, source) = self.admit(&request).await?;
        let request = request.into_inner();
        review::check(&request)?;
        let node = request.node_name.as_str();
        if !admission.speaks_for(node) {
            self.refused(Refusal::OtherNode, &source, Some(node));
            return Err(Refusal::OtherNode.status());
        }
        let reviewer = self.reviewer.as_ref();
        let reviewer = reviewer.ok_or_else(|| Status::unimplemented("nobody is asked about tokens here"))?;
        // One that may speak for any node is known by its address alone.
        let agent = admission.node().unwrap_or(&source);
        let now = Instant::now();
        if !reviewer.may_ask(agent, now) {
            self.metrics.reviewed(Outcome::Limited);
            if self.complaints.is_news(&source, review::TOO_OFTEN, now) {
                tracing::warn!(source, node, "agent asks about tokens too often; somebody may be guessing");
            }
            return Err(Status::resource_exhausted("too many reviews"));
        }
        let (answer, outcome) = reviewer.judge(&request).await;
        self.metrics.reviewed(outcome);
        answer.map(Response::new)
    }
}

type Answer = Result<wire::AggregatorMessage, Status>;

/// Boxed, since a queue has room for thirty-two from the start, however few may be in it.
type Answers = mpsc::Sender<Box<Answer>>;

/// What is on its way to an agent.
#[derive(Debug)]
pub struct Outgoing(ReceiverStream<Box<Answer>>);

impl tokio_stream::Stream for Outgoing {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        Pin::new(&mut self.0).poll_next(cx).map(|answer| answer.map(|boxed| *boxed))
    }
}

impl Ingest {
    /// Who calls, and from where, if it may.
    async fn admit<T>(&self, request: &Request<T>) -> Result<(Admission, Option<IpAddr>, String), Status> {
        let connection = request.extensions().get::<Admitted>().cloned().unwrap_or_default();
        let peer = connection.peer();
        let source = peer.map_or_else(|| "this process".to_owned(), |peer| peer.to_string());
        match self.gate.admit(request.metadata(), &self.directory).await {
            Ok(admission) => {
                connection.set();
                Ok((admission, peer, source))
            }
            Err(refusal) => {
                let status = refusal.status();
                self.refused(refusal, &source, None);
                let reason = refusal.as_str();
                self.refusals.note(Turned { peer, node: None, reason, what: status.message() });
                Err(status)
            }
        }
    }

    /// Counts an agent that may not speak, and logs it if that is news.
    fn refused(&self, refusal: Refusal, source: &str, node: Option<&str>) {
        self.metrics.refused(refusal);
        let reason = refusal.as_str();
        if self.complaints.is_news(source, reason, Instant::now()) {
            tracing::warn!(source, node, reason, "agent refused: {}", refusal.status().message());
        }
    }

    /// Who speaks, checked and entitled to.
    async fn greeting(
        &self,
        admission: &Admission,
        source: &str,
        incoming: &mut Streaming<wire::AgentMessage>,
        node: &mut Option<String>,
    ) -> Result<Hello, End> {
        let first = tokio::select! {
            () = self.shutdown.cancelled() => return Err(End::Shutdown),
            first = timeout(HELLO_TIMEOUT, self.next(incoming)) => first.map_err(|_| End::Silent)??,
        };
        let agent_message::Kind::Hello(hello) = first else {
            return Err(End::Violation("the first message is no hello".to_owned()));
        };
        let hello = Hello::try_from(hello).map_err(End::Violation)?;
        *node = Some(hello.node.clone());
        if !admission.speaks_for(&hello.node) {
            self.refused(Refusal::OtherNode, source, Some(&hello.node));
            return Err(End::Refused(Refusal::OtherNode));
        }
        Ok(hello)
    }

    async fn serve(
        &self,
        admission: &Admission,
        source: &str,
        incoming: &mut Streaming<wire::AgentMessage>,
        answers: &Answers,
        node: &mut Option<String>,
    ) -> End {
        let greeting = self.greeting(admission, source, incoming, node).await;
        let mut stream = match greeting.and_then(|hello| self.begin(admission, &hello, answers)) {
            Ok(stream) => stream,
            Err(end) => return end,
        };
        let end = tokio::select! {
            () = self.shutdown.cancelled() => End::Shutdown,
            end = stream.run(incoming, answers) => end,
            refusal = self.gate.revoked(admission, &self.directory) => {
                self.refused(refusal, source, Some(stream.node()));
                End::Refused(refusal)
            }
        };
        stream.end(&end);
        end
    }

    /// Puts an agent in charge of its node, and welcomes it. What that takes is not kept in the future of its stream: there is
    /// one for every node.
    fn begin(&self, admission: &Admission, hello: &Hello, answers: &Answers) -> Result<Stream<'_>, End> {
        let shard = self.store.shard_or_new(&hello.node).ok_or(End::Full)?;
        let created = admission.created(&self.directory);
        let (generation, chain) = shard.write().claim(hello.session.clone(), created, Instant::now())?;
        let behind = chain.is_none().then(|| self.rush.join());
        if !welcome(hello, chain.as_ref(), behind.as_ref(), answers) {
            shard.write().end(generation, chain);
            return Err(End::Agent);
        }
        Ok(Stream::new(self, shard, generation, hello, chain, behind))
    }

    /// The next message of a kind that is known. A newer agent may send others, which do not count as a sign of life.
    async fn next(&self, incoming: &mut Streaming<wire::AgentMessage>) -> Result<agent_message::Kind, End> {
        loop {
            match incoming.message().await {
                Ok(Some(wire::AgentMessage { kind: Some(kind) })) => return Ok(kind),
                Ok(Some(_)) => self.metrics.unknown_message(),
                // Too large, or not protobuf: the agent's doing. Anything else is the connection's.
                Err(status) if matches!(status.code(), tonic::Code::OutOfRange | tonic::Code::Internal) => {
                    return Err(End::Violation(status.message().to_owned()));
                }
                Ok(None) | Err(_) => return Err(End::Agent),
            }
        }
    }
}

/// Welcomes an agent; false when it is gone.
fn welcome(hello: &Hello, chain: Option<&Decoder>, behind: Option<&Behind>, answers: &Answers) -> bool {
    let resume =
        chain.map(|chain| wire::Resume { instance: hello.session.instance, sequence: chain.sequence() });
    let back = behind.and_then(|behind| behind.back(hello.session.interval));
    tracing::info!(
        node = hello.node,
        version = &*hello.session.version,
        interval_s = hello.session.interval.as_secs_f64(),
        resumed_after = resume.map(|resume| resume.sequence),
        history_s = back.map(|back| back.as_secs_f64()),
        "agent connected"
    );
    let aggregator_version = kubevitals::VERSION.to_owned();
    let history_ms = back.map(|back| u32::try_from(back.as_millis()).unwrap_or(u32::MAX));
    let welcome = wire::Welcome { aggregator_version, resume, history_ms };
    answer(answers, aggregator_message::Kind::Welcome(welcome))
}

fn answer(answers: &Answers, kind: aggregator_message::Kind) -> bool {
    let message = wire::AggregatorMessage { kind: Some(kind) };
    !matches!(answers.try_send(Box::new(Ok(message))), Err(mpsc::error::TrySendError::Closed(_)))
}
