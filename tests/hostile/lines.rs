//! HTTP/1.1 as bytes, and bytes that are no HTTP: what no client library would send.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    field::{Field, PATIENCE},
    tally::{Caller::Unwelcome, Outcome},
};

/// How long an attacker waits where no answer is due.
const GLANCE: Duration = Duration::from_secs(2);

const HOST: &str = "Host: localhost\r\n";
const PODS: &str = "/apis/metrics.k8s.io/v1/pods";
const MASTERS: &str = "X-Remote-User: root\r\nX-Remote-Group: system:masters\r\n";

/// A request for all pods with these header lines, and what follows its head.
fn get(lines: &str, rest: &str) -> Vec<u8> {
    format!("GET {PODS} HTTP/1.1\r\n{HOST}{lines}\r\n{rest}").into_bytes()
}

/// Each is sent whole on a connection of its own; none may be answered with success.
fn shapes(number: u64) -> Vec<(&'static str, Vec<u8>)> {
    let hidden = format!("GET {PODS} HTTP/1.1\r\n{HOST}{MASTERS}\r\n");
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let start = |line: &str| format!("{line}\r\n{HOST}{MASTERS}\r\n").into_bytes();
    vec![
        ("absolute URIs", start(&format!("GET https://localhost{PODS} HTTP/1.1"))),
        ("absolute URIs", start(&format!("GET http://169.254.169.254{PODS} HTTP/1.1"))),
        ("CONNECT", [start("CONNECT localhost:443 HTTP/1.1"), hidden.clone().into_bytes()].concat()),
        (
            "both lengths",
            get("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{hidden}")),
        ),
        ("two lengths", get("Content-Length: 0\r\nContent-Length: 60\r\n", &hidden)),
        ("pipelining", get(MASTERS, &hidden.repeat(100))),
        ("upgrades as bytes", get(&format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{MASTERS}"), "")),
        ("endless bodies", get("Transfer-Encoding: chunked\r\n", &chunk.repeat(200))),
        ("control characters", get("Authorization: Bearer \x01\x02\x00reader\r\n", "")),
        (
            "header lines that hide others",
            get("X: a\rX-Remote-User: root\r\n X-Remote-Group: system:masters\r\n", ""),
        ),
        ("huge heads", get(&format!("X-{number}: {}\r\n", "a".repeat(3 << 20)), "")),
        ("huge targets", start(&format!("GET /{} HTTP/1.1", "a".repeat(2 << 20)))),
        (
            "garbage inside TLS",
            (0..4096_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()).collect(),
        ),
        ("old versions", format!("GET {PODS}\r\n").into_bytes()),
        ("old versions", start(&format!("GET {PODS} HTTP/9.9"))),
    ]
}

pub(crate) async fn strange_bytes(field: &Field) {
    let shapes = shapes(field.number());
    let (attack, bytes) = field.one(&shapes);
    let sent = async {
        let Ok(mut stream) = field.target.connect(field.target.tls(None, b"http/1.1")).await else {
            return vec![Outcome::CutOff];
        };
        // The server may stop reading at any moment; what it says then still counts.
        let _ = timeout(PATIENCE, stream.write_all(bytes)).await;
        statuses(&mut stream, GLANCE).await
    };
    for outcome in timeout(PATIENCE * 2, sent).await.unwrap_or(vec![Outcome::Silent]) {
        field.note(attack, Unwelcome, outcome);
    }
}

/// Every status line until the server closes or says no more; one outcome where there is none.
async fn statuses(stream: &mut (impl AsyncRead + Unpin), quiet: Duration) -> Vec<Outcome> {
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let is_closed = loop {
        match timeout(quiet, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(read)) => answer.extend_from_slice(&buffer[..read]),
            Err(_) => break false,
        }
    };
    let text = String::from_utf8_lossy(&answer);
    let found = text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
    let statuses: Vec<Outcome> = found.map(Outcome::Answered).collect();
    match statuses.is_empty() {
        false => statuses,
        true if is_closed => vec![Outcome::CutOff],
        true => vec![Outcome::Silent],
    }
}

/// No TLS at all, or a handshake that goes wrong.
pub(crate) async fn garbage_handshakes(field: &Field) {
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 505]].concat();
    let shapes: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        &[0xff; 2048],
        &hello,
        &[22, 3, 1, 0xff, 0xff],
    ];
    let bytes = *field.one(&shapes);
    let sent = async {
        let mut stream = TcpStream::connect(field.target.address).await.ok()?;
        stream.write_all(bytes).await.ok()?;
        statuses(&mut stream, GLANCE).await.pop()
    };
    field.note("garbage instead of TLS", Unwelcome, sent.await.unwrap_or(Outcome::CutOff));
}

/// Connections of which only one side lives: nothing is ever sent, for as long as the server lets them stand.
pub(crate) async fn half_open(field: &Field, until: Instant) {
    let Ok(mut stream) = TcpStream::connect(field.target.address).await else {
        return field.note("half-open connections", Unwelcome, Outcome::CutOff);
    };
    let mut buffer = [0; 256];
    let outcome = match tokio::time::timeout_at(until, stream.read(&mut buffer)).await {
        Ok(_) => Outcome::CutOff,
        Err(_) => Outcome::Silent,
    };
    field.note("half-open connections", Unwelcome, outcome);
}

/// A head that never ends, a byte at a time.
pub(crate) async fn slow_heads(field: &Field, until: Instant) {
    let dripped = async {
        let mut stream = field.target.connect(field.target.tls(None, b"http/1.1")).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.ok()?;
        let mut buffer = [0; 256];
        loop {
            match timeout(Duration::from_millis(500), stream.read(&mut buffer)).await {
                Ok(Ok(read)) if read > 12 => {
                    return std::str::from_utf8(&buffer[9..12]).ok()?.parse().ok().map(Outcome::Answered);
                }
                Ok(_) => return None,
                Err(_) => stream.write_all(b"a").await.ok()?,
            }
        }
    };
    let outcome = match tokio::time::timeout_at(until, dripped).await {
        Ok(outcome) => outcome.unwrap_or(Outcome::CutOff),
        Err(_) => Outcome::Silent,
    };
    field.note("slow heads", Unwelcome, outcome);
}
