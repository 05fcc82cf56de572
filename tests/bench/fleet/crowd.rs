//! Readers that an aggregator has to bear: some that ask and take nothing, and very many at one time.

use std::{
    thread,
    time::{Duration, Instant},
};

use http_body_util::BodyExt as _;
use kubevitals::wire::{self, query_client::QueryClient};
use tokio::task::JoinSet;
use tonic::{
    Request,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::{
    Options,
    apiserver::dial::{Fault, Target},
    reader::{Client, PODS, READER},
    stage::Stage,
};

/// By then all who stop reading have asked.
const HANGING: Duration = Duration::from_secs(10);

/// The watch goes on so long when the lists are over.
const AFTER: Duration = Duration::from_secs(5);

/// HTTP/2 flow control of a watcher, as most clients have it.
const WINDOW: u32 = 65_535;

/// How lists of everything at one time went.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Resident memory of the aggregator before, KiB.
    pub(crate) before: u64,
    /// Seconds, of those that came to an end.
    pub(crate) passed: Vec<f64>,
    pub(crate) refused: Vec<String>,
    /// Clients that could not even begin to hang.
    pub(crate) not_hung: Vec<String>,
}

/// Sends all of them, and waits until the lists are over.
pub(crate) fn gather(stage: &Stage, options: &Options) -> Crowd {
    let (mut crowd, target, handle) = (Crowd::default(), stage.target(), stage.crowd.handle());
    let mut hanging = JoinSet::new();
    for _ in 0..options.hung_consumers {
        hanging.spawn_on(hung(target.clone()), handle);
    }
    let query =
        Target { address: ([127, 0, 0, 1], stage.aggregator().program.port("query")).into(), ..target };
    for _ in 0..options.hung_watchers {
        hanging.spawn_on(hung_watcher(query.clone()), handle);
    }
    thread::sleep(HANGING);
    while let Some(ended) = hanging.try_join_next() {
        crowd.not_hung.extend(ended.unwrap().err().map(|fault| fault.to_string()));
    }
    let mut lists = JoinSet::new();
    for _ in 0..options.full_lists {
        lists.spawn_on(pass(stage.target()), handle);
    }
    while let Some(passed) = stage.crowd.block_on(lists.join_next()) {
        match passed.unwrap() {
            Ok(time) => crowd.passed.push(time.as_secs_f64()),
            Err(fault) => crowd.refused.push(fault.to_string()),
        }
    }
    thread::sleep(AFTER);
    stage.crowd.block_on(hanging.shutdown());
    crowd
}

/// Asks for everything and reads nothing but the beginning.
async fn hung(target: Target) -> Result<(), Fault> {
    let mut client = Client::new(&target);
    let mut body = client.ask(PODS).await?.into_body();
    drop(body.frame().await);
    std::future::pending::<()>().await;
    drop(body);
    Ok(())
}

/// Watches all pods and reads nothing but the first message.
async fn hung_watcher(target: Target) -> Result<(), Fault> {
    let certificate = Certificate::from_pem(&target.ca_pem);
    let tls = ClientTlsConfig::new().ca_certificate(certificate).domain_name(target.name);
    let endpoint = Endpoint::from_shared(format!("https://{}", target.address))?.tls_config(tls)?;
    let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let mut request = Request::new(wire::WatchRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {READER}").parse()?);
    let mut client = QueryClient::new(endpoint.connect().await?);
    let mut stream = client.watch(request).await?.into_inner();
    stream.message().await?;
    std::future::pending::<()>().await;
    drop(stream);
    Ok(())
}

/// Asks for everything, and lets it pass; how long that took.
async fn pass(target: Target) -> Result<Duration, Fault> {
    let (mut client, begin) = (Client::new(&target), Instant::now());
    let mut body = client.ask(PODS).await?.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(begin.elapsed())
}
