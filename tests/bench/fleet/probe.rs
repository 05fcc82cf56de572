//! How soon and how fast: lists by label timed on a thread of their own beside a control, and how soon a batch and a new
//! pod are seen.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    apiserver::dial::{Fault, Target},
    judge::{self, PodItem, Right, Wrong},
    kernel::mixed,
    reader::{self, Client},
    seen::{Reader, Seen},
    world::{self, Life, World},
};

/// A probed list and its control, one after the other, so often.
const PACE: Duration = Duration::from_millis(20);

/// An answer that takes no look at the store: what the connection, the runtime and the machine take.
const CONTROL: &str = "/healthz";

/// Between two looks how soon something is seen: each asks many times, which is load that no cluster has.
const REST: Duration = Duration::from_secs(2);

/// Between two questions of such a look. What is found out is at most so much later than it was.
const LOOK: Duration = Duration::from_millis(5);

/// A number that is not served by then is missed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Times of lists by label and of their controls, milliseconds, in pairs.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    pub(crate) lists: Vec<f64>,
    pub(crate) controls: Vec<f64>,
}

/// Lists by label as one client on this machine sees them, from the request to the last byte: on a connection that is
/// kept, on a thread that does nothing else, so that neither other readers nor the agents' work is in the figure. What
/// is left of the machine's other work is in the control, too: it takes the same way at nearly the same moment.
pub(crate) fn latency(world: &Arc<World>, target: &Target, seen: &Arc<Mutex<Seen>>, seconds: u64) -> Latency {
    let (mut reader, mut client) = (Reader::new(world, seen), Client::new(target));
    let probing = thread::Builder::new().name("fleet-probe".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut found, end) = (Latency::default(), Instant::now() + Duration::from_secs(seconds));
            let mut timer = interval(PACE);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for nth in 0.. {
                timer.tick().await;
                if end <= Instant::now() {
                    break;
                }
                let deployment = reader::any_deployment(&reader.world, nth);
                match pair(&mut reader, &mut client, deployment).await {
                    Ok((list, control)) => {
                        found.lists.push(list);
                        found.controls.push(control);
                    }
                    Err(fault) => reader.failed(&fault),
                }
            }
            found
        })
    });
    probing.unwrap().join().unwrap()
}

async fn pair(reader: &mut Reader, client: &mut Client, deployment: usize) -> Result<(f64, f64), Fault> {
    let (_, _, control) = client.timed(&reader.world, CONTROL).await?;
    Ok((reader::list_deployment(reader, client, deployment).await?, control))
}

/// Looks how soon a node's batch is served, one node after the other.
pub(crate) async fn batches(world: Arc<World>, target: Target, seen: Arc<Mutex<Seen>>) {
    let mut client = Client::new(&target);
    for nth in 0.. {
        let index = usize::try_from(mixed(nth, 16)).unwrap() % world.nodes.len();
        let last = world.nodes[index].lock().unwrap().newest().map_or(0, |(tick, _)| tick);
        let (tick, sent) = handed(&world, index, last + 1).await;
        let life = {
            let node = world.nodes[index].lock().unwrap();
            node.lives.iter().find(|life| life.end == u64::MAX && life.birth + 20 < tick).cloned()
        };
        let Some(life) = life else { continue };
        match served(&world, &mut client, &life, tick, LOOK).await {
            Ok(Some(_)) => {
                let took = (world.now() - sent) as f64 / 1e3;
                seen.lock().unwrap().visible.push(took);
            }
            Ok(None) => {}
            Err(fault) => seen.lock().unwrap().failed.add(&format!("batches: {fault}")),
        }
        sleep(REST).await;
    }
}

/// Looks how soon new pods have numbers, one after the other.
pub(crate) async fn newcomers(
    world: Arc<World>,
    target: Target,
    seen: Arc<Mutex<Seen>>,
    newest: Arc<Mutex<Option<Life>>>,
) {
    let mut client = Client::new(&target);
    loop {
        let Some(life) = newest.lock().unwrap().take() else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let index = life.slot % world.nodes.len();
        let first = {
            let node = world.nodes[index].lock().unwrap();
            let first = judge::first_tick(node.clock, &life);
            if node.newest().is_none_or(|(tick, _)| tick >= first) {
                // It came while nobody looked.
                continue;
            }
            first
        };
        // Before that nothing can be there: asking would be load that no cluster has.
        handed(&world, index, first).await;
        match served(&world, &mut client, &life, first, LOOK).await {
            Ok(Some(_)) => {
                let took = (world.now() - life.made) as f64 / 1e3;
                seen.lock().unwrap().first.push(took);
            }
            Ok(None) => {}
            Err(fault) => seen.lock().unwrap().failed.add(&format!("newcomers: {fault}")),
        }
        sleep(REST).await;
    }
}

/// Waits until a tick of a node was handed over; which one it is then, and the wall time of it.
async fn handed(world: &World, index: usize, tick: u64) -> (u64, u64) {
    loop {
        if let Some(handed) = world.nodes[index].lock().unwrap().newest().filter(|handed| handed.0 >= tick) {
            return handed;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Asks for a pod until an answer has a tick; `None` when it was replaced meanwhile.
async fn served(
    world: &World,
    client: &mut Client,
    life: &Life,
    tick: u64,
    pace: Duration,
) -> Result<Option<Right>, Fault> {
    let pod = world::pod(life, world.nodes.len());
    let path = format!("/apis/metrics.k8s.io/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let asked = world.now();
        if let Ok(body) = client.get(&path).await {
            let item: PodItem<'_> = serde_json::from_slice(&body)?;
            match judge::pod(world, asked, &item) {
                Ok(right) if right.generation == life.generation && right.tick >= tick => {
                    return Ok(Some(right));
                }
                Err(Wrong::Number(fault)) => return Err(fault.into()),
                _ => {}
            }
        }
        let replaced =
            world.lives(life.slot).1.first().is_none_or(|newest| newest.generation > life.generation);
        if replaced {
            return Ok(None);
        }
        sleep(pace).await;
    }
    Err(format!("{path}: tick {tick} is not served").into())
}
