//! Clients that ask again and again, each at its own steady pace whatever the answers are, and keep every answer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header::ACCEPT};
use http_body_util::{BodyExt as _, Full};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    answers::{Form, Key, Question, Served},
    apiserver::{
        ApiServer, SERVICE,
        dial::{Connection, Fault, Target},
        pki::Identity,
        reviews::User,
    },
    ledger::wall,
};

/// Twenty questions a second and client.
const PACE: Duration = Duration::from_millis(50);

/// Longest an answer may take; the HPA waits longer.
const LIMIT: Duration = Duration::from_secs(5);

/// Longest that others wait for a connection that one of them opens.
const DIAL: Duration = Duration::from_secs(2);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    /// As everybody does, through the aggregation layer.
    FrontProxy,
    /// One aggregator itself, by number.
    Direct(usize),
}

/// One question and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    pub(crate) client: Client,
    pub(crate) question: Question,
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    /// Wall time of the answer, microseconds.
    pub(crate) wall: u64,
    /// What was served, or why nothing.
    pub(crate) answer: Result<Vec<Served>, String>,
}

/// What the clients share.
#[derive(Debug, Default)]
struct Shared {
    /// Objects that are asked for one by one.
    keys: Mutex<Vec<Key>>,
    seen: Mutex<Vec<Observation>>,
    /// Where the aggregators are.
    replicas: Mutex<Vec<Target>>,
}

/// Running clients. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Polling {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Polling {
    /// Starts one client at the aggregation layer and one at each aggregator, on the calling thread's host.
    pub(crate) fn start(api: &Arc<ApiServer>, replicas: &[Target]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("polling")
            .enable_all()
            .build()
            .expect("a thread can be started");
        let shared = Arc::new(Shared { replicas: Mutex::new(replicas.to_vec()), ..Shared::default() });
        let layer = Way::Layer(Arc::clone(api));
        runtime.spawn(ask_for_ever(Client::FrontProxy, Arc::new(layer), Arc::clone(&shared)));
        for index in 0..replicas.len() {
            // An administrator, so that no review is needed while the API server is away.
            let identity = api.pki.user("admin", &["system:masters"]);
            let way = Way::Direct(index, identity, tokio::sync::Mutex::default());
            runtime.spawn(ask_for_ever(Client::Direct(index), Arc::new(way), Arc::clone(&shared)));
        }
        Self { shared, runtime: Some(runtime) }
    }

    /// From now on, these are asked for one by one.
    pub(crate) fn ask_for(&self, keys: Vec<Key>) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    /// From now on an aggregator is somewhere else.
    pub(crate) fn replace(&self, index: usize, target: Target) {
        self.shared.replicas.lock().unwrap()[index] = target;
    }

    /// How many answers there are.
    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// Looks at the answers from one on.
    pub(crate) fn look<T>(&self, from: usize, look: impl FnOnce(&[Observation]) -> T) -> T {
        let seen = self.shared.seen.lock().unwrap();
        look(&seen[from.min(seen.len())..])
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// How to ask.
#[derive(Debug)]
enum Way {
    Layer(Arc<ApiServer>),
    Direct(usize, Identity, tokio::sync::Mutex<Option<Connection>>),
}

async fn ask_for_ever(client: Client, way: Arc<Way>, shared: Arc<Shared>) {
    let turn = AtomicUsize::new(0);
    let mut every = tokio::time::interval(PACE);
    loop {
        every.tick().await;
        let (question, form) = shared.question(turn.fetch_add(1, Ordering::Relaxed));
        let (way, shared) = (Arc::clone(&way), Arc::clone(&shared));
        tokio::spawn(async move {
            let asked = Instant::now();
            let answer = match timeout(LIMIT, way.ask(&question, form, &shared)).await {
                Ok(Ok(body)) => question.read(form, &body),
                Ok(Err(fault)) => Err(fault.to_string()),
                Err(_) => {
                    way.give_up().await;
                    Err("no answer in time".to_owned())
                }
            };
            let (answered, wall) = (Instant::now(), wall());
            let observation = Observation { client, question, asked, answered, wall, answer };
            shared.seen.lock().unwrap().push(observation);
        });
    }
}

impl Shared {
    /// Lists and single objects in both forms, in turn.
    fn question(&self, turn: usize) -> (Question, Form) {
        let one = || {
            let keys = self.keys.lock().unwrap();
            let key = keys.get((turn / 6).checked_rem(keys.len())?)?;
            Some(Question::One(key.clone()))
        };
        match turn % 6 {
            0 => (Question::Pods, Form::Json),
            1 => (one().unwrap_or(Question::Nodes), Form::Protobuf),
            2 => (Question::Nodes, Form::Protobuf),
            3 => (Question::Pods, Form::Protobuf),
            4 => (one().unwrap_or(Question::Pods), Form::Json),
            _ => (Question::Nodes, Form::Json),
        }
    }
}

impl Way {
    /// A connection on which nothing comes back is not used again.
    async fn give_up(&self) {
        if let Self::Direct(_, _, pooled) = self {
            *pooled.lock().await = None;
        }
    }

    async fn ask(&self, question: &Question, form: Form, shared: &Shared) -> Result<Bytes, Fault> {
        let (path, mut headers) = (question.path(form), HeaderMap::new());
        headers.insert(ACCEPT, HeaderValue::from_static(form.accept()));
        let response = match self {
            Self::Layer(api) => {
                let admin = User::new("admin", &["system:masters"]);
                api.cluster.proxy.call(&admin, Method::GET, &path, headers, Bytes::new()).await?
            }
            Self::Direct(index, identity, pooled) => {
                let target = shared.replicas.lock().unwrap()[*index].clone();
                let mut request =
                    Request::get(format!("https://{SERVICE}{path}")).body(Full::new(Bytes::new()))?;
                *request.headers_mut() = headers;
                let mut connection = connection(&target, identity, pooled).await?;
                connection.send(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        Err(format!("{}: {}", head.status, String::from_utf8_lossy(&body)).into())
    }
}

/// The open connection, or a new one.
async fn connection(
    target: &Target,
    identity: &Identity,
    pooled: &tokio::sync::Mutex<Option<Connection>>,
) -> Result<Connection, Fault> {
    let mut pooled = pooled.lock().await;
    if let Some(open) = pooled.as_ref().filter(|connection| !connection.is_closed()) {
        return Ok(open.share().expect("it is HTTP/2"));
    }
    let opened = timeout(DIAL, target.http2(Some(identity))).await.map_err(|_| "no connection in time")??;
    let shared = opened.share().expect("it is HTTP/2");
    *pooled = Some(opened);
    Ok(shared)
}
