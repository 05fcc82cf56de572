//! Discovery as an API server asks for it: several requests at a time on its one connection.

use futures_util::future::join_all;
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http2::handshake};

use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

#[tokio::test]
async fn c012_five_requests_at_once_on_one_connection_are_answered_within_a_second() {
    let running = start(Limits::default(), api()).await;
    for version in ["v1", "v1beta1"] {
        let stream = connect(running.address, &running.ca_pem, &["h2"]).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let ask = || {
            // No Accept header, as the controller for availability asks.
            let request = Request::get(format!("https://localhost/apis/metrics.k8s.io/{version}"))
                .header("authorization", format!("Bearer {}", fixture::TOKEN))
                .body(Empty::<Bytes>::new())
                .unwrap();
            sender.clone().send_request(request)
        };
        let answers = timeout(Duration::from_secs(1), join_all((0..5).map(|_| ask()))).await.unwrap();
        assert!(answers.into_iter().all(|answer| answer.unwrap().status() == 200));
        driver.abort();
    }
}
