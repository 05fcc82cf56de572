//! What an honest client sees meanwhile: how old the numbers are, and how large the server is.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::{
    api::forms::seconds,
    apiserver::{ApiServer, Cluster, reviews::User},
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// One look at one namespace, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// From the oldest timestamp to the moment the question was sent: what the server is behind, at least. Timestamps
    /// are whole seconds, so up to one second of it is rounding.
    pub(crate) age: f64,
    /// From the question to the whole answer.
    pub(crate) took: f64,
}

/// A poller on a thread of its own, through the front proxy, as a controller of the control plane.
#[derive(Debug)]
pub(crate) struct Witness {
    looks: Arc<Mutex<Vec<Look>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Witness {
    pub(crate) fn start(api: &ApiServer) -> Self {
        let (looks, stop) = (Arc::<Mutex<Vec<Look>>>::default(), Arc::new(AtomicBool::new(false)));
        let (seen, stopped, cluster) = (Arc::clone(&looks), Arc::clone(&stop), Arc::clone(&api.cluster));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let look = runtime.block_on(look(&cluster))?;
                seen.lock().unwrap().push(look);
                thread::sleep(PAUSE);
            }
            Ok(())
        });
        Self { looks, stop, thread: Some(thread) }
    }

    /// The looks since the last call.
    pub(crate) fn take(&self) -> Vec<Look> {
        std::mem::take(&mut *self.looks.lock().unwrap())
    }

    /// Ends it; its error if it ever got no answer.
    pub(crate) fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("it ends once").join().expect("it does not panic");
        assert_eq!(ended, Ok(()), "an honest client is always answered");
    }
}

async fn look(cluster: &Cluster) -> Result<Look, String> {
    let controller = User::new("system:kube-controller-manager", &["system:masters"]);
    let path = "/apis/metrics.k8s.io/v1/namespaces/team-1/pods";
    let asked = now();
    let answer = cluster.proxy.call(&controller, Method::GET, path, HeaderMap::new(), Bytes::new());
    let (head, body) = answer.await.map_err(|error| error.to_string())?.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    let took = now() - asked;
    if head.status != 200 {
        return Err(format!("{}: {}", head.status, String::from_utf8_lossy(&body)));
    }
    let list: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let stamps = list["items"].as_array().into_iter().flatten().filter_map(|pod| pod["timestamp"].as_str());
    let oldest = Duration::from_secs(stamps.map(seconds).min().ok_or("no pod is served")?);
    Ok(Look { age: asked - oldest.as_secs_f64(), took })
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// The value that so much of all is not above; zero of none.
pub(crate) fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of a short list"
    )]
    values.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
}
