//! The Service in front of the aggregators: kubelets' probes decide who is an endpoint, and the aggregation layer
//! sends each request to the next endpoint.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    apiserver::{ApiServer, dial::Target},
    parts::is_ready,
    program::wait_until,
};

/// How often each aggregator is probed.
const PERIOD: Duration = Duration::from_millis(250);

/// One that fails so many probes in a row is no endpoint any more, as kubelets have it.
const FAILURES: u32 = 3;

/// One aggregator.
#[derive(Debug)]
struct Endpoint {
    admin: SocketAddr,
    target: Target,
    is_ready: bool,
}

type Endpoints = Arc<Mutex<Vec<Endpoint>>>;

/// The running Service. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Service {
    endpoints: Endpoints,
    stop: Arc<AtomicBool>,
    probers: Vec<JoinHandle<()>>,
}

impl Service {
    /// Probes these aggregators from now on; none is an endpoint before it is ready.
    pub(crate) fn start(api: &Arc<ApiServer>, replicas: Vec<(SocketAddr, Target)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = replicas.len();
        let endpoints =
            replicas.into_iter().map(|(admin, target)| Endpoint { admin, target, is_ready: false });
        let endpoints: Endpoints = Arc::new(Mutex::new(endpoints.collect()));
        let probers = (0..count).map(|index| {
            let (api, endpoints, stop) = (Arc::clone(api), Arc::clone(&endpoints), Arc::clone(&stop));
            thread::spawn(move || {
                let mut failures = 0;
                while !stop.load(Ordering::Relaxed) {
                    let admin = endpoints.lock().unwrap()[index].admin;
                    failures = if is_ready(admin) { 0 } else { failures + 1 };
                    if failures == 0 || failures >= FAILURES {
                        set(&api, &endpoints, index, failures == 0);
                    }
                    thread::sleep(PERIOD);
                }
            })
        });
        let probers = probers.collect();
        Self { endpoints, stop, probers }
    }

    /// From now on another aggregator is in the place of one that is no endpoint.
    pub(crate) fn replace(&self, index: usize, admin: SocketAddr, target: Target) {
        let mut endpoints = self.endpoints.lock().unwrap();
        assert!(!endpoints[index].is_ready, "it is an endpoint");
        endpoints[index] = Endpoint { admin, target, is_ready: false };
    }

    /// Waits until an aggregator is an endpoint, or is none.
    pub(crate) fn wait_for(&self, index: usize, is_endpoint: bool) {
        wait_until(&format!("endpoint {index}: {is_endpoint}"), Duration::from_secs(30), || {
            let is = self.endpoints.lock().unwrap()[index].is_ready;
            (is == is_endpoint).then_some(()).ok_or_else(|| "not yet".to_owned())
        });
    }
}

fn set(api: &ApiServer, endpoints: &Endpoints, index: usize, is_ready: bool) {
    let mut endpoints = endpoints.lock().unwrap();
    if std::mem::replace(&mut endpoints[index].is_ready, is_ready) != is_ready {
        let ready = endpoints.iter().filter(|endpoint| endpoint.is_ready);
        api.register_all(ready.map(|endpoint| endpoint.target.clone()).collect());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for prober in self.probers.drain(..) {
            drop(prober.join());
        }
    }
}
