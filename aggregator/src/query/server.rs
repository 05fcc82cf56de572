//! The port for direct consumers: the query service, health and reflection.

use kubevitals::wire::query_server::QueryServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Query, watch::service::QueryService};
use crate::https::Server;

/// Serves until `shutdown`.
pub async fn serve(query: Query, server: Server, listener: TcpListener, shutdown: CancellationToken) {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<QueryServer<Query>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(kubevitals::DESCRIPTOR)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => reflection,
        Err(error) => return tracing::error!(%error, "query server: reflection"),
    };
    let incoming = server.incoming(listener, shutdown.clone());
    let service = tonic::transport::Server::builder()
        .add_service(QueryService::new(query))
        .add_service(health_service)
        .add_service(reflection);
    if let Err(error) = service.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned()).await {
        tracing::error!(%error, "query server");
    }
}
