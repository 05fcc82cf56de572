//! The whole chain of a test: stand-in, agents, and the built aggregator between them; and who asks it.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    apiserver::{
        ApiServer, SERVICE,
        dial::{Connection, Fault, Target},
        front_proxy::identify,
        make::{Pod, node},
        pki::Identity,
        reviews::User,
    },
    fleet::{Fleet, Ingest},
    program::{AGENT_ACCOUNT, Aggregator},
};

/// Longest that anything may take here, on cores that may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The tick of the agents: as short as a rate can be made of.
const TICK: Duration = Duration::from_millis(300);

/// Whom the agents' tokens are for.
pub(crate) const AGENT_AUDIENCE: &str = "kubevitals";

/// The node that every rig has.
pub(crate) const NODE: &str = "n1";

/// Both versions' paths.
pub(crate) const BASES: [&str; 2] = ["/apis/metrics.k8s.io/v1", "/apis/metrics.k8s.io/v1beta1"];

/// The whole chain.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) aggregator: Aggregator,
    pub(crate) fleet: Fleet,
    pub(crate) api: ApiServer,
    pub(crate) files: TempDir,
}

impl Rig {
    /// With one node that nobody measures yet, and no pods.
    pub(crate) fn start() -> Self {
        Self::with(ApiServer::start(), &[])
    }

    /// Before this stand-in, with these flags beside the usual ones.
    pub(crate) fn with(api: ApiServer, flags: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        api.cluster.nodes.put(node(NODE, &[]));
        let aggregator = aggregator(&api, &files, "first", flags);
        let rig = Self { aggregator, fleet: Fleet::new(TICK), api, files };
        rig.api.register(rig.address(), &rig.aggregator.api.authority());
        rig
    }

    /// Another replica; nothing leads to it by itself.
    pub(crate) fn replica(&self, name: &str) -> Aggregator {
        self.replica_with(name, &[])
    }

    /// The same with these flags beside the usual ones.
    pub(crate) fn replica_with(&self, name: &str, flags: &[&str]) -> Aggregator {
        aggregator(&self.api, &self.files, name, flags)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.aggregator)
    }

    /// Where agents stream to.
    pub(crate) fn ingest(&self) -> Ingest {
        ingest(&self.aggregator)
    }

    /// The API, spoken to directly.
    pub(crate) fn target(&self) -> Target {
        target(&self.aggregator)
    }

    /// Starts the agent of a node, with a token as a cluster gives it.
    pub(crate) fn agent(&self, node: &str, aggregators: &[Ingest]) {
        let token = format!("agent-of-{node}");
        self.api.cluster.reviews.issue(&token, agent_user(node));
        self.fleet.agent(node, &token, aggregators);
    }

    /// Runs a pod: the API server knows it, and its node's agent measures it.
    pub(crate) fn run(&self, pod: &Pod, millicores: u64) {
        self.fleet.run(pod, millicores);
        self.api.cluster.pods.put(pod.object());
    }

    /// Asks the aggregator directly, on a connection of its own.
    pub(crate) async fn get(&self, who: &Who, path: &str) -> Answer {
        get(&self.target(), who, path).await
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn until(&self, who: &Who, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.get(who, path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} in {DEADLINE:?}: at last {answer:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the aggregator has logged a text so many times.
    pub(crate) async fn logged(&self, text: &str, times: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.aggregator.program.log().matches(text).count() < times {
            assert!(Instant::now() < deadline, "{text:?} is not logged {times} times in {DEADLINE:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whoever a front proxy says it is.
    pub(crate) fn proxied(&self, user: &User) -> Who {
        let mut who = Who { identity: Some(self.api.pki.proxy()), ..Who::default() };
        identify(&mut who.headers, user);
        who
    }

    /// The front proxy speaking for an administrator.
    pub(crate) fn admin(&self) -> Who {
        self.proxied(&User::new("admin", &["system:masters"]))
    }

    /// The holder of a new token, who may read metrics.
    pub(crate) fn reader(&self) -> Who {
        self.api.cluster.reviews.issue("reader's", User::new("reader", &["readers"]));
        Who::bearer("reader's")
    }
}

fn aggregator(api: &ApiServer, files: &TempDir, name: &str, flags: &[&str]) -> Aggregator {
    let directory = files.path().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let kubeconfig = api.kubeconfig_of_aggregator(&directory);
    let name = format!("--server-name={SERVICE}");
    let flags = [&[name.as_str()], flags].concat();
    Aggregator::of_cluster(&directory, &kubeconfig, &flags)
}

fn address(aggregator: &Aggregator) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], aggregator.api.port))
}

pub(crate) fn ingest(aggregator: &Aggregator) -> Ingest {
    let address = SocketAddr::from(([127, 0, 0, 1], aggregator.ingest_port));
    Ingest { address, ca_pem: aggregator.api.authority() }
}

pub(crate) fn target(aggregator: &Aggregator) -> Target {
    let ca_pem = aggregator.api.authority();
    Target { address: address(aggregator), name: SERVICE.to_owned(), ca_pem }
}

/// Who an agent's token belongs to.
pub(crate) fn agent_user(node: &str) -> User {
    User::new(AGENT_ACCOUNT, &["system:serviceaccounts"])
        .extra("authentication.kubernetes.io/node-name", node)
        .audience(AGENT_AUDIENCE)
}

/// What a caller shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Who {
    pub(crate) identity: Option<Identity>,
    pub(crate) headers: HeaderMap,
}

impl Who {
    pub(crate) fn nobody() -> Self {
        Self::default()
    }

    pub(crate) fn bearer(token: &str) -> Self {
        Self::nobody().header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn certificate(identity: Identity) -> Self {
        Self { identity: Some(identity), ..Self::default() }
    }

    /// With one more line of a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn items(&self) -> Vec<Value> {
        self.json()["items"].as_array().unwrap_or_else(|| panic!("no list: {self:?}")).clone()
    }

    /// Status, reason and message of a `Status`.
    pub(crate) fn failure(&self) -> (u16, String, String) {
        let document = self.json();
        assert_eq!(
            (&document["kind"], &document["code"]),
            (&"Status".into(), &self.status.into()),
            "{self:?}"
        );
        let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
        (self.status, text("reason"), text("message"))
    }
}

/// Asks on a connection of its own.
pub(crate) async fn get(target: &Target, who: &Who, path: &str) -> Answer {
    let begun = Instant::now();
    let connection = target.http2(who.identity.as_ref()).await;
    let mut connection = connection.unwrap_or_else(|fault| panic!("no connection: {fault}"));
    let answer = ask(&mut connection, who, path).await;
    let mut answer = answer.unwrap_or_else(|fault| panic!("no answer to {path}: {fault:?}"));
    answer.took = begun.elapsed();
    answer
}

/// Asks on an open connection.
pub(crate) async fn ask(connection: &mut Connection, who: &Who, path: &str) -> Result<Answer, Fault> {
    let begun = Instant::now();
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(format!("https://{SERVICE}{path}"))
        .body(Full::new(Bytes::new()))?;
    *request.headers_mut() = who.headers.clone();
    let answered = async {
        let (head, body) = connection.send(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, Fault>((head, body))
    };
    let (head, body) = timeout(DEADLINE, answered).await.expect("an answer in time")?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, took: begun.elapsed() })
}
