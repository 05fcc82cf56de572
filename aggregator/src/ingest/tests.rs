//! The service over an in-memory pipe, spoken to as an agent would, and as one never should.

use hyper_util::rt::TokioIo;
use kubevitals::{
    chain::{Announcement, Encoder},
    sample::{BootTime, ContainerId, CpuTime, PodUid, Sample, SeriesId, Subject, WallTime, WorkingSet},
    wire::ingest_client::IngestClient,
};
use tokio::io::DuplexStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Endpoint};

use super::*;
use crate::{
    auth::token::StaticTokens,
    directory::{ContainerRecord, PodRecord},
    names::paths::PathNames,
    store::{Limits, node::CounterRef},
};

const DEADLINE: Duration = Duration::from_secs(10);

/// A served ingest; agents connect through the pipe.
struct Server {
    ingest: Ingest,
    pipes: mpsc::Sender<DuplexStream>,
}

impl Server {
    fn start(gate: AgentGate) -> Self {
        Self::start_with(gate, Names::Paths(PathNames::new(false)))
    }

    /// Where it is known which pods are whose.
    fn of_cluster() -> Self {
        Self::start_with(AgentGate::InProcess, Names::Cluster)
    }

    fn start_with(gate: AgentGate, names: Names) -> Self {
        let limits = Limits { containers: 100, nodes: 2, kept: Duration::from_secs(60) };
        let ingest = Ingest {
            store: Arc::new(Store::new(limits)),
            directory: Arc::default(),
            names: Arc::new(names),
            gate: Arc::new(gate),
            reviewer: None,
            metrics: metrics::Ingest::default(),
            complaints: Arc::default(),
            refusals: Arc::default(),
            rush: Rush::new(Duration::from_secs(15)),
            shutdown: CancellationToken::new(),
        };
        let (pipes, connections) = mpsc::channel(4);
        tokio::spawn(crate::serve::agents::serve_connections(
            ReceiverStream::new(connections),
            ingest.clone(),
        ));
        Self { ingest, pipes }
    }

    async fn agent(&self) -> Agent {
        self.agent_with(None).await.unwrap()
    }

    async fn agent_with(&self, token: Option<&str>) -> Result<Agent, Status> {
        let pipes = self.pipes.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let pipes = pipes.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(64 << 10);
                pipes.send(theirs).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(ours))
            }
        });
        let channel = Endpoint::from_static("http://pipe").connect_with_connector(connector).await.unwrap();
        let (outgoing, messages) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let incoming = IngestClient::new(channel).stream(request).await?.into_inner();
        Ok(Agent { outgoing, incoming, encoder: Encoder::default(), tick: 0 })
    }

    fn newest_cpu(&self, node: &str) -> Option<u64> {
        self.cpu_of(node, "c1")
    }

    fn cpu_of(&self, node: &str, container: &str) -> Option<u64> {
        let shard = self.ingest.store.shard(node)?;
        let state = shard.read();
        Some(state.ring(&CounterRef::Container(ContainerId::new(container).unwrap()))?.newest()?.cpu.0)
    }

    async fn wait_for_cpu(&self, node: &str, cpu: u64) {
        let stored = async {
            while self.newest_cpu(node) != Some(cpu) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, stored).await.expect("the sample is stored in time");
    }
}

struct Agent {
    outgoing: mpsc::Sender<wire::AgentMessage>,
    incoming: Streaming<wire::AggregatorMessage>,
    encoder: Encoder,
    tick: u64,
}

fn hello(node: &str, instance: u64) -> wire::Hello {
    wire::Hello {
        node_name: node.to_owned(),
        boot_id: "boot".to_owned(),
        instance,
        interval_ms: 1000,
        ..wire::Hello::default()
    }
}

impl Agent {
    async fn send(&self, kind: agent_message::Kind) {
        // An ended stream shows in what is received.
        let _ = self.outgoing.send(wire::AgentMessage { kind: Some(kind) }).await;
    }

    async fn received(&mut self) -> Result<Option<aggregator_message::Kind>, Status> {
        let message = timeout(DEADLINE, self.incoming.message()).await.expect("an answer in time")?;
        Ok(message.and_then(|message| message.kind))
    }

    /// Says hello and returns where to resume.
    async fn greet(&mut self, hello: wire::Hello) -> Result<Option<wire::Resume>, Status> {
        Ok(self.welcomed(hello).await?.resume)
    }

    async fn welcomed(&mut self, hello: wire::Hello) -> Result<wire::Welcome, Status> {
        self.send(agent_message::Kind::Hello(hello)).await;
        match self.received().await? {
            Some(aggregator_message::Kind::Welcome(welcome)) => Ok(welcome),
            other => panic!("no welcome but {other:?}"),
        }
    }

    async fn snapshot(&self) {
        self.send(agent_message::Kind::Snapshot(bytes::Bytes::new())).await;
    }

    /// The next tick's batch, of one container that uses 1 s of CPU a tick.
    fn batch(&mut self) -> bytes::Bytes {
        self.tick += 1;
        let time = BootTime(self.tick * 1_000_000);
        self.encoder.begin(time, WallTime(1_000_000_000_000 + time.0));
        if self.tick == 1 {
            let subject = Subject::Container {
                pod: PodUid::new("aa").unwrap(),
                id: ContainerId::new("c1").unwrap(),
                qos: None,
            };
            self.encoder.announce(&Announcement {
                series: SeriesId(1),
                subject,
                inode: 1,
                first: None,
                birth: None,
            });
        }
        let working_set = WorkingSet::from_units(1);
        self.encoder.sample(Sample { time, cpu: CpuTime(self.tick), working_set }, None);
        self.encoder.finish().1
    }

    /// The next tick's batch, which announces these (number, pod, container and time of birth), and has a sample of all.
    async fn tell(&mut self, announced: &[(u32, &str, &str, u64)]) {
        self.tick += 1;
        let time = BootTime(self.tick * 1_000_000);
        self.encoder.begin(time, WallTime(1_000_000_000_000 + time.0));
        for &(series, pod, id, birth) in announced {
            let (pod, id) = (PodUid::new(pod).unwrap(), ContainerId::new(id).unwrap());
            let (series, subject) = (SeriesId(series), Subject::Container { pod, id, qos: None });
            let birth = Some(WallTime(birth));
            self.encoder.announce(&Announcement { series, subject, inode: 1, first: None, birth });
        }
        let live = self.encoder.live();
        for _ in 0..live {
            let working_set = WorkingSet::from_units(1);
            self.encoder.sample(Sample { time, cpu: CpuTime(self.tick), working_set }, None);
        }
        let batch = self.encoder.finish().1;
        self.send(agent_message::Kind::Batch(batch)).await;
    }

    async fn send_batch(&mut self) {
        let batch = self.batch();
        self.send(agent_message::Kind::Batch(batch)).await;
    }

    /// How the aggregator ended the stream.
    async fn ended(&mut self) -> Status {
        loop {
            match self.received().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended without a status"),
                Err(status) => return status,
            }
        }
    }
}

#[tokio::test]
async fn batches_are_stored_and_acknowledged() {
    let server = Server::start(AgentGate::InProcess);
    let mut agent = server.agent().await;
    assert_eq!(agent.greet(hello("n1", 1)).await.unwrap(), None);
    agent.snapshot().await;
    for _ in 0..stream::ACK_BATCHES {
        agent.send_batch().await;
    }
    let Some(aggregator_message::Kind::Ack(ack)) = agent.received().await.unwrap() else { panic!("no ack") };
    assert_eq!((ack.sequence, server.newest_cpu("n1")), (stream::ACK_BATCHES, Some(stream::ACK_BATCHES)));
}

#[tokio::test]
async fn an_agent_that_comes_back_resumes_and_another_process_begins_anew() {
    let server = Server::start(AgentGate::InProcess);
    let mut agent = server.agent().await;
    agent.greet(hello("n1", 1)).await.unwrap();
    agent.snapshot().await;
    agent.send_batch().await;
    server.wait_for_cpu("n1", 1).await;
    let Agent { outgoing, mut incoming, encoder, tick } = agent;
    drop(outgoing);
    // The aggregator has put the chain away once its side is closed too.
    assert!(timeout(DEADLINE, incoming.message()).await.unwrap().unwrap().is_none());

    let mut again = server.agent().await;
    let resume = again.greet(hello("n1", 1)).await.unwrap();
    assert_eq!(resume, Some(wire::Resume { instance: 1, sequence: 1 }));
    (again.encoder, again.tick) = (encoder, tick);
    again.send_batch().await;
    server.wait_for_cpu("n1", 2).await;

    let mut another = server.agent().await;
    assert_eq!(another.greet(hello("n1", 2)).await.unwrap(), None);
    assert_eq!(
        again.ended_after_a_batch().await.code(),
        Code::AlreadyExists,
        "the newest stream is in charge"
    );
}

impl Agent {
    async fn ended_after_a_batch(&mut self) -> Status {
        self.send_batch().await;
        self.ended().await
    }
}

#[tokio::test]
async fn a_violation_ends_that_stream_with_its_name_and_no_other() {
    let server = Server::start(AgentGate::InProcess);
    let mut good = server.agent().await;
    good.greet(hello("good", 1)).await.unwrap();
    good.snapshot().await;
    good.send_batch().await;

    let mut bad = server.agent().await;
    bad.greet(hello("bad", 1)).await.unwrap();
    bad.snapshot().await;
    bad.send_batch().await;
    let skipped = bad.batch();
    drop(skipped);
    let status = bad.ended_after_a_batch().await;
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "sequence is 3, expected 2"));
    assert_eq!(server.newest_cpu("bad"), Some(1), "nothing of the bad batch was stored");

    good.send_batch().await;
    server.wait_for_cpu("good", 2).await;
    let mut back = server.agent().await;
    assert_eq!(back.greet(hello("bad", 1)).await.unwrap(), None, "a broken chain is not resumed");
}

#[tokio::test]
async fn messages_of_a_newer_agent_are_skipped_and_counted() {
    let server = Server::start(AgentGate::InProcess);
    let mut newer = server.agent().await;
    let unknown = || wire::AgentMessage { kind: None };
    newer.outgoing.send(unknown()).await.unwrap();
    newer.greet(hello("n1", 1)).await.unwrap();
    newer.outgoing.send(unknown()).await.unwrap();
    newer.snapshot().await;
    newer.outgoing.send(unknown()).await.unwrap();
    newer.send_batch().await;
    server.wait_for_cpu("n1", 1).await;
    assert_eq!(server.ingest.metrics.unknown_messages(), 3);
}

#[tokio::test]
async fn messages_out_of_order_are_refused_by_name() {
    let server = Server::start(AgentGate::InProcess);
    let mut silent = server.agent().await;
    silent.snapshot().await;
    assert_eq!(silent.ended().await.message(), "the first message is no hello");

    let mut hasty = server.agent().await;
    hasty.greet(hello("n1", 1)).await.unwrap();
    assert_eq!(hasty.ended_after_a_batch().await.message(), "a batch before the snapshot was complete");

    let mut chatty = server.agent().await;
    chatty.greet(hello("n1", 1)).await.unwrap();
    chatty.send(agent_message::Kind::Hello(hello("n1", 1))).await;
    assert_eq!(chatty.ended().await.message(), "a second hello");

    let mut nameless = server.agent().await;
    nameless.send(agent_message::Kind::Hello(hello("Not A Node", 1))).await;
    let status = nameless.ended().await;
    assert!(status.message().starts_with("hello.node_name"), "{status}");

    let mut garbled = server.agent().await;
    garbled.greet(hello("n1", 1)).await.unwrap();
    garbled.snapshot().await;
    garbled.send(agent_message::Kind::Batch(bytes::Bytes::from_static(b"\xff\xff"))).await;
    let status = garbled.ended().await;
    assert!(status.message().starts_with("batch is not decodable"), "{status}");
}

#[tokio::test]
async fn a_node_too_many_is_turned_away() {
    let server = Server::start(AgentGate::InProcess);
    let (mut one, mut two, mut three) = (server.agent().await, server.agent().await, server.agent().await);
    one.greet(hello("n1", 1)).await.unwrap();
    two.greet(hello("n2", 1)).await.unwrap();
    three.send(agent_message::Kind::Hello(hello("n3", 1))).await;
    assert_eq!(three.ended().await.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn only_the_right_token_lets_an_agent_in() {
    let tokens = StaticTokens::new([("secret", "agent")]);
    let server = Server::start(AgentGate::Tokens(Arc::new(tokens)));
    assert!(server.agent_with(Some("secret")).await.is_ok());
    for wrong in [None, Some("wrong"), Some("")] {
        let refused = server.agent_with(wrong).await.err().map(|status| status.code());
        assert_eq!(refused, Some(Code::Unauthenticated), "{wrong:?}");
    }
}

#[tokio::test]
async fn shutting_down_ends_streams_in_good_order() {
    let server = Server::start(AgentGate::InProcess);
    let mut agent = server.agent().await;
    agent.greet(hello("n1", 1)).await.unwrap();
    server.ingest.shutdown.cancel();
    assert!(agent.received().await.unwrap().is_none(), "ended, and without an error");
}

#[tokio::test]
async fn a_replay_over_what_is_stored_changes_nothing_until_it_brings_news() {
    let server = Server::start(AgentGate::InProcess);
    let mut agent = server.agent().await;
    agent.greet(hello("n1", 1)).await.unwrap();
    agent.snapshot().await;
    let batches: Vec<bytes::Bytes> = (0..8).map(|_| agent.batch()).collect();
    for batch in &batches[..5] {
        agent.send(agent_message::Kind::Batch(batch.clone())).await;
    }
    server.wait_for_cpu("n1", 5).await;
    // The chain is lost with a violation; the agent comes back and replays everything.
    agent.send(agent_message::Kind::Batch(bytes::Bytes::from_static(b"\xff"))).await;
    assert_eq!(agent.ended().await.code(), Code::InvalidArgument);
    let mut again = server.agent().await;
    assert_eq!(again.greet(hello("n1", 1)).await.unwrap(), None);
    again.snapshot().await;
    let live = || {
        let shard = server.ingest.store.shard("n1").unwrap();
        let counter = CounterRef::Container(ContainerId::new("c1").unwrap());
        let state = shard.read();
        (state.is_live(&counter), state.ring(&counter).map(crate::store::ring::Samples::len))
    };
    for batch in &batches[..5] {
        again.send(agent_message::Kind::Batch(batch.clone())).await;
        assert_eq!((live(), server.newest_cpu("n1")), ((true, Some(5)), Some(5)));
    }
    for batch in &batches[5..] {
        again.send(agent_message::Kind::Batch(batch.clone())).await;
    }
    server.wait_for_cpu("n1", 8).await;
    assert_eq!(live(), (true, Some(8)), "the same ring goes on");
    assert!(server.ingest.directory.pod("kubepods", "aa").is_some());
}

#[tokio::test]
async fn a_static_pod_whose_mirror_comes_after_its_announcement_is_let_in() {
    let server = Server::of_cluster();
    let mirror = |uid: &str, node: &str| {
        server.ingest.directory.put_pod_of(PodRecord::bare("a", uid, uid, node), Some("aa".into()));
    };
    mirror("m2", "n2");
    let mut agent = server.agent().await;
    agent.greet(hello("n1", 1)).await.unwrap();
    agent.snapshot().await;
    agent.tell(&[(1, "bb", "c1", 1)]).await;
    agent.tell(&[(2, "aa", "c2", 1)]).await;
    server.wait_for_cpu("n1", 2).await;
    assert_eq!(server.cpu_of("n1", "c2"), None, "its pod is another node's as far as is known");
    mirror("m1", "n1");
    agent.tell(&[]).await;
    server.wait_for_cpu("n1", 3).await;
    assert_eq!(server.cpu_of("n1", "c2"), Some(3));
}

#[tokio::test]
async fn of_a_pod_that_is_known_the_sandbox_is_never_stored() {
    let server = Server::of_cluster();
    let counter = CounterRef::Container(ContainerId::new("c1").unwrap());
    let containers = vec![ContainerRecord::new("web".into(), counter)];
    server
        .ingest
        .directory
        .put_pod(PodRecord { containers: containers.into(), ..PodRecord::bare("a", "web", "aa", "n1") });
    let mut agent = server.agent().await;
    agent.greet(hello("n1", 1)).await.unwrap();
    agent.snapshot().await;
    for (cpu, announced) in [(1, &[(1, "aa", "sandbox", 1), (2, "aa", "c1", 2)][..]), (2, &[])] {
        agent.tell(announced).await;
        server.wait_for_cpu("n1", cpu).await;
        assert_eq!(server.cpu_of("n1", "sandbox"), None);
        assert_eq!(server.ingest.store.containers(), 1);
    }
}

#[tokio::test]
async fn while_many_are_behind_an_agent_is_asked_for_one_window_and_counts_until_it_has_sent_what_it_had() {
    let server = Server::start(AgentGate::InProcess);
    let mut others: Vec<_> = (0..64).map(|_| server.ingest.rush.join()).collect();
    let mut first = server.agent().await;
    let had_one = wire::Hello { newest_sequence: 1, ..hello("n1", 1) };
    assert_eq!(first.welcomed(had_one).await.unwrap().history_ms, Some(20_000));
    first.snapshot().await;
    first.send_batch().await;
    server.wait_for_cpu("n1", 1).await;
    others.pop();
    let mut second = server.agent().await;
    assert_eq!(second.welcomed(hello("n2", 2)).await.unwrap().history_ms, None);
}
