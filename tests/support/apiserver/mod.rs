//! A stand-in for kube-apiserver with its aggregation layer, over real TLS, inside the test.
//!
//! It keeps objects of the kinds in [`kinds`] with versions, conflicts and watches, answers reviews by rules that a test
//! sets, polls and proxies to a registered server as kube-apiserver does, and goes wrong on command. It has its own
//! thread, so a test may block. It leaves out tables, protobuf but for one review, validation, and what controllers do.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

pub(crate) mod access;
mod core_v1;
pub(crate) mod dial;
mod discovery;
pub(crate) mod faults;
pub(crate) mod front_proxy;
pub(crate) mod kinds;
mod listen;
pub(crate) mod make;
pub(crate) mod objects;
mod openapi;
pub(crate) mod pki;
pub(crate) mod poll;
mod protobuf;
mod reply;
pub(crate) mod reviews;
mod route;
mod selector;
mod write;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::json;
use tokio::runtime::Runtime;

use self::{
    access::{Access, Grant},
    dial::Target,
    faults::Faults,
    front_proxy::FrontProxy,
    listen::Door,
    objects::Collection,
    pki::{Pki, Wanted},
    poll::Memory,
    reviews::{Reviews, User},
};

/// The token of the aggregator's service account, and the account.
pub(crate) const AGGREGATOR_TOKEN: &str = "aggregator-of-kubevitals";
pub(crate) const AGGREGATOR: &str = "system:serviceaccount:kube-system:kubevitals-aggregator";

/// The service that the registered server's certificate is made out to.
pub(crate) const SERVICE: &str = "kubevitals-aggregator.kube-system.svc";

/// Everything the stand-in knows.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) pods: Arc<Collection>,
    pub(crate) nodes: Arc<Collection>,
    pub(crate) config_maps: Arc<Collection>,
    /// Every collection, by group and plural.
    collections: BTreeMap<(&'static str, &'static str), Arc<Collection>>,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// Whether no request is answered.
    hangs: AtomicBool,
    grants: Mutex<Vec<Grant>>,
    accesses: Mutex<Vec<Access>>,
    pub(crate) reviews: Reviews,
    pub(crate) proxy: FrontProxy,
    polled: Memory,
    seen: Mutex<Vec<Seen>>,
    me: Weak<Self>,
}

/// One request that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) user: String,
    pub(crate) method: String,
    pub(crate) path_and_query: String,
    pub(crate) status: u16,
}

impl Cluster {
    fn me(&self) -> Arc<Self> {
        self.me.upgrade().expect("it is used through its Arc")
    }

    /// Every request of a user so far, in the order of their answers.
    pub(crate) fn seen(&self, user: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.user == user).cloned().collect()
    }

    /// The objects of a resource, by group (empty for core) and plural.
    pub(crate) fn objects(&self, group: &str, plural: &str) -> &Collection {
        self.collection(group, plural).unwrap_or_else(|| panic!("no {plural}.{group} in kinds.rs"))
    }

    fn collection(&self, group: &str, plural: &str) -> Option<&Collection> {
        let mut all = self.collections.values();
        all.find(|it| it.of.group == group && it.of.plural == plural).map(AsRef::as_ref)
    }

    /// From now on somebody may do more than [the usual](route).
    pub(crate) fn grant(&self, grant: Grant) {
        self.grants.lock().unwrap().push(grant);
    }

    /// Takes all grants back.
    pub(crate) fn revoke_grants(&self) {
        self.grants.lock().unwrap().clear();
    }

    /// What a user asked for so far, in order, each as authorization sees it; reviews and what has no resource are not
    /// among them.
    pub(crate) fn accesses(&self, user: &str) -> Vec<Access> {
        let accesses = self.accesses.lock().unwrap();
        accesses.iter().filter(|access| access.user == user).cloned().collect()
    }
}

/// A running stand-in. Dropping it ends all its connections.
#[derive(Debug)]
pub(crate) struct ApiServer {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) pki: Pki,
    pub(crate) address: SocketAddr,
    door: Arc<Door>,
    runtime: Option<Runtime>,
}

impl ApiServer {
    /// Starts one with an empty cluster, on a free port of loopback.
    pub(crate) fn start() -> Self {
        Self::start_on(IpAddr::from(Ipv4Addr::LOCALHOST))
    }

    /// The same on an address of the network that the calling thread is in.
    pub(crate) fn start_on(ip: IpAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("stand-in")
            .enable_all()
            .build()
            .expect("threads can be started");
        let pki = Pki::generate();
        let versions = Arc::new(AtomicU64::new(1));
        let collections: BTreeMap<_, _> = kinds::KINDS
            .into_iter()
            .map(|kind| ((kind.group, kind.plural), Collection::new(kind, Arc::clone(&versions))))
            .collect();
        let core = |plural| Arc::clone(&collections[&("", plural)]);
        let services = Arc::clone(&collections[&("apiregistration.k8s.io", "apiservices")]);
        let cluster = Arc::new_cyclic(|me| Cluster {
            pods: core("pods"),
            nodes: core("nodes"),
            config_maps: core("configmaps"),
            collections: collections.clone(),
            faults: Faults::default(),
            hangs: AtomicBool::new(false),
            grants: Mutex::default(),
            accesses: Mutex::default(),
            reviews: Reviews::default(),
            proxy: FrontProxy::new(pki.proxy(), services),
            polled: Memory::default(),
            seen: Mutex::default(),
            me: Weak::clone(me),
        });
        cluster.reviews.issue(AGGREGATOR_TOKEN, User::new(AGGREGATOR, &["system:authenticated"]));
        cluster.config_maps.put(make::authentication_config(&pki));
        let own = ip.to_string();
        let names = ["kubernetes.default.svc", "localhost", own.as_str()];
        let identity = pki.serving.issue(&Wanted::server("stand-in", &names));
        let door = Arc::new(Door::default());
        let (served, shown) = (Arc::clone(&cluster), Arc::clone(&door));
        let serving = async move { listen::serve(served, shown, &identity, ip).await };
        let address = wait_on(&runtime, serving);
        Self { cluster, pki, address, door, runtime: Some(runtime) }
    }

    /// Blocks until the stand-in's own threads have done this, also where the test itself is asynchronous.
    pub(crate) fn wait<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        wait_on(self.runtime.as_ref().expect("it runs until it is dropped"), task)
    }

    /// Closes all connections at this moment; new ones are welcome.
    pub(crate) fn disconnect(&self) {
        self.door.disconnect();
    }

    /// From now on, a new authority vouches for its certificate; returns it, as PEM.
    pub(crate) fn renew_authority(&self) -> String {
        let authority = pki::Authority::new("stand-in-serving-ca-renewed");
        let names = ["kubernetes.default.svc", "localhost", "127.0.0.1"];
        self.door.show(&authority.issue(&Wanted::server("stand-in", &names)));
        authority.pem()
    }

    /// Whether connections are refused, as if it were gone.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.door.set_away(is_away);
    }

    /// Whether connections are taken and requests never answered; open watches go on.
    pub(crate) fn set_hanging(&self, hangs: bool) {
        self.cluster.hangs.store(hangs, Ordering::Relaxed);
    }

    /// From now on, the aggregation layer leads to this server, whose certificate has to be made out to
    /// [`SERVICE`].
    pub(crate) fn register(&self, address: SocketAddr, ca_pem: &str) {
        self.register_all(vec![Target { address, name: SERVICE.to_owned(), ca_pem: ca_pem.to_owned() }]);
    }

    /// From now on, the aggregation layer leads to these endpoints in turn.
    pub(crate) fn register_all(&self, endpoints: Vec<Target>) {
        self.cluster.proxy.register(endpoints);
    }

    /// From now on, the aggregation layer leads to these endpoints of [`SERVICE`], each new connection to the next one,
    /// and trusts them as the `APIService` objects say.
    pub(crate) fn register_endpoints(&self, endpoints: &[SocketAddr]) {
        self.cluster.proxy.follow_services(endpoints);
    }

    /// Where clients find it.
    pub(crate) fn target(&self) -> Target {
        Target { address: self.address, name: "localhost".to_owned(), ca_pem: self.pki.serving.pem() }
    }

    /// A kubeconfig for the aggregator.
    pub(crate) fn kubeconfig_of_aggregator(&self, directory: &Path) -> PathBuf {
        self.kubeconfig(directory, AGGREGATOR_TOKEN)
    }

    /// A kubeconfig for the holder of a token, which [`Reviews::issue`] makes known.
    pub(crate) fn kubeconfig(&self, directory: &Path, token: &str) -> PathBuf {
        let ca = directory.join("stand-in-ca.pem");
        fs::write(&ca, self.pki.serving.pem()).expect("the temporary directory is writable");
        let host = if self.address.ip().is_loopback() {
            "localhost".to_owned()
        } else {
            self.address.ip().to_string()
        };
        let cluster =
            json!({"server": format!("https://{host}:{}", self.address.port()), "certificate-authority": ca});
        let document = json!({"apiVersion": "v1", "kind": "Config", "current-context": "stand-in",
            "clusters": [{"name": "stand-in", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "stand-in",
                "context": {"cluster": "stand-in", "user": "user", "namespace": "default"}}]});
        let path = directory.join(format!("kubeconfig-{token}"));
        fs::write(&path, document.to_string()).expect("the temporary directory is writable");
        path
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Waiting for tasks is not allowed where a test itself is asynchronous.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn wait_on<T: Send + 'static>(runtime: &Runtime, task: impl Future<Output = T> + Send + 'static) -> T {
    let (done, waiting) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move { drop(done.send(task.await)) });
    waiting.recv().expect("the task does not panic")
}
