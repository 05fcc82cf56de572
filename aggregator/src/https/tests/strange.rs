//! Requests over HTTP/1.1, and handshakes, of a kind that no proper client sends.

use super::*;

const NODES: &str = "/apis/metrics.k8s.io/v1/nodes";

/// Sends `text` and returns the status codes of all responses until the server closes.
async fn statuses(running: &Running, text: &str) -> Vec<u16> {
    let answer = exchange(running, text).await;
    // A body ends without a line break, so the next response begins anywhere.
    answer.split("HTTP/1.1 ").skip(1).map(|response| response[..3].parse().unwrap()).collect()
}

fn request(line: &str, headers: &str) -> String {
    let token = fixture::TOKEN;
    format!("{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}\r\n")
}

#[tokio::test]
async fn c076_an_upgrade_is_answered_as_a_plain_request() {
    let running = start(Limits::default(), api()).await;
    for protocol in ["websocket", "SPDY/3.1", "h2c"] {
        let text = get(NODES, &format!("Upgrade: {protocol}\r\n"));
        let answer = exchange(&running, &text.replace("close", "Upgrade, close")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn requests_that_are_sent_at_once_are_answered_in_order() {
    let running = start(Limits::default(), api()).await;
    let text = [
        request(&format!("GET {NODES}"), ""),
        request("GET /nosuch", ""),
        request("DELETE /apis", ""),
        get("/livez", ""),
    ];
    assert_eq!(statuses(&running, &text.concat()).await, [200, 404, 405, 200]);
}

#[tokio::test]
async fn what_follows_a_body_is_never_taken_for_a_request() {
    let running = start(Limits::default(), api()).await;
    let smuggled = get("/version", "");
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
    ] {
        let text = format!("{}0\r\n\r\n{smuggled}", request(&format!("GET {NODES}"), framing));
        let statuses = statuses(&running, &text).await;
        assert!(matches!(statuses[..], [200 | 400]), "{framing:?}: {statuses:?}");
    }
    let text = format!("{}abc{smuggled}", request(&format!("POST {NODES}"), "Content-Length: 3\r\n"));
    assert_eq!(statuses(&running, &text).await, [405]);
    // An empty body is no body.
    let text = format!("{}{}", request(&format!("GET {NODES}"), "Content-Length: 0\r\n"), get("/livez", ""));
    assert_eq!(statuses(&running, &text).await, [200, 200]);
}

#[tokio::test]
async fn heads_that_break_the_grammar_are_refused() {
    let running = start(Limits::default(), api()).await;
    for headers in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "X : y\r\n",
        "X\r\n",
        " folded: y\r\n",
        "X: \0\r\n",
    ] {
        let statuses = statuses(&running, &request(&format!("GET {NODES}"), headers)).await;
        assert_eq!(statuses, [400], "{headers:?}");
    }
    for line in ["GET", "GET  /", "\0", "GET / HTTP/1.1 x", "G\u{e4}T /", ""] {
        let statuses = statuses(&running, &request(line, "Connection: close\r\n")).await;
        assert!(statuses.iter().all(|status| *status >= 400), "{line:?}: {statuses:?}");
    }
}

#[tokio::test]
async fn forms_of_targets_for_proxies_reach_nothing_else() {
    let running = start(Limits::default(), api()).await;
    let status = async |line: &str| statuses(&running, &request(line, "Connection: close\r\n")).await;
    // RFC 9112 wants the absolute form accepted; the host in it means nothing here.
    assert_eq!(status("GET https://elsewhere/apis").await, [200]);
    assert_eq!(status("GET http://169.254.169.254/nosuch").await, [404]);
    assert_eq!(status("CONNECT elsewhere:443").await, [405]);
    assert_eq!(status("OPTIONS *").await, [404]);
}

#[tokio::test]
async fn c075_a_body_that_never_comes_delays_no_answer_and_ends_the_connection() {
    let running = start(Limits::default(), api()).await;
    for (method, status) in [("GET", 200), ("POST", 405), ("DELETE", 405)] {
        for framing in [
            "Content-Length: 1000000000\r\n",
            "Transfer-Encoding: chunked\r\n",
            // Nobody is told to go on.
            "Content-Length: 10\r\nExpect: 100-continue\r\n",
        ] {
            let text = request(&format!("{method} {NODES}"), framing);
            assert_eq!(statuses(&running, &text).await, [status], "{method} {framing:?}");
        }
    }
}

#[tokio::test]
async fn c109_a_flood_of_header_lines_is_refused_and_the_groups_of_one_user_are_none() {
    let running = start(Limits::default(), api()).await;
    let lines = |count| get(NODES, &"X-Remote-Group: some-group\r\n".repeat(count));
    assert_eq!(statuses(&running, &lines(1500)).await, [200]);
    let statuses = statuses(&running, &lines(30_000)).await;
    assert!(statuses.is_empty() || statuses == [431], "{statuses:?}");
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut_off_also_when_it_is_not_the_first() {
    let limits = Limits { idle: Duration::from_millis(200), ..Limits::default() };
    let running = start(limits, api()).await;
    let mut stream = connect(running.address, &running.ca_pem, &["http/1.1"]).await.unwrap();
    stream.write_all(request(&format!("GET {NODES}"), "").as_bytes()).await.unwrap();
    let dribble = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let mut some = [0; 4096];
        loop {
            tokio::select! {
                _ = pace.tick() => if stream.write_all(b"G").await.is_err() { return },
                read = stream.read(&mut some) => if matches!(read, Ok(0) | Err(_)) { return },
            }
        }
    };
    timeout(DEADLINE, dribble).await.unwrap();
}

/// A first message of a handshake that offers no version above `version` (RFC 5246, 7.4.1.2).
fn hello(version: [u8; 2]) -> Vec<u8> {
    let mut hello = vec![1, 0, 0, 0];
    hello.extend_from_slice(&version);
    hello.extend_from_slice(&[7; 32]);
    // No session, one cipher suite (ECDHE with ECDSA and AES), no compression; extensions: groups, signatures.
    hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 16]);
    hello.extend_from_slice(&[0, 10, 0, 4, 0, 2, 0, 23]);
    hello.extend_from_slice(&[0, 13, 0, 4, 0, 2, 4, 3]);
    hello[3] = u8::try_from(hello.len() - 4).unwrap();
    let mut record = vec![22, 3, 1, 0, u8::try_from(hello.len()).unwrap()];
    record.extend_from_slice(&hello);
    record
}

#[tokio::test]
async fn c104_old_versions_of_tls_get_an_alert() {
    const ALERT: u8 = 21;
    const PROTOCOL_VERSION: u8 = 70;
    let running = start(Limits::default(), api()).await;
    for version in [[3, 1], [3, 2]] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&hello(version)).await.unwrap();
        let mut answer = Vec::new();
        let _end = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
        assert_eq!((answer[0], answer[6]), (ALERT, PROTOCOL_VERSION), "{version:?}: {answer:?}");
    }
    running.failed_handshakes_reach(2).await;
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let stream = connect_with(running.address, &running.ca_pem, &["h2"], versions).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(versions[0].version));
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_counted() {
    let running = start(Limits::default(), api()).await;
    let garbage: [&[u8]; 4] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 1000],
        &[0x16, 3, 1, 0xff, 0xff],
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let _end = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.unwrap();
    }
    running.failed_handshakes_reach(garbage.len() as u64).await;
    assert_eq!(statuses(&running, &get("/livez", "")).await, [200]);
}
