//! The port for direct consumers: the query service, health and reflection, behind the same door as the API.
//!
//! Connections, their limits and their end are [`crate::https`]' business, what surrounds a request is that of `guard`.
//! Health and reflection need no credentials, since there is nothing secret in them.

use std::time::Duration;

use tokio::{net::TcpListener, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder;

use super::{Query, guard::Guard, watch::service::QueryService};
use crate::{
    api::health::{Health, Probe},
    https::{Limits, Server},
};

/// Largest request, bytes: a selection of some thousand names. Those for health and reflection name one service.
const LARGEST: usize = 1 << 20;
const LARGEST_OPEN: usize = 64 << 10;

/// Largest head of a request, bytes. A watch keeps what its caller showed for as long as it lasts.
const HEAD: u32 = 64 << 10;

/// How often the health service is told of readiness.
const LOOK: Duration = Duration::from_millis(500);

/// The name by which the health service knows ours; the empty one stands for the whole server.
const SERVICES: [&str; 2] = ["", "kubevitals.v1.Query"];

/// The limits of the port's connections.
#[must_use]
pub fn limits() -> Limits {
    Limits { head_bytes: HEAD, ..Limits::default() }
}

/// Serves until `shutdown`. Then streams end with UNAVAILABLE, and what else is in flight is finished.
pub async fn serve(
    query: Query,
    health: Health,
    server: Server,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let guard = Guard::new(query.metrics.clone(), shutdown.clone());
    let routes = Routes::new(QueryService::new(query, LARGEST))
        .add_service(health_service.max_decoding_message_size(LARGEST_OPEN));
    let routes = match with_reflection(routes) {
        Ok(routes) => routes,
        Err(error) => return tracing::error!(%error, "query server: reflection"),
    };
    let answering = server.serve(listener, guard.around(routes.into_axum_router()), shutdown.clone());
    tokio::join!(answering, report(reporter, health, shutdown));
}

/// Both versions, since tools ask either.
fn with_reflection(routes: Routes) -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(kubevitals::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes
        .add_service(builder().build_v1()?.max_decoding_message_size(LARGEST_OPEN))
        .add_service(builder().build_v1alpha()?.max_decoding_message_size(LARGEST_OPEN)))
}

/// Tells the health service whether we are ready, as `/readyz` does. Only changes are told, since its watchers hear all.
async fn report(reporter: HealthReporter, health: Health, shutdown: CancellationToken) {
    let mut told = None;
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let runs = shutdown.run_until_cancelled(every.tick()).await.is_some();
        let is_ready = runs && health.passes(Probe::Ready);
        if told.replace(is_ready) != Some(is_ready) {
            let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in SERVICES {
                reporter.set_service_status(service, status).await;
            }
        }
        if !runs {
            return;
        }
    }
}
