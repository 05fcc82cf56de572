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

/// Each endpoint, and whether it is ready.
type Endpoints = Arc<Mutex<Vec<(Target, bool)>>>;

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
        let (admins, targets): (Vec<_>, Vec<_>) = replicas.into_iter().unzip();
        let endpoints = targets.into_iter().map(|target| (target, false)).collect();
        let endpoints: Endpoints = Arc::new(Mutex::new(endpoints));
        let probers = admins.into_iter().enumerate().map(|(index, admin)| {
            let (api, endpoints, stop) = (Arc::clone(api), Arc::clone(&endpoints), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    set(&api, &endpoints, index, is_ready(admin));
                    thread::sleep(PERIOD);
                }
            })
        });
        let probers = probers.collect();
        Self { stop, probers, endpoints }
    }

    /// Waits until an aggregator is an endpoint, or is none.
    pub(crate) fn wait_for(&self, index: usize, is_endpoint: bool) {
        wait_until(&format!("endpoint {index}: {is_endpoint}"), Duration::from_secs(30), || {
            let is = self.endpoints.lock().unwrap()[index].1;
            (is == is_endpoint).then_some(()).ok_or_else(|| "not yet".to_owned())
        });
    }
}

fn set(api: &ApiServer, endpoints: &Endpoints, index: usize, is_ready: bool) {
    let mut endpoints = endpoints.lock().unwrap();
    if std::mem::replace(&mut endpoints[index].1, is_ready) != is_ready {
        let ready = endpoints.iter().filter(|(_, is_ready)| *is_ready);
        api.register_all(ready.map(|(target, _)| target.clone()).collect());
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
