//! Health and reflection, which need no credentials, as the usual tools ask for them.

use std::time::Duration;

use kubevitals::wire::{ListRequest, query_client::QueryClient};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, transport::Channel};
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
    apiserver::reviews::User,
    caller::channel,
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

/// As command-line tools do it: they ask what there is, and show their token with the question itself.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_yet_may_say_so_on_the_same_connection() {
    let rig = Rig::start();
    let channel = channel(&rig, None).await;
    rig.api.cluster.reviews.issue("reader's", User::new("reader", &["readers"]));
    for _ in 0..20 {
        assert!(check(channel.clone(), "").await.is_ok());
        assert_eq!(check(channel.clone(), "nosuch").await, Err(Code::NotFound));
        let mut client = QueryClient::new(channel.clone());
        let refused = client.list(ListRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        let mut request = Request::new(ListRequest::default());
        request.metadata_mut().insert("authorization", "Bearer reader's".parse().unwrap());
        client.list(request).await.unwrap();
    }
}
