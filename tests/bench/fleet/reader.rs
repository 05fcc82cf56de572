//! Who reads: autoscalers that list the pods of their application, somebody who lists everything, and a prober that sees
//! how soon a batch is served. Each number is judged.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    agent::Fleet,
    apiserver::dial::{Connection, Fault, Target},
    judge::{List, Right, judge},
    kernel::mixed,
    world::{self, REPLICAS, World},
};

/// Who may read.
pub(crate) const READER: &str = "reader";

const PODS: &str = "/apis/metrics.k8s.io/v1/pods";

/// What readers saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Numbers judged, and those that are wrong, the first of them in words.
    pub(crate) judged: u64,
    pub(crate) wrong: Vec<String>,
    pub(crate) wrong_count: u64,
    /// Pods that a list had fewer than there are.
    pub(crate) missing: u64,
    /// Age of numbers in selected lists when these were there, milliseconds.
    pub(crate) ages: Vec<f64>,
    /// Times of selected lists and of lists of everything, milliseconds.
    pub(crate) selected: Vec<f64>,
    pub(crate) full: Vec<f64>,
    /// From a batch on its connection to its numbers in an answer, milliseconds.
    pub(crate) visible: Vec<f64>,
    pub(crate) failed: Vec<String>,
}

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
}

/// The pods of one Deployment, by its label.
pub(crate) fn of_deployment(deployment: usize) -> String {
    let namespace = world::namespace(deployment);
    format!(
        "/apis/metrics.k8s.io/v1/namespaces/{namespace}/pods?labelSelector=app%3Dapplication-{deployment:04}"
    )
}

/// Judges a list; how many of its pods have a whole window.
pub(crate) fn judge_list(
    world: &World,
    body: &[u8],
    seen: &Mutex<Seen>,
    wanted: usize,
    with_ages: bool,
) -> usize {
    let now = world.now();
    let list: List<'_> = match serde_json::from_slice(body) {
        Ok(list) => list,
        Err(fault) => {
            seen.lock().unwrap().failed.push(fault.to_string());
            return 0;
        }
    };
    let verdicts: Vec<Result<Right, String>> = list.items.iter().map(|item| judge(world, item)).collect();
    let mut seen = seen.lock().unwrap();
    seen.judged += verdicts.len() as u64;
    seen.missing += wanted.saturating_sub(verdicts.len()) as u64;
    let mut whole = 0;
    for verdict in verdicts {
        match verdict {
            Ok(right) => {
                whole += usize::from(right.ticks >= 15);
                if with_ages {
                    seen.ages.push(now.saturating_sub(right.read) as f64 / 1e3);
                }
            }
            Err(fault) => {
                seen.wrong_count += 1;
                if seen.wrong.len() < 5 {
                    seen.wrong.push(fault);
                }
            }
        }
    }
    whole
}

/// So many autoscalers, each of which lists its pods every 15 seconds.
pub(crate) async fn autoscalers(world: Arc<World>, target: Target, seen: Arc<Mutex<Seen>>, many: usize) {
    let deployments = world.pods() / REPLICAS;
    let mut client = Client::new(&target);
    let mut timer = tokio::time::interval(Duration::from_secs(15) / u32::try_from(many.max(1)).unwrap());
    for nth in 0.. {
        timer.tick().await;
        let deployment = usize::try_from(mixed(nth, 15)).unwrap() % deployments;
        let begin = Instant::now();
        match client.get(&of_deployment(deployment)).await {
            Ok(body) => {
                seen.lock().unwrap().selected.push(begin.elapsed().as_secs_f64() * 1e3);
                judge_list(&world, &body, &seen, REPLICAS, true);
            }
            Err(fault) => seen.lock().unwrap().failed.push(fault.to_string()),
        }
    }
}

/// One list of everything, judged.
pub(crate) async fn list_all(world: &World, client: &mut Client, seen: &Mutex<Seen>) -> Result<usize, Fault> {
    let begin = Instant::now();
    let body = client.get(PODS).await?;
    seen.lock().unwrap().full.push(begin.elapsed().as_secs_f64() * 1e3);
    Ok(judge_list(world, &body, seen, world.pods(), false))
}

/// Lists everything at a pace.
pub(crate) async fn everything(world: Arc<World>, target: Target, seen: Arc<Mutex<Seen>>, every: Duration) {
    let mut client = Client::new(&target);
    loop {
        sleep(every).await;
        if let Err(fault) = list_all(&world, &mut client, &seen).await {
            seen.lock().unwrap().failed.push(fault.to_string());
        }
    }
}

/// Looks how soon a node's batch is served, one node after the other.
pub(crate) async fn prober(fleet: Arc<Fleet>, target: Target, seen: Arc<Mutex<Seen>>) {
    let mut client = Client::new(&target);
    for nth in 0.. {
        let index = usize::try_from(mixed(nth, 16)).unwrap() % fleet.world.nodes.len();
        let (teller, mut told) = mpsc::channel(1);
        *fleet.sent.lock().unwrap() = Some((index, teller));
        let Some((tick, sent)) = told.recv().await else { return };
        *fleet.sent.lock().unwrap() = None;
        match visible(&fleet.world, &mut client, index, tick, sent).await {
            Ok(Some(delay)) => seen.lock().unwrap().visible.push(delay.as_secs_f64() * 1e3),
            Ok(None) => {}
            Err(fault) => seen.lock().unwrap().failed.push(format!("prober: {fault}")),
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// How long after a batch was sent an answer has its numbers; `None` when the pod asked for was replaced meanwhile.
async fn visible(
    world: &World,
    client: &mut Client,
    index: usize,
    tick: u64,
    sent: Instant,
) -> Result<Option<Duration>, Fault> {
    let life = {
        let node = world.nodes[index].lock().unwrap();
        node.lives.iter().find(|life| life.end == u64::MAX && life.birth + 20 < tick).cloned()
    };
    let Some(life) = life else { return Ok(None) };
    let pod = world::pod(&life, world.nodes.len());
    let path = format!("/apis/metrics.k8s.io/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
    loop {
        let Ok(body) = client.get(&path).await else { return Ok(None) };
        match judge(world, &serde_json::from_slice(&body)?) {
            Ok(right) if right.tick >= tick => return Ok(Some(sent.elapsed())),
            Ok(_) if sent.elapsed() < Duration::from_secs(5) => sleep(Duration::from_millis(1)).await,
            Ok(_) => return Err(format!("{path}: tick {tick} is not served").into()),
            Err(_) => return Ok(None),
        }
    }
}

/// Asks for everything and reads nothing but the beginning.
pub(crate) async fn hung(target: Target) -> Result<(), Fault> {
    let mut client = Client::new(&target);
    let mut body = client.ask(PODS).await?.into_body();
    drop(body.frame().await);
    std::future::pending::<()>().await;
    drop(body);
    Ok(())
}

/// Asks for everything, and lets it pass; how long that took.
pub(crate) async fn pass(target: Target) -> Result<(Duration, usize), Fault> {
    let (mut client, begin) = (Client::new(&target), Instant::now());
    let (mut body, mut bytes) = (client.ask(PODS).await?.into_body(), 0);
    while let Some(frame) = body.frame().await {
        bytes += frame?.into_data().map_or(0, |data| data.len());
    }
    Ok((begin.elapsed(), bytes))
}
