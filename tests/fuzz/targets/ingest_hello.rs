//! The gRPC service for agents, through its public face and without a socket: a hello, then whatever comes, in two
//! streams one after the other.
#![no_main]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use kubevitals::{
    chain::Decoder,
    limits::{INTERVAL_MS, MAX_NODE_NAME},
    wire::{self, agent_message::Kind, aggregator_message},
};
use kubevitals_aggregator::{
    directory::Directory,
    gate::AgentGate,
    ingest::Ingest,
    metrics,
    names::{Names, paths::PathNames},
    store::{Limits, Store},
};
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const INVALID_ARGUMENT: i32 = 3;
const ALREADY_EXISTS: i32 = 6;

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let hello = hello(&mut choices);
    let mut messages = vec![hello.clone()];
    while !choices.is_empty() && messages.len() < 8 {
        messages.push(message(&mut choices));
    }
    RUNTIME.with(|runtime| runtime.block_on(two_streams(&hello, &messages)));
});

async fn two_streams(hello: &[u8], messages: &[Vec<u8>]) {
    let limits = Limits { containers: 100, nodes: 10, kept: Duration::from_secs(60) };
    let ingest = Ingest {
        store: Arc::new(Store::new(limits)),
        directory: Arc::new(Directory::default()),
        names: Arc::new(Names::Paths(PathNames::new(true))),
        gate: Arc::new(AgentGate::InProcess),
        reviewer: None,
        metrics: metrics::Ingest::default(),
        complaints: Arc::default(),
        shutdown: CancellationToken::new(),
    };
    let expected = expected(messages);
    let answer = stream(&ingest, messages).await;
    assert_eq!(answer.code, if expected.violated { INVALID_ARGUMENT } else { 0 }, "{:?}", answer.text);
    assert_eq!(answer.welcomes.len(), usize::from(expected.hello.is_some()));
    assert!(answer.acks.is_sorted_by(|a, b| a < b), "acknowledgements ascend");
    assert!(answer.acks.iter().all(|&ack| ack <= expected.reached), "only what was stored is acknowledged");
    let Some(wanted) = expected.hello else {
        assert!(ingest.store.all().is_empty(), "a stranger leaves no trace");
        assert!(answer.text.contains("hello") || answer.text.contains("message") || expected.undecodable);
        return;
    };
    assert!(answer.welcomes[0].is_none(), "nothing to resume yet");
    let shard = ingest.store.shard(&wanted.node_name).expect("the node that said hello");
    {
        let state = shard.read();
        let session = state.session().expect("a session");
        assert_eq!((&session.boot_id, session.instance), (&wanted.boot_id, wanted.instance));
        assert_eq!(session.interval.as_millis(), u128::from(wanted.interval_ms));
        let capacity = wanted.capacity.unwrap_or_default();
        assert_eq!((session.cpus, session.memory_bytes), (capacity.cpus, capacity.memory_bytes));
        assert_eq!(session.newest_sequence, wanted.newest_sequence);
        assert!(!state.is_streaming(), "the stream has ended");
        assert_eq!(state.last_tick().0, expected.last_tick, "only news is stored");
        assert_eq!(state.silent_for(Instant::now()).is_some(), expected.seen);
    }
    // The same process comes back: what it may resume is what was held, and nothing after a violation, nor before the
    // first news after a snapshot.
    let again = stream(&ingest, &[hello.to_vec()]).await;
    let resumed = (!expected.violated && !expected.joining).then_some(expected.chain).flatten();
    assert_eq!(again.welcomes, [resumed.map(|sequence| (wanted.instance, sequence))]);
    // While a stream of this process is open and was heard of just now, another one is turned away.
    let session = shard.read().session().expect("a session").clone();
    let interval = session.interval;
    let (generation, _) = shard.write().begin(session, Instant::now()).expect("no stream is open");
    let is_lively =
        || shard.read().silent_for(Instant::now()).is_some_and(|silent| silent * 2 < interval * 3);
    let was_lively = is_lively();
    let second = stream(&ingest, &[hello.to_vec()]).await;
    if is_lively() {
        assert_eq!((second.code, second.welcomes.len()), (ALREADY_EXISTS, 0), "{}", second.text);
        let state = shard.read();
        assert!(state.is_in_charge(generation) && state.is_streaming(), "the first one goes on");
    } else if !was_lively {
        assert_eq!((second.code, second.welcomes.as_slice()), (0, [None].as_slice()), "{}", second.text);
        assert!(!shard.read().is_in_charge(generation), "the second one took over");
    }
}

struct Expected {
    hello: Option<wire::Hello>,
    violated: bool,
    undecodable: bool,
    /// Sequence of the chain at the end.
    chain: Option<u64>,
    /// The highest it ever had.
    reached: u64,
    /// A snapshot came, and no news since.
    joining: bool,
    /// When the last tick was that is stored.
    last_tick: u64,
    /// A tick came that the agent had not made before it connected.
    seen: bool,
}

/// What the contract says about these messages.
fn expected(messages: &[Vec<u8>]) -> Expected {
    let mut out = Expected {
        hello: None,
        violated: true,
        undecodable: false,
        chain: None,
        reached: 0,
        joining: false,
        last_tick: 0,
        seen: false,
    };
    let (mut chain, mut pending): (Option<Decoder>, Option<Decoder>) = (None, None);
    for (nth, message) in messages.iter().enumerate() {
        let Ok(message) = wire::AgentMessage::decode(message.as_slice()) else {
            out.undecodable = true;
            return out;
        };
        let fine = match (nth, message.kind) {
            (0, Some(Kind::Hello(hello))) if is_fine(&hello) => {
                out.hello = Some(hello);
                true
            }
            (0, _) | (_, None | Some(Kind::Hello(_))) => false,
            (_, Some(Kind::Snapshot(part))) => {
                let mut next = pending.take().unwrap_or_default();
                match next.encoded_snapshot(&part) {
                    Ok(true) => pending = Some(next),
                    Ok(false) => (chain, out.joining) = (Some(next), true),
                    Err(_) => return out,
                }
                true
            }
            (_, Some(Kind::Batch(encoded))) => {
                let chain = chain.as_mut().filter(|_| pending.is_none());
                let tick = chain.and_then(|chain| chain.batch(&encoded).ok());
                // After a snapshot ticks that are not news are passed over.
                if let Some(tick) = tick.filter(|tick| tick.time.0 > out.last_tick) {
                    (out.last_tick, out.joining) = (tick.time.0, false);
                    out.seen |=
                        out.hello.as_ref().is_some_and(|hello| tick.sequence >= hello.newest_sequence);
                }
                tick.is_some()
            }
        };
        if !fine {
            return out;
        }
        out.chain = chain.as_ref().map(Decoder::sequence);
        out.reached = out.reached.max(out.chain.unwrap_or(0));
    }
    out.violated = false;
    out
}

fn is_fine(hello: &wire::Hello) -> bool {
    let name = &hello.node_name;
    let labels = name.split('.').all(|label| {
        let bytes = label.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
    });
    let boot = &hello.boot_id;
    let printable = boot.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    labels
        && name.len() <= MAX_NODE_NAME
        && (1..=64).contains(&boot.len())
        && printable
        && INTERVAL_MS.contains(&hello.interval_ms.into())
}

struct Answer {
    code: i32,
    text: String,
    /// Instance and sequence that may be resumed.
    welcomes: Vec<Option<(u64, u64)>>,
    acks: Vec<u64>,
}

/// One stream: everything is sent, then everything is read.
async fn stream(ingest: &Ingest, messages: &[Vec<u8>]) -> Answer {
    let mut body = BytesMut::new();
    for message in messages {
        body.put_u8(0);
        body.put_u32(message.len() as u32);
        body.put_slice(message);
    }
    let request = Request::post("/kubevitals.v1.Ingest/Stream")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body.freeze()))
        .expect("a request");
    let response = ingest.clone().into_server().oneshot(request).await.expect("infallible");
    let headers = response.headers().clone();
    let collected = response.into_body().collect().await.expect("a whole body");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let field =
        |name: &str| trailers.get(name).or_else(|| headers.get(name)).and_then(|value| value.to_str().ok());
    let mut answer = Answer {
        code: field("grpc-status").and_then(|code| code.parse().ok()).expect("a status"),
        text: field("grpc-message").unwrap_or_default().to_owned(),
        welcomes: Vec::new(),
        acks: Vec::new(),
    };
    for message in frames(collected.to_bytes()) {
        match message.kind.expect("a kind") {
            aggregator_message::Kind::Welcome(welcome) => {
                assert!(answer.welcomes.is_empty() && answer.acks.is_empty(), "first, once");
                answer.welcomes.push(welcome.resume.map(|resume| (resume.instance, resume.sequence)));
            }
            aggregator_message::Kind::Ack(ack) => {
                assert!(!answer.welcomes.is_empty());
                answer.acks.push(ack.sequence);
            }
        }
    }
    answer
}

fn frames(body: Bytes) -> Vec<wire::AggregatorMessage> {
    let mut messages = Vec::new();
    let mut rest = body.as_ref();
    while let Some((head, behind)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (message, behind) = behind.split_at(length);
        messages.push(wire::AggregatorMessage::decode(message).expect("an answer"));
        rest = behind;
    }
    messages
}

/// Mostly a hello that is right but for one field.
fn hello(choices: &mut Choices<'_>) -> Vec<u8> {
    let text = |choices: &mut Choices<'_>| String::from_utf8_lossy(choices.piece()).into_owned();
    let mut hello = wire::Hello {
        node_name: "n1.example".to_owned(),
        boot_id: "4f0c5b0e-54ad-4b2f-8f5a-1c1d2e3f4a5b".to_owned(),
        instance: choices.number(),
        agent_version: "0.1.0".to_owned(),
        interval_ms: 1000,
        hierarchy: i32::from(choices.byte() % 5),
        newest_sequence: u64::from(choices.byte() % 8),
        capacity: choices
            .flag()
            .then(|| wire::Capacity { cpus: choices.u32(), memory_bytes: choices.number() }),
    };
    match choices.below(10) {
        0 => return choices.piece().to_vec(),
        1 => hello.node_name = text(choices),
        2 => hello.node_name = "a".repeat(choices.number().min(300) as usize),
        3 => hello.boot_id = text(choices),
        4 => hello.agent_version = text(choices),
        5 => hello.interval_ms = choices.number() as u32,
        6 => hello.interval_ms = u32::from(choices.byte()) << choices.below(20),
        7 => hello.boot_id = "x".repeat(choices.below(80)),
        _ => {}
    }
    encoded(Kind::Hello(hello))
}

fn encoded(kind: Kind) -> Vec<u8> {
    wire::AgentMessage { kind: Some(kind) }.encode_to_vec()
}

fn message(choices: &mut Choices<'_>) -> Vec<u8> {
    let number = choices.number();
    match choices.below(8) {
        0 => choices.piece().to_vec(),
        1 => hello(choices),
        2 => encoded(Kind::Batch(Bytes::copy_from_slice(choices.piece()))),
        3 => {
            let part = wire::Snapshot { sequence: number, more: choices.flag(), ..wire::Snapshot::default() };
            encoded(Kind::Snapshot(part.encode_to_vec().into()))
        }
        4 => encoded(Kind::Snapshot(Bytes::new())),
        _ => {
            // The first number a fresh chain expects is 1, and its clocks may say anything later.
            let batch =
                wire::Batch { sequence: number, time_us: number, wall_us: number, ..wire::Batch::default() };
            encoded(Kind::Batch(batch.encode_to_vec().into()))
        }
    }
}
