//! An agent that begins anew does as the welcome asks: one of before history was asked for asks for all.

use std::{sync::Arc, time::Duration};

use kubevitals::{
    chain::{Announcement, Decoder, Encoder},
    sample::{BootTime, CpuTime, Sample, SeriesId, Subject, WallTime, WorkingSet},
    wire::{self, agent_message, aggregator_message, ingest_server},
};
use kubevitals_agent::{
    history::History,
    identity::Identities,
    metrics::Streams,
    stream::{Context, Endpoint, Links},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Ticks that the agent keeps, one a second.
const KEPT: u64 = 30;

/// An aggregator that asks for so much and hands on what it is sent.
struct Asking {
    history_ms: Option<u32>,
    sent: mpsc::Sender<agent_message::Kind>,
}

#[tonic::async_trait]
impl ingest_server::Ingest for Asking {
    type StreamStream = ReceiverStream<Result<wire::AggregatorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (answers, outgoing) = mpsc::channel(4);
        let (history_ms, sent) = (self.history_ms, self.sent.clone());
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(wire::AgentMessage { kind: Some(kind) })) = incoming.message().await {
                if let agent_message::Kind::Hello(_) = kind {
                    let welcome = wire::Welcome { history_ms, ..wire::Welcome::default() };
                    let kind = Some(aggregator_message::Kind::Welcome(welcome));
                    drop(answers.send(Ok(wire::AggregatorMessage { kind })).await);
                } else {
                    drop(sent.send(kind).await);
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn review(
        &self,
        _: Request<wire::ReviewRequest>,
    ) -> Result<Response<wire::ReviewResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

fn minute() -> History {
    let (history, mut chain) = (History::new(Duration::from_secs(60)), Encoder::default());
    for tick in 1..=KEPT {
        let time = BootTime(tick * 1_000_000);
        chain.begin(time, WallTime(time.0));
        if tick == 1 {
            let (series, subject) = (SeriesId(1), Subject::Node);
            chain.announce(&Announcement { series, subject, inode: 0, first: None, birth: None });
        }
        let working_set = WorkingSet::from_units(1);
        chain.sample(Sample { time, cpu: CpuTime(tick), working_set }, None);
        let (sequence, batch) = chain.finish();
        history.push(sequence, time, batch, chain.state());
    }
    history
}

/// Where the chain begins that an agent sends, and where it ends.
async fn sent(history_ms: Option<u32>) -> (u64, u64) {
    let (pipes, connections) = mpsc::channel(4);
    let (sent, mut came) = mpsc::channel(4);
    let service = ingest_server::IngestServer::new(Asking { history_ms, sent });
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let context = Context {
        hello: Arc::new(wire::Hello { node_name: "n".to_owned(), ..wire::Hello::default() }),
        history: minute(),
        identities: Identities::default(),
        metrics: Streams::default(),
        interval: Duration::from_secs(1),
        links: Links::default(),
    };
    let stop = CancellationToken::new();
    let agent = tokio::spawn(kubevitals_agent::stream::run(Endpoint::Pipe(pipes), context, stop.clone()));
    let (mut chain, mut begin) = (Decoder::new(), None);
    while chain.sequence() < KEPT {
        let kind = timeout(Duration::from_secs(20), came.recv()).await.expect("sent in time");
        match kind.expect("the stream lasts") {
            agent_message::Kind::Snapshot(part) => {
                chain.encoded_snapshot(&part).unwrap();
                begin = Some(chain.sequence());
            }
            agent_message::Kind::Batch(batch) => drop(chain.batch(&batch).unwrap()),
            agent_message::Kind::Hello(_) => panic!("a second hello"),
        }
    }
    stop.cancel();
    agent.await.unwrap();
    (begin.expect("it began anew"), chain.sequence())
}

#[tokio::test]
async fn an_agent_begins_as_far_back_as_it_is_asked_to() {
    assert_eq!(sent(None).await, (0, KEPT), "all there is");
    assert_eq!(sent(Some(20_000)).await, (9, KEPT), "twenty seconds and the tick that begins them");
    assert_eq!(sent(Some(u32::MAX)).await, (0, KEPT), "no more than there is");
}
