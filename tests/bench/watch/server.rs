//! The aggregator's query service over a full store whose nodes tick, one after the other, through each second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use kubevitals::sample::{BootTime, CpuTime, Sample, SeriesId, WorkingSet};
use kubevitals_aggregator::{
    api::health::Health,
    auth::{Authenticator, access::Authorizer, token::StaticTokens},
    explain::Explainer,
    https::Server,
    metrics::Registered,
    query::{
        self, Query,
        access::Access,
        watch::{hub::Watches, seats},
    },
    tls::{Authority, Serving},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{client::TOKEN, world};

/// Groups of nodes that tick together.
const GROUPS: usize = 20;

/// What is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) pods: usize,
    /// Pods whose numbers change in a tick.
    pub(crate) changing: usize,
    pub(crate) tick: Duration,
}

/// A running server; ends when dropped.
pub(crate) struct Running {
    pub(crate) port: u16,
    pub(crate) authority: String,
    stop: CancellationToken,
    is_over: Arc<AtomicBool>,
    ticking: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(ticking) = self.ticking.take() {
            ticking.join().unwrap();
        }
    }
}

/// Begins to tick and to serve.
pub(crate) async fn start(scene: Scene) -> Running {
    let world = world::World::new(scene.pods);
    let view = world.view.clone();
    (1..=20).for_each(|sequence| (0..world.nodes).for_each(|node| tick(&world, node, sequence, scene)));
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&is_over);
    let ticking = std::thread::spawn(move || {
        let begun = Instant::now();
        let groups = u32::try_from(GROUPS).unwrap();
        let mut due = begun;
        for sequence in 21.. {
            for group in 0..GROUPS {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                (group..world.nodes).step_by(GROUPS).for_each(|node| tick(&world, node, sequence, scene));
                due += scene.tick / groups;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    });
    let Registered { metrics, .. } = Registered::default();
    let stop = CancellationToken::new();
    let authority = Authority::generate().unwrap();
    let server = Server {
        tls: Serving::new(authority.issue(&[]).unwrap()).grpc_config().unwrap(),
        limits: query::server::limits(),
        failed_handshakes: metrics.query.failed_handshakes.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let authenticator = Authenticator::Tokens(StaticTokens::new([(TOKEN, "bench")]));
    let health = Health::default();
    let query = Query {
        watches: Watches::new(view.clone(), seats::Limits::default(), metrics.watch.clone(), stop.clone()),
        explainer: Explainer { view: view.clone(), refusals: Arc::default(), health: health.clone() },
        view,
        access: Access::new(authenticator, Authorizer::Named),
        metrics: metrics.query,
    };
    tokio::spawn(query::server::serve(query, health, server, listener, stop.clone()));
    Running { port, authority: authority.ca_pem(), stop, is_over, ticking: Some(ticking) }
}

/// One tick of one node. Rates are the same to the nanosecond; some pods have other memory than in the tick before.
fn tick(world: &world::World, node: usize, sequence: u64, scene: Scene) {
    let time = sequence * u64::try_from(scene.tick.as_micros()).unwrap();
    let (all, nodes) = (scene.pods as u64, world.nodes as u64);
    let sample = |(series, pod, container): (SeriesId, usize, usize)| {
        let nth = node as u64 + pod as u64 * nodes;
        // Each tick another block of pods has its turn.
        let turns = (sequence * scene.changing as u64 + all - 1 - nth) / all;
        let memory = u32::try_from(1000 + nth % 500 + turns % 7).unwrap();
        let cpu = CpuTime(sequence * (nth + 1) * 1000 * (container as u64 + 1));
        let time = BootTime(time + u64::from(series.0));
        (series, Sample { time, cpu, working_set: WorkingSet::from_units(memory) })
    };
    let of_node = Sample { time: BootTime(time), cpu: CpuTime(0), working_set: WorkingSet::from_units(9) };
    let samples = std::iter::once((SeriesId(0), of_node)).chain(world::containers().map(sample)).collect();
    world.node_tick(node, sequence, time, samples, Instant::now());
}
