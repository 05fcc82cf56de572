//! HTTP/2 on the wire: what we announce, and what floods of frames lead to.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block: method (2 is GET, 3 is POST), `/`, https from the static table; then authority and authorization
/// as plain literals.
fn head(method: u8, token: Option<&str>) -> Vec<u8> {
    let mut block = vec![0x80 | method, 0x84, 0x87, 0x01, 1, b'x'];
    if let Some(token) = token {
        let value = format!("Bearer {token}");
        block.extend_from_slice(&[0x0f, 8, u8::try_from(value.len()).unwrap()]);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// A connection on which nothing but preface and settings were sent.
async fn open(running: &Running) -> Stream {
    let mut stream = connect(running.address, &running.ca_pem, &["h2"]).await.unwrap();
    stream.write_all(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream
}

/// The next frame: kind, stream and payload. None when the connection is closed.
async fn next(stream: &mut Stream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    timeout(DEADLINE, stream.read_exact(&mut head)).await.unwrap().ok()?;
    let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
    timeout(DEADLINE, stream.read_exact(&mut payload)).await.unwrap().ok()?;
    Some((head[3], number(&head[5..]), payload))
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// Reads until a frame of this kind.
async fn until(stream: &mut Stream, wanted: u8) -> Option<(u32, Vec<u8>)> {
    loop {
        let (kind, id, payload) = next(stream).await?;
        if kind == wanted {
            return Some((id, payload));
        }
    }
}

/// Sends a flood in the background, and returns the code with which the server ended the connection; None when it
/// closed without a word.
async fn flood(running: &Running, bytes: Vec<u8>) -> Option<u32> {
    let stream = open(running).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        // The server may close before all is sent.
        let _closed = writer.write_all(&bytes).await;
        writer
    });
    let mut answer = Vec::new();
    let _reset = timeout(DEADLINE, reader.read_to_end(&mut answer)).await.unwrap();
    let _writer = timeout(DEADLINE, writing).await.unwrap().unwrap();
    let mut rest = answer.as_slice();
    let mut code = None;
    while let Some((head, after)) = rest.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, after)) = after.split_at_checked(length) else { break };
        if head[3] == kind::GOAWAY {
            code = Some(number(&payload[4..]));
        }
        rest = after;
    }
    code
}

async fn still_serves(running: &Running) {
    assert!(exchange(running, &get("/livez", "")).await.ends_with("ok"));
}

#[tokio::test]
async fn c107_the_settings_are_those_that_are_documented() {
    let running = start(Limits::default(), api()).await;
    let mut stream = open(&running).await;
    let (_, payload) = until(&mut stream, kind::SETTINGS).await.unwrap();
    let mut settings: Vec<_> = payload.chunks(6).map(|setting| (setting[1], number(&setting[2..]))).collect();
    settings.sort_unstable();
    // Streams, window, frame size, header list: numbers of RFC 9113, 6.5.2.
    assert_eq!(settings, [(3, 100), (4, 64 << 10), (5, 256 << 10), (6, 1 << 20)]);
}

#[tokio::test]
async fn c107_a_burst_of_requests_that_are_reset_at_once_ends_the_connection() {
    let running = start(Limits::default(), api()).await;
    let block = head(2, Some(fixture::TOKEN));
    let cancelled = (0..1000_u32).flat_map(|n| {
        let id = 2 * n + 1;
        let mut both = frame(kind::HEADERS, END_STREAM | END_HEADERS, id, &block);
        both.extend(frame(kind::RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        both
    });
    assert_eq!(flood(&running, cancelled.collect()).await, Some(ENHANCE_YOUR_CALM));
    still_serves(&running).await;
}

#[tokio::test]
async fn c107_no_more_than_the_allowed_requests_run_at_one_time() {
    let started = Arc::new(tokio::sync::Semaphore::new(0));
    let enter = Arc::clone(&started);
    let app = Router::new().fallback(async move || {
        enter.add_permits(1);
        std::future::pending::<()>().await;
    });
    let running = start(Limits { streams: 5, ..Limits::default() }, app).await;
    let mut stream = open(&running).await;
    let block = head(2, None);
    for n in 0..8 {
        stream.write_all(&frame(kind::HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &block)).await.unwrap();
    }
    for refused in [11, 13, 15] {
        let (id, reason) = until(&mut stream, kind::RST_STREAM).await.unwrap();
        assert_eq!((id, number(&reason)), (refused, 7), "REFUSED_STREAM");
    }
    let _five = timeout(DEADLINE, started.acquire_many(5)).await.unwrap().unwrap();
    assert_eq!(started.available_permits(), 0);
}

#[tokio::test]
async fn c107_a_flood_of_continuations_ends_the_connection() {
    let running = start(Limits::default(), api()).await;
    let mut bytes = frame(kind::HEADERS, END_STREAM, 1, &head(2, None));
    for _ in 0..100_000 {
        bytes.extend(frame(kind::CONTINUATION, 0, 1, &[]));
    }
    let code = flood(&running, bytes).await;
    assert!(code.is_none_or(|code| code != NO_ERROR), "{code:?}");
    still_serves(&running).await;
}

#[tokio::test]
async fn c109_header_blocks_that_are_too_large_are_refused() {
    let running = start(Limits::default(), api()).await;
    // Thirty thousand lines with names of their own, a few bytes each, and one line of two mebibytes.
    let many: Vec<u8> = (0..30_000_u32)
        .flat_map(|n| [&[0, 5][..], format!("{n:05}").as_bytes(), &[1, b'x']].concat())
        .collect();
    let mut long = vec![0, 1, b'y', 0x7f];
    let mut left = (2_usize << 20) - 127;
    while left >= 128 {
        long.push(u8::try_from(left % 128).unwrap() | 0x80);
        left /= 128;
    }
    long.push(u8::try_from(left).unwrap());
    long.resize(2 << 20, b'z');
    for lines in [many, long] {
        let mut stream = open(&running).await;
        let block = [head(2, Some(fixture::TOKEN)), lines].concat();
        let mut parts = block.chunks(16_000);
        let mut bytes = frame(kind::HEADERS, END_STREAM, 1, parts.next().unwrap());
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
            bytes.extend(frame(kind::CONTINUATION, flags, 1, part));
        }
        let _closed = stream.write_all(&bytes).await;
        loop {
            match next(&mut stream).await {
                // An indexed or literal :status; 431 is not in the static table, 200 is.
                Some((kind::HEADERS, _, block)) => {
                    assert!(block.windows(3).any(|digits| digits == b"431") || block[0] != 0x88);
                    break;
                }
                Some((kind::GOAWAY | kind::RST_STREAM, ..)) | None => break,
                Some(_) => {}
            }
        }
        still_serves(&running).await;
    }
}

#[tokio::test]
async fn c108_who_is_not_known_gets_one_response_and_then_a_goaway() {
    let running = start(Limits::default(), api()).await;
    for (token, ends) in [(None, true), (Some("wrong"), true), (Some(fixture::TOKEN), false)] {
        let mut stream = open(&running).await;
        let request = frame(kind::HEADERS, END_STREAM | END_HEADERS, 1, &head(2, token));
        stream.write_all(&request).await.unwrap();
        let mut kinds = Vec::new();
        while !kinds.contains(&if ends { kind::GOAWAY } else { kind::DATA }) {
            let (kind, _, payload) = next(&mut stream).await.unwrap();
            kinds.push(kind);
            assert!(kind != kind::GOAWAY || number(&payload[4..]) == NO_ERROR, "an orderly end");
        }
        assert_eq!(kinds.contains(&kind::GOAWAY), ends, "{token:?}: {kinds:?}");
    }
    // HTTP/1.1 has a header for it.
    let answer = exchange(&running, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn c108_who_was_sent_away_cannot_put_off_the_end() {
    let limits = Limits { response: Duration::from_millis(300), ..Limits::default() };
    let running = start(limits, api()).await;
    let mut stream = open(&running).await;
    stream.write_all(&frame(kind::HEADERS, END_STREAM | END_HEADERS, 1, &head(2, None))).await.unwrap();
    // The ping that asks for confirmation is never answered.
    let mut rest = Vec::new();
    let closed = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "still open");
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_without_an_error() {
    let running = start(Limits::default(), api()).await;
    let mut stream = open(&running).await;
    let post = frame(kind::HEADERS, END_HEADERS, 1, &head(3, Some(fixture::TOKEN)));
    stream.write_all(&post).await.unwrap();
    let (id, reason) = until(&mut stream, kind::RST_STREAM).await.unwrap();
    assert_eq!((id, number(&reason)), (1, NO_ERROR), "the answer is complete, the body not wanted");
    // The connection goes on.
    let request = frame(kind::HEADERS, END_STREAM | END_HEADERS, 3, &head(2, Some(fixture::TOKEN)));
    stream.write_all(&request).await.unwrap();
    assert_eq!(until(&mut stream, kind::HEADERS).await.unwrap().0, 3);
}

/// A router whose every answer is to a stranger, who is known from the `known`-th request on.
fn to_strangers(known: usize) -> Router {
    let count = Arc::new(AtomicUsize::new(0));
    Router::new().fallback(move |request: axum::extract::Request| {
        let is_known = count.fetch_add(1, Ordering::Relaxed) + 1 >= known;
        if is_known {
            request.extensions().get::<Admitted>().unwrap().set();
        }
        async { axum::Extension(Stranger) }
    })
}

#[tokio::test]
async fn a_stranger_may_ask_on_and_is_sent_away_when_nobody_is_recognised_in_time() {
    let admission = Duration::from_millis(400);
    for (known, ends) in [(usize::MAX, true), (2, false)] {
        let running = start(Limits { admission, ..Limits::default() }, to_strangers(known)).await;
        let mut stream = open(&running).await;
        let ask = |id| frame(kind::HEADERS, END_STREAM | END_HEADERS, id, &head(2, None));
        for id in [1, 3] {
            stream.write_all(&ask(id)).await.unwrap();
            assert_eq!(until(&mut stream, kind::HEADERS).await.map(|(answered, _)| answered), Some(id));
        }
        let end = timeout(admission * 3, until(&mut stream, kind::GOAWAY)).await;
        assert_eq!(end.is_ok_and(|goaway| goaway.is_some()), ends, "known from request {known} on");
    }
}
