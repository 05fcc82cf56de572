//! Health and reflection, which need no credentials, as the usual tools ask for them.

use std::time::Duration;

use kubevitals::wire::ListRequest;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt as _;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use crate::{
    caller::{Caller, channel},
    program::PATIENCE,
    rig::{DEADLINE, NODE, Rig},
};

const SERVICE: &str = "kubevitals.v1.Query";

async fn check(channel: Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_readiness_and_ends_before_the_server_does() {
    let mut rig = Rig::with(crate::apiserver::ApiServer::start(), &["--shutdown-delay=2s"]);
    rig.agent(NODE, &[rig.ingest()]);
    let deadline = Instant::now() + DEADLINE;
    while check(channel(&rig, None).await, SERVICE).await != Ok(ServingStatus::Serving) {
        assert!(Instant::now() < deadline, "not serving in {DEADLINE:?}");
        sleep(Duration::from_millis(50)).await;
    }
    let anonymous = channel(&rig, None).await;
    assert_eq!(check(anonymous.clone(), "").await, Ok(ServingStatus::Serving));
    assert_eq!(check(anonymous.clone(), "nosuch").await, Err(Code::NotFound));
    let watched = HealthClient::new(channel(&rig, None).await).watch(HealthCheckRequest::default()).await;
    let mut watched = watched.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    rig.aggregator.program.signal(Signal::TERM);
    let next = timeout(DEADLINE, watched.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    // The stream must not hold the server up.
    let begun = std::time::Instant::now();
    assert!(rig.aggregator.program.ended(PATIENCE).success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let end = watched.next().await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "only changes are told, and then the end: {end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_tells_the_service_and_its_messages_in_both_versions() {
    let rig = Rig::start();
    let ask = |request: MessageRequest| {
        tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request: Some(request) })
    };
    let mut client = ServerReflectionClient::new(channel(&rig, None).await);
    let mut answer = async |request| {
        let stream = client.server_reflection_info(ask(request)).await.unwrap();
        stream.into_inner().next().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(services) =
        answer(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no services")
    };
    let services: Vec<&str> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(services.contains(&SERVICE) && services.contains(&"grpc.health.v1.Health"), "{services:?}");
    let MessageResponse::FileDescriptorResponse(files) =
        answer(MessageRequest::FileContainingSymbol("kubevitals.v1.WatchResponse".to_owned())).await
    else {
        panic!("no file")
    };
    assert!(!files.file_descriptor_proto.is_empty());
    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&rig, None).await);
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let answers = old.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    assert!(answers.into_inner().next().await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_connections_end_with_their_answer_and_callers_stay() {
    let rig = Rig::start();
    let target = crate::caller::target(&rig);
    let tls = target.tls(None, b"h2");
    let stream = target.connect(tls).await.unwrap();
    let (sender, connection) = h2_handshake(stream).await;
    let mut sender = sender;
    let request = http::Request::post("https://localhost/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(http_body_util::Full::new(bytes::Bytes::from_static(&[0, 0, 0, 0, 0])))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    timeout(DEADLINE, connection).await.expect("the server ends it").unwrap();
    let admin = Caller::new(&rig, &rig.admin()).await;
    for _ in 0..3 {
        assert!(admin.list(ListRequest::default()).await.is_ok());
    }
}

/// A connection whose end can be waited for.
async fn h2_handshake(
    stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>,
) -> (hyper::client::conn::http2::SendRequest<http_body_util::Full<bytes::Bytes>>, tokio::task::JoinHandle<()>)
{
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}
