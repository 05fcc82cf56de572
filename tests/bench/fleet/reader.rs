//! The load of readers: autoscalers that list the pods of their application, somebody who lists everything, and somebody
//! who looks at all nodes. Each number is judged.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    apiserver::dial::{Connection, Fault, Target},
    kernel::mixed,
    seen::{Reader, Seen, Tally},
    world::{self, REPLICAS, World},
};

/// Who may read.
pub(crate) const READER: &str = "reader";

/// Each autoscaler lists its pods so often.
const AUTOSCALE: Duration = Duration::from_secs(15);

/// All nodes are listed so often, to be judged.
const NODES_EVERY: Duration = Duration::from_secs(5);

pub(crate) const PODS: &str = "/apis/metrics.k8s.io/v1/pods";
const NODES: &str = "/apis/metrics.k8s.io/v1/nodes";

/// A client of the API, over one connection.
pub(crate) struct Client {
    pub(crate) target: Target,
    connection: Option<Connection>,
}

impl Client {
    pub(crate) fn new(target: &Target) -> Self {
        Self { target: target.clone(), connection: None }
    }

    /// Asks; the body comes as it comes.
    pub(crate) async fn ask(&mut self, path: &str) -> Result<http::Response<hyper::body::Incoming>, Fault> {
        let connection = match &mut self.connection {
            Some(connection) if !connection.is_closed() => connection,
            place => place.insert(self.target.http2(None).await?),
        };
        let request = Request::get(format!("https://localhost{path}"))
            .header("authorization", format!("Bearer {READER}"))
            .header("accept", "application/json")
            .body(Full::default())?;
        let response = connection.send(request).await?;
        if response.status() != 200 {
            return Err(format!("{path}: {}", response.status()).into());
        }
        Ok(response)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes, Fault> {
        Ok(self.ask(path).await?.into_body().collect().await?.to_bytes())
    }

    /// Asks and times it, milliseconds; with the wall time before.
    pub(crate) async fn timed(&mut self, world: &World, path: &str) -> Result<(Bytes, u64, f64), Fault> {
        let (asked, begin) = (world.now(), Instant::now());
        let body = self.get(path).await?;
        Ok((body, asked, begin.elapsed().as_secs_f64() * 1e3))
    }
}

/// The pods of one Deployment, by its label.
pub(crate) fn of_deployment(deployment: usize) -> String {
    let namespace = world::namespace(deployment);
    format!(
        "/apis/metrics.k8s.io/v1/namespaces/{namespace}/pods?labelSelector=app%3Dapplication-{deployment:04}"
    )
}

/// A Deployment by chance.
pub(crate) fn any_deployment(world: &World, nth: u64) -> usize {
    usize::try_from(mixed(nth, 15)).unwrap() % (world.pods() / REPLICAS)
}

/// Lists the pods of one Deployment, judged; how long that took, milliseconds.
pub(crate) async fn list_deployment(
    reader: &mut Reader,
    client: &mut Client,
    deployment: usize,
) -> Result<f64, Fault> {
    let (body, asked, time) = client.timed(&reader.world, &of_deployment(deployment)).await?;
    reader.pods(asked, &body, deployment * REPLICAS..(deployment + 1) * REPLICAS, true);
    Ok(time)
}

/// So many autoscalers.
pub(crate) async fn autoscalers(world: Arc<World>, target: Target, seen: Arc<Mutex<Seen>>, many: usize) {
    let (mut reader, mut client) = (Reader::new(&world, &seen), Client::new(&target));
    let mut timer = interval(AUTOSCALE / u32::try_from(many.max(1)).unwrap());
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for nth in 0.. {
        timer.tick().await;
        match list_deployment(&mut reader, &mut client, any_deployment(&world, nth)).await {
            Ok(time) => seen.lock().unwrap().selected.push(time),
            Err(fault) => reader.failed(&fault),
        }
    }
}

/// One list of everything, judged.
pub(crate) async fn list_all(reader: &mut Reader, client: &mut Client) -> Result<Tally, Fault> {
    let (body, asked, time) = client.timed(&reader.world, PODS).await?;
    reader.seen.lock().unwrap().full.push(time);
    let all = reader.world.pods();
    Ok(reader.pods(asked, &body, 0..all, false))
}

/// One list of all nodes, judged.
pub(crate) async fn list_nodes(reader: &mut Reader, client: &mut Client) -> Result<Tally, Fault> {
    let (body, asked, time) = client.timed(&reader.world, NODES).await?;
    reader.seen.lock().unwrap().all_nodes.push(time);
    Ok(reader.nodes(asked, &body))
}

/// Lists all nodes, and everything at a pace of its own.
pub(crate) async fn everything(world: Arc<World>, target: Target, seen: Arc<Mutex<Seen>>, every: Duration) {
    let (mut reader, mut client) = (Reader::new(&world, &seen), Client::new(&target));
    let mut due = Instant::now() + every;
    loop {
        sleep(NODES_EVERY).await;
        let mut outcome = list_nodes(&mut reader, &mut client).await;
        if due <= Instant::now() && outcome.is_ok() {
            due += every;
            outcome = list_all(&mut reader, &mut client).await;
        }
        if let Err(fault) = outcome {
            reader.failed(&fault);
        }
    }
}
