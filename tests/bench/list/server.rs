//! The server process: the API over a full store, and a tick a second.

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
};

use kubevitals::sample::WallTime;
use kubevitals_aggregator::{
    api::{
        self, ApiState,
        inflight::{self, InFlight},
    },
    auth::{Authenticator, access::Authorizer, token::StaticTokens},
    https::{Limits, Server},
    metrics::Registered,
    tls::{Authority, Serving},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{TICKING, TOKEN},
    world,
};

/// Serves until standard input ends. The first line of standard output is the port and the authority.
pub(crate) fn run(pods: usize) {
    let mut world = world::World::filled(pods);
    let view = world.view.clone();
    let ticks = std::thread::Builder::new().name(TICKING.to_owned());
    drop(
        ticks
            .spawn(move || {
                loop {
                    world.tick();
                }
            })
            .unwrap(),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.spawn(serve(view));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

async fn serve(view: kubevitals_aggregator::view::View) {
    let authority = Authority::generate().unwrap();
    let serving = Serving::new(authority.issue(&[]).unwrap());
    let server = Server {
        tls: serving.api_config().unwrap(),
        limits: Limits::default(),
        failed_handshakes: prometheus_client::metrics::counter::Counter::default(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    println!("{}", authority.ca_pem());
    std::io::stdout().flush().unwrap();
    let tokens = StaticTokens::new([(TOKEN, "bench")]);
    let Registered { registry, metrics } = Registered::default();
    let state = ApiState {
        source: Arc::new(view),
        authenticator: Arc::new(Authenticator::Tokens(tokens)),
        authorizer: Arc::new(Authorizer::Named),
        core: false,
        lists: api::stream::Budget::default(),
        health: api::health::Health::default(),
        in_flight: InFlight::new(inflight::DEFAULT_LIMIT, metrics.api.in_flight()),
        metrics: metrics.api.clone(),
        registry: Arc::new(registry),
        now: || WallTime(1_795_340_846_500_000),
    };
    server.serve(listener, api::router(state), CancellationToken::new()).await;
}
