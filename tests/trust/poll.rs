//! Clients that make a new connection for each question and count what becomes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio::{
    runtime::Runtime,
    time::{interval, timeout},
};

use crate::apiserver::{
    SERVICE,
    dial::{Fault, Target},
    pki::Identity,
};
use crate::program::wait_until;

/// A handshake and an answer within this time, or it failed. Cores may be busy; a certificate shown in time is still valid
/// for a third of its life.
const ANSWER: Duration = Duration::from_secs(20);

/// A handshake takes ten milliseconds without optimization, and other tests may leave each thread a tenth of a core.
const THREADS: usize = 4;

/// Whom to ask at this moment, trusting what at this moment.
pub(crate) type Aim = Arc<dyn Fn(usize) -> Target + Send + Sync>;

/// What a poller counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) begun: usize,
    ended: usize,
    pub(crate) handshakes: usize,
    pub(crate) answers: usize,
    /// Why something failed, with how often.
    pub(crate) failures: BTreeMap<String, usize>,
    /// Certificates that were shown.
    pub(crate) certificates: BTreeSet<Vec<u8>>,
    /// Who had signed them.
    pub(crate) issuers: BTreeSet<Vec<u8>>,
    /// Answers of one server with times before those of an answer that was complete when the question was asked, and
    /// answers that lacked a pod.
    pub(crate) backwards: usize,
    pub(crate) incomplete: usize,
    pub(crate) slowest: Duration,
    newest: BTreeMap<SocketAddr, String>,
}

/// What is asked on each connection.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) identity: Option<Identity>,
    /// Pods that the answer has to have.
    pub(crate) pods: usize,
    /// Whether one address is one server: two may be a tick apart.
    pub(crate) is_one_server: bool,
}

/// Asks until it is stopped.
#[derive(Debug)]
pub(crate) struct Poller {
    name: &'static str,
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    runtime: Option<Runtime>,
}

impl Poller {
    /// Begins. Without a question it ends each connection after the handshake.
    pub(crate) fn start(name: &'static str, per_second: u32, aim: Aim, question: Option<Question>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
        let (tally, stop) = (Arc::<Mutex<Tally>>::default(), Arc::<AtomicBool>::default());
        let (shared, stopped, question) = (Arc::clone(&tally), Arc::clone(&stop), Arc::new(question));
        runtime.spawn(async move {
            let mut paces = interval(Duration::from_secs(1) / per_second);
            for count in 0.. {
                paces.tick().await;
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (aim, tally, question) = (Arc::clone(&aim), Arc::clone(&shared), Arc::clone(&question));
                tokio::spawn(async move {
                    // As late as a client that is about to connect.
                    let target = aim(count);
                    let begun = std::time::Instant::now();
                    tally.lock().unwrap().begun += 1;
                    let asked = timeout(ANSWER, ask(&target, (*question).as_ref(), &tally)).await;
                    if let Err(fault) = asked.unwrap_or_else(|_| Err("no answer in time".into())) {
                        let text = format!("{}: {fault}", target.address);
                        *tally.lock().unwrap().failures.entry(text).or_default() += 1;
                    }
                    let mut tally = tally.lock().unwrap();
                    tally.ended += 1;
                    tally.slowest = tally.slowest.max(begun.elapsed());
                });
            }
        });
        Self { name, tally, stop, runtime: Some(runtime) }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Ends it, and says what it counted.
    pub(crate) fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        // What is under way is still counted.
        let tally = wait_until("all questions end", ANSWER * 2, || {
            let tally = self.tally();
            let left = tally.begun - tally.ended;
            if left == 0 { Ok(tally) } else { Err(format!("{left} are left")) }
        });
        eprintln!(
            "{}: {} connections, {} handshakes, {} answers, {} certificates by {} authorities; failed {:?}, backwards {}, incomplete {}, \
             slowest {:?}",
            self.name,
            tally.begun,
            tally.handshakes,
            tally.answers,
            tally.certificates.len(),
            tally.issuers.len(),
            tally.failures,
            tally.backwards,
            tally.incomplete,
            tally.slowest,
        );
        tally
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn ask(target: &Target, question: Option<&Question>, tally: &Mutex<Tally>) -> Result<(), Fault> {
    let identity = question.and_then(|question| question.identity.as_ref());
    let protocol: &[u8] = if question.is_some() { b"http/1.1" } else { b"h2" };
    let stream = target.connect(target.tls(identity, protocol)).await?;
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    {
        let mut tally = tally.lock().unwrap();
        tally.handshakes += 1;
        tally.issuers.extend(issuer_of(&certificate));
        tally.certificates.insert(certificate);
    }
    let Some(question) = question else { return Ok(()) };
    let before = tally.lock().unwrap().newest.get(&target.address).cloned().unwrap_or_default();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder()
        .uri(&question.path)
        .header("host", SERVICE)
        .header("connection", "close")
        .body(Full::new(Bytes::new()))?;
    for (name, value) in &question.headers {
        request.headers_mut().append(name, value.clone());
    }
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    drop(driver);
    if head.status != http::StatusCode::OK {
        return Err(format!("{}: {}", head.status, String::from_utf8_lossy(&body)).into());
    }
    tally.lock().unwrap().answered(target.address, &before, question, &serde_json::from_slice(&body)?);
    Ok(())
}

/// Asks once.
pub(crate) async fn once(target: &Target, question: &Question) -> Result<Tally, Fault> {
    let tally = Mutex::default();
    ask(target, Some(question), &tally).await?;
    Ok(tally.into_inner().unwrap())
}

impl Tally {
    fn answered(&mut self, address: SocketAddr, before: &str, question: &Question, list: &Value) {
        self.answers += 1;
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.incomplete += usize::from(items.len() != question.pods);
        let Some(oldest) = items.iter().filter_map(|pod| pod["timestamp"].as_str()).min() else { return };
        self.backwards += usize::from(question.is_one_server && oldest < before);
        let newest = self.newest.entry(address).or_default();
        if oldest > newest.as_str() {
            oldest.clone_into(newest);
        }
    }
}

/// The authority of one of our certificates.
pub(crate) fn issuer_of(certificate: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"kubevitals-ca-";
    let mut words = certificate.windows(NAME.len() + 8);
    words.find(|window| window.starts_with(NAME)).map(<[u8]>::to_vec)
}
