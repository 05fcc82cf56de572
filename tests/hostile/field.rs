//! What every attacker has: where the server is, certificates right and wrong, tokens, and a number that makes each
//! attempt different.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout;

use crate::{
    apiserver::{
        SERVICE,
        dial::{Connection, Target},
        pki::{Identity, Pki, Wanted},
    },
    tally::{Caller, Outcome, Tally},
};

/// How long an attacker waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Paths worth an attack.
pub(crate) const PATHS: [&str; 9] = [
    "/apis/metrics.k8s.io/v1/nodes",
    "/apis/metrics.k8s.io/v1/pods",
    "/apis/metrics.k8s.io/v1beta1/pods?labelSelector=app%3Dweb",
    "/apis/metrics.k8s.io/v1beta1/nodes/node-7",
    "/apis/metrics.k8s.io/v1/namespaces/team-3/pods",
    "/apis",
    "/openapi/v2",
    "/version",
    "/metrics",
];

/// The scene of all attacks.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) target: Target,
    pub(crate) tally: Arc<Tally>,
    pub(crate) certificates: Certificates,
    next: AtomicU64,
}

/// Certificates of whom nothing should be believed, and a good one that has no rights.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// With what is wrong about it.
    pub(crate) wrong: Vec<(&'static str, Identity)>,
}

impl Certificates {
    pub(crate) fn of(pki: &Pki) -> Self {
        let proxy = Wanted::client("front-proxy-client");
        let server = Wanted::server("front-proxy-client", &[]);
        let masters = Wanted { organizations: &["system:masters"], ..Wanted::client("root") };
        let wrong = vec![
            ("front proxy of a stranger's CA", pki.stranger.issue(&proxy)),
            ("front proxy of the client CA", pki.client.issue(&proxy)),
            ("front proxy with another name", pki.front_proxy.issue(&Wanted::client("somebody"))),
            ("front proxy, expired", pki.front_proxy.issue(&proxy.clone().expired())),
            ("front proxy, for servers only", pki.front_proxy.issue(&server)),
            ("masters of a stranger's CA", pki.stranger.issue(&masters)),
            ("masters of the front proxy's CA", pki.front_proxy.issue(&masters)),
            ("masters, expired", pki.client.issue(&masters.clone().expired())),
            (
                "masters, for servers only",
                pki.client.issue(&Wanted { usage: server.usage.clone(), ..masters }),
            ),
            ("somebody without rights", pki.user("joe", &["nobodies"])),
        ];
        Self { wrong }
    }
}

/// One request of an attacker.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Attempt {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }

    /// None for what no client library would send.
    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let uri = format!("https://{SERVICE}{}", self.path);
        let mut request = Request::builder().method(self.method.clone()).uri(uri);
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request = request.header(name, HeaderValue::from_bytes(value).ok()?);
        }
        request.body(Full::new(Bytes::new())).ok()
    }
}

impl Field {
    pub(crate) fn new(target: Target, certificates: Certificates) -> Self {
        Self { target, certificates, tally: Arc::default(), next: AtomicU64::new(0) }
    }

    /// A number that no other attempt gets, all bits mixed (splitmix64), so that every kind of attack gets its share;
    /// the same sequence in every run.
    pub(crate) fn number(&self) -> u64 {
        let mut mixed = self.next.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `choices`.
    pub(crate) fn one<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.number() % choices.len() as u64).expect("an index")]
    }

    /// One of these words.
    pub(crate) fn word(&self, words: &[&'static str]) -> &'static str {
        self.one::<&str>(words)
    }

    /// Sends it on a connection of its own, HTTP/2 or HTTP/1.1 by turns, reads the answer whole, and notes what came.
    pub(crate) async fn send(
        &self,
        attack: &'static str,
        caller: Caller,
        identity: Option<&Identity>,
        attempt: &Attempt,
    ) {
        let is_http2 = self.number().is_multiple_of(2);
        let sent = async {
            let connection =
                if is_http2 { self.target.http2(identity).await } else { self.target.http1(identity).await };
            match connection {
                Ok(mut connection) => exchange(&mut connection, attempt).await,
                Err(_) => Outcome::CutOff,
            }
        };
        let outcome = timeout(PATIENCE, sent).await.unwrap_or(Outcome::Silent);
        let what = format!("{} {} {:?}", attempt.method, attempt.path, attempt.headers.first());
        self.tally.note(attack, caller, outcome, &what);
    }

    /// Notes an attack that a connection of its own saw to.
    pub(crate) fn note(&self, attack: &'static str, caller: Caller, outcome: Outcome) {
        self.tally.note(attack, caller, outcome, "");
    }
}

/// One request and its whole answer.
pub(crate) async fn exchange(connection: &mut Connection, attempt: &Attempt) -> Outcome {
    let Some(request) = attempt.request() else {
        panic!("an attack that cannot be sent is none: {attempt:?}")
    };
    match connection.send(request).await {
        Ok(response) => {
            let status = response.status().as_u16();
            drop(response.into_body().collect().await);
            Outcome::Answered(status)
        }
        Err(_) => Outcome::CutOff,
    }
}
