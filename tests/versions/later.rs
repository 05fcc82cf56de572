//! An invented later minor: more fields, kinds, values and subjects, in both directions.

use std::{sync::Arc, time::Duration};

use kubevitals::{
    chain::{Announcement, Checkpoint, Decoder, Encoder, Unknown},
    sample::{BootTime, CpuTime, Sample, SeriesId, Subject, WallTime, WorkingSet},
    wire::{self, aggregator_message, ingest_server},
};
use kubevitals_agent::{
    history::History,
    identity::Identities,
    metrics::Streams,
    stream::{Context, Endpoint},
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// A field 1000 with some bytes, and a field 1001 with a number, as a later minor might add.
const MORE: &[u8] = &[0xc2, 0x3e, 0x03, b'n', b'e', b'w', 0xc8, 0x3e, 0x2a];

fn sample(tick: u64) -> Sample {
    let working_set = WorkingSet::from_bytes(4096 * tick).unwrap();
    Sample { time: BootTime(tick * 1000 + 1), cpu: CpuTime(tick * 50), working_set }
}

/// The batches of 0.1 for the node and one more series.
fn batches(count: u64) -> Vec<wire::Batch> {
    let mut chain = Encoder::default();
    let encoded = (1..=count).map(|tick| {
        chain.begin(BootTime(tick * 1000), WallTime(tick * 1000));
        if tick == 1 {
            for series in [1, 2, 3] {
                let announcement = Announcement {
                    series: SeriesId(series),
                    subject: Subject::Node,
                    inode: 0,
                    first: None,
                    birth: None,
                };
                chain.announce(&announcement);
            }
        }
        for _ in 0..3 {
            chain.sample(sample(tick), None);
        }
        chain.finish().1
    });
    encoded.map(|batch| wire::Batch::decode(batch).unwrap()).collect()
}

#[test]
fn what_a_later_agent_adds_is_skipped_and_counted_and_the_rest_is_read() {
    let mut chain = Decoder::new();
    let [mut first, mut second] = <[wire::Batch; 2]>::try_from(batches(2)).unwrap();
    // A subject, a detail, and reasons that nobody knows yet.
    first.announced[1].subject = None;
    first.omissions.push(wire::Omission { reason: 99, count: 7 });
    first.details.push(wire::DetailColumn {
        field: 99,
        series_gap: vec![1],
        delta: vec![],
        absent_gap: vec![],
    });
    second.ended.push(wire::Farewell { series: 3, reason: 99 });
    second.time_gap_us.pop();
    second.cpu_delta_ns.pop();
    second.working_set_delta_4k.pop();
    let later = |batch: &wire::Batch| [batch.encode_to_vec(), MORE.to_vec()].concat();

    let tick = chain.batch(&later(&first)).unwrap();
    assert_eq!(tick.samples.len(), 3, "the unknown series has its place");
    assert_eq!(tick.announced[1].subject, Subject::Unknown);
    assert!(tick.omissions.is_empty());
    assert_eq!(chain.take_unknown(), Unknown { fields: 2, subjects: 1, details: 1, reasons: 1 });

    let tick = chain.batch(&later(&second)).unwrap();
    assert_eq!(tick.ended[0].series, SeriesId(3), "gone, whatever the reason");
    assert_eq!(tick.samples.iter().map(|(series, _)| series.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(chain.take_unknown(), Unknown { fields: 2, reasons: 1, ..Unknown::default() });

    // And from a snapshot.
    let mut part = chain.to_snapshot().next().unwrap();
    part.series[0].details.push(wire::DetailValue { field: 99, value: 1 });
    let mut joined = Decoder::new();
    joined.encoded_snapshot(&[part.encode_to_vec(), MORE.to_vec()].concat()).unwrap();
    assert_eq!(joined.take_unknown(), Unknown { fields: 2, subjects: 1, details: 1, reasons: 0 });
}

#[test]
fn a_later_message_of_no_known_kind_is_one_without_a_kind() {
    assert_eq!(wire::AgentMessage::decode(MORE).unwrap(), wire::AgentMessage { kind: None });
    assert_eq!(wire::AggregatorMessage::decode(MORE).unwrap(), wire::AggregatorMessage { kind: None });
    let hello = wire::Hello { node_name: "n".to_owned(), ..wire::Hello::default() };
    let later = [hello.encode_to_vec(), MORE.to_vec()].concat();
    assert_eq!(wire::Hello::decode(later.as_slice()).unwrap(), hello);
}

/// An aggregator of a later minor: after its welcome, kinds that nobody knows between the usual ones.
struct Later;

#[tonic::async_trait]
impl ingest_server::Ingest for Later {
    type StreamStream = ReceiverStream<Result<wire::AggregatorMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (answers, outgoing) = mpsc::channel(64);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let known = match message.kind {
                    Some(wire::agent_message::Kind::Hello(_)) => {
                        Some(aggregator_message::Kind::Welcome(wire::Welcome::default()))
                    }
                    Some(wire::agent_message::Kind::Batch(batch)) => {
                        let sequence = wire::Batch::decode(batch).unwrap().sequence;
                        Some(aggregator_message::Kind::Ack(wire::Ack { sequence }))
                    }
                    _ => None,
                };
                for kind in [known, None] {
                    drop(answers.send(Ok(wire::AggregatorMessage { kind })).await);
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

#[tokio::test]
async fn an_agent_streams_on_whatever_a_later_aggregator_says() {
    let (pipes, connections) = mpsc::channel(4);
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    let service = ingest_server::IngestServer::new(Later);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));

    let history = History::new(Duration::from_secs(60));
    let metrics = Streams::default();
    let context = Context {
        hello: Arc::new(wire::Hello { node_name: "n".to_owned(), ..wire::Hello::default() }),
        history: history.clone(),
        identities: Identities::default(),
        metrics: metrics.clone(),
        interval: Duration::from_secs(1),
        links: kubevitals_agent::stream::Links::default(),
    };
    let stop = CancellationToken::new();
    let agent = tokio::spawn(kubevitals_agent::stream::run(Endpoint::Pipe(pipes), context, stop.clone()));
    for (tick, batch) in (1..).zip(batches(5)) {
        history.push(tick, BootTime(tick * 1000), batch.encode_to_vec().into(), &Checkpoint::default());
    }
    let waited = async {
        while metrics.unknown_messages.get() < 6 || metrics.lag.get() != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited)
        .await
        .expect("all is sent, acknowledged and counted");
    assert_eq!(metrics.open.get(), 1, "one stream, still open");
    stop.cancel();
    agent.await.unwrap();
}
