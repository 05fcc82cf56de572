//! The door for agents, with the real service behind it.

use kubevitals::wire::{self, agent_message, ingest_client::IngestClient};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::*;
use crate::{
    auth::token::StaticTokens,
    gate::AgentGate,
    ingest::{Ingest, Rush},
    metrics,
    names::{Names, paths::PathNames},
    store::{self, Store},
};

/// An ingest that knows the token `good`.
async fn start_ingest(limits: Limits) -> (SocketAddr, String, CancellationToken) {
    let authority = Authority::generate().unwrap();
    let serving = Serving::new(authority.issue(&[]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        Server { tls: serving.grpc_config().unwrap(), limits, failed_handshakes: Counter::default() };
    let shutdown = CancellationToken::new();
    let store = store::Limits { containers: 10, nodes: 2, kept: Duration::from_secs(60) };
    let ingest = Ingest {
        store: Arc::new(Store::new(store)),
        directory: Arc::default(),
        names: Arc::new(Names::Paths(PathNames::new(false))),
        gate: Arc::new(AgentGate::Tokens(Arc::new(StaticTokens::new([("good", "agent")])))),
        reviewer: None,
        metrics: metrics::Ingest::default(),
        complaints: Arc::default(),
        refusals: Arc::default(),
        rush: Rush::new(Duration::from_secs(15)),
        shutdown: shutdown.clone(),
    };
    let incoming = server.incoming(accepted(listener, limits, shutdown.clone()), Arrivals::default());
    tokio::spawn(crate::serve::agents::serve_connections(incoming, ingest));
    (address, authority.ca_pem(), shutdown)
}

async fn channel(address: SocketAddr, ca_pem: &str) -> Channel {
    let tls = ClientTlsConfig::new().domain_name("localhost").ca_certificate(Certificate::from_pem(ca_pem));
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    endpoint.connect().await.unwrap()
}

/// Keeps a connection busy with pings until it is closed.
async fn ping_until_closed(address: SocketAddr, ca_pem: &str) {
    let stream = connect(address, ca_pem, &["h2"]).await.unwrap();
    let (_requests, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let pinging = async move { while pings.ping(h2::Ping::opaque()).await.is_ok() {} };
    let _ends = tokio::join!(connection, pinging);
}

#[tokio::test]
async fn who_is_not_let_in_in_time_loses_its_connection_and_an_agent_keeps_it() {
    let limits = Limits { admission: Duration::from_millis(300), ..Limits::default() };
    let (address, ca_pem, shutdown) = start_ingest(limits).await;
    let (outgoing, messages) = tokio::sync::mpsc::channel(4);
    let mut request = Request::new(ReceiverStream::new(messages));
    request.metadata_mut().insert("authorization", "Bearer good".parse().unwrap());
    let agent = IngestClient::new(channel(address, &ca_pem).await).stream(request).await;
    let mut answers = agent.unwrap().into_inner();

    timeout(DEADLINE, ping_until_closed(address, &ca_pem)).await.expect("it never asked to be let in");

    let (node_name, boot_id) = ("n1".to_owned(), "b".to_owned());
    let hello = wire::Hello { node_name, boot_id, instance: 1, interval_ms: 1000, ..wire::Hello::default() };
    let hello = wire::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) };
    outgoing.send(hello).await.unwrap();
    let welcome = timeout(DEADLINE, answers.message()).await.unwrap();
    assert!(welcome.unwrap().is_some(), "the agent was let in before");
    shutdown.cancel();
}
