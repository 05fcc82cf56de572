//! Clients that take their responses slowly, or not at all.

use bytes::Bytes;
use tokio::sync::watch;

use super::*;

/// More than the sockets of both sides hold.
const LARGE: usize = 64 << 20;

/// So that a test is short; the real ones are in [`Limits::default`].
const SHORT: Limits = Limits {
    handshake: DEADLINE,
    first_request: DEADLINE,
    admission: Duration::from_secs(20),
    idle: DEADLINE,
    ping_after: DEADLINE,
    ping_timeout: DEADLINE,
    stall: Duration::from_millis(300),
    response: DEADLINE,
    drain: DEADLINE,
    connections: 10,
    connections_of_one: 10,
    streams: 100,
    head_bytes: 1 << 20,
};

/// For clients that are not to be cut, however busy the machine is.
const PATIENT: Limits = Limits { stall: Duration::from_millis(1500), ..SHORT };

/// The bytes of a response, which tell when nobody holds them any more.
struct Tracked(Vec<u8>, watch::Sender<usize>);

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.1.send_modify(|freed| *freed += 1);
    }
}

/// Answers every request with as many bytes as its path says; counts the responses that are freed.
fn bytes() -> (Router, watch::Receiver<usize>) {
    let (sender, freed) = watch::channel(0);
    let app = Router::new().fallback(async move |request: axum::extract::Request| {
        let length = request.uri().path().trim_start_matches('/').parse().unwrap();
        Bytes::from_owner(Tracked(vec![b'x'; length], sender.clone()))
    });
    (app, freed)
}

async fn freed_reach(freed: &mut watch::Receiver<usize>, count: usize) {
    timeout(DEADLINE, freed.wait_for(|freed| *freed >= count)).await.expect("freed in time").unwrap();
}

#[tokio::test]
async fn over_http_1_a_client_that_reads_nothing_is_closed_and_its_response_freed() {
    let (app, mut freed) = bytes();
    let running = start(SHORT, app).await;
    let mut stream = connect(running.address, &running.ca_pem, &["http/1.1"]).await.unwrap();
    stream.write_all(get(&format!("/{LARGE}"), "").as_bytes()).await.unwrap();
    freed_reach(&mut freed, 1).await;
    // What is left is less than all.
    let mut rest = Vec::new();
    let _reset = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < LARGE);
}

#[tokio::test]
async fn over_http_1_a_client_that_trickles_has_no_longer_than_a_response_may_take() {
    let (app, mut freed) = bytes();
    let running = start(Limits { response: Duration::from_millis(600), ..SHORT }, app).await;
    let mut stream = connect(running.address, &running.ca_pem, &["http/1.1"]).await.unwrap();
    stream.write_all(get(&format!("/{LARGE}"), "").as_bytes()).await.unwrap();
    let trickle = async {
        let mut some = vec![0; 100_000];
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            if matches!(stream.read(&mut some).await, Ok(0) | Err(_)) {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = freed_reach(&mut freed, 1) => {}
        () = trickle => unreachable!(),
    }
}

async fn http2(
    running: &Running,
    window: u32,
) -> (h2::client::SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = connect(running.address, &running.ca_pem, &["h2"]).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 30);
    let (client, connection) = builder.handshake(stream).await.unwrap();
    (client.ready().await.unwrap(), tokio::spawn(connection))
}

async fn ask(client: &mut h2::client::SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let request = http::Request::get(format!("https://localhost{path}")).body(()).unwrap();
    let (response, _body) = client.send_request(request, true).unwrap();
    timeout(DEADLINE, response).await.unwrap().unwrap().into_body()
}

#[tokio::test]
async fn over_http_2_a_stalled_response_is_freed_and_the_others_go_on() {
    let (app, mut freed) = bytes();
    let running = start(PATIENT, app).await;
    // Room for the honest one, which is read, and too little for the others.
    let (mut client, _connection) = http2(&running, 10_000).await;
    let stalled = [LARGE, 10_001, 10_002, 300_000];
    let mut held = Vec::new();
    for length in stalled {
        held.push(ask(&mut client, &format!("/{length}")).await);
    }
    let mut honest = ask(&mut client, "/300000").await;
    let mut received = 0;
    while let Some(data) = timeout(DEADLINE, honest.data()).await.unwrap() {
        let data = data.unwrap();
        received += data.len();
        honest.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(received, 300_000);
    freed_reach(&mut freed, stalled.len() + 1).await;
    for mut body in held {
        // What fits into the window came; then the stream was reset.
        let reset = async {
            loop {
                if let Err(error) = body.data().await.expect("no end") {
                    return error.reason();
                }
            }
        };
        assert_eq!(timeout(DEADLINE, reset).await.unwrap(), Some(h2::Reason::CANCEL));
    }
    // The connection lives.
    let _answer = ask(&mut client, "/5").await;
}

#[tokio::test]
async fn over_http_2_even_a_small_response_without_any_window_is_freed() {
    let (app, mut freed) = bytes();
    let running = start(SHORT, app).await;
    let (mut client, _connection) = http2(&running, 0).await;
    let mut held = Vec::new();
    for length in 1..=20 {
        held.push(ask(&mut client, &format!("/{length}")).await);
    }
    freed_reach(&mut freed, 20).await;
}

#[tokio::test]
async fn over_http_2_a_client_that_reads_slowly_but_steadily_gets_everything() {
    let (app, _freed) = bytes();
    let running = start(PATIENT, app).await;
    let (mut client, _connection) = http2(&running, 65_535).await;
    let length = 20 * 65_535;
    let mut body = ask(&mut client, &format!("/{length}")).await;
    // Twice the time in which it would be cut.
    let (mut received, mut kept, mut pace) = (0, 0, tokio::time::interval(PATIENT.stall / 10));
    while let Some(data) = timeout(DEADLINE, body.data()).await.unwrap() {
        let count = data.unwrap().len();
        (received, kept) = (received + count, kept + count);
        // The window is given back when it is used up.
        if kept == 65_535 {
            pace.tick().await;
            body.flow_control().release_capacity(std::mem::take(&mut kept)).unwrap();
        }
    }
    assert_eq!(received, length);
}

#[tokio::test]
async fn over_http_2_a_client_that_does_not_read_its_socket_is_closed() {
    let (app, mut freed) = bytes();
    let running = start(SHORT, app).await;
    let stream = connect(running.address, &running.ca_pem, &["h2"]).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
    let (client, mut connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let mut client = client.ready().await.unwrap();
    let request = http::Request::get(format!("https://localhost/{LARGE}")).body(()).unwrap();
    let (_response, _body) = client.send_request(request, true).unwrap();
    // Long enough to send the request and for the answer to begin, and then never again; the socket stays open.
    let _unread = timeout(Duration::from_millis(100), &mut connection).await;
    freed_reach(&mut freed, 1).await;
}
