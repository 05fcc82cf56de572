//! Clients of the API server that follow their files: when the cluster's authority, a client certificate or the
//! kubeconfig itself was replaced, the next request goes by what the files say now.
//!
//! The kube crate reads a kubeconfig and its certificates once (and a pod's own authority once a minute). Here the files
//! are compared before a request when the last look is some seconds ago; a client that is in use, such as a watch's, goes
//! on until its request ends. Files that are half written or make no sense change nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use ring::digest::{SHA256, digest};
use tower::{BoxError, Service};

use super::{ClusterError, READ_TIMEOUT};

/// How old what is known of the files may be.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The authority that a pod finds beside its token.
const OWN_AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// How a client behaves, whatever the files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Lists and watches, tried again by the client.
    Watches,
    /// Single questions, tried again by who asks.
    Reviews,
}

/// A client by the kubeconfig, or as a pod; nothing is asked yet.
pub(super) async fn client(kubeconfig: Option<&Path>, used_for: Use) -> Result<Client, ClusterError> {
    let files = Files { kubeconfig: kubeconfig.map(Path::to_owned), used_for };
    // Before they are read: a change in between is a change.
    let seen = files.digest();
    let config = files.config().await?;
    let namespace = config.default_namespace.clone();
    let current = ArcSwap::from_pointee(build(config)?);
    let looked = Mutex::new(Looked { at: Instant::now(), seen });
    Ok(Client::new(Following(Arc::new(Followed { files, current, looked })), namespace))
}

pub(super) fn build(config: Config) -> Result<Client, ClusterError> {
    Client::try_from(config).map_err(|error| ClusterError::Client(Box::new(error)))
}

/// Where the configuration is.
#[derive(Debug)]
struct Files {
    kubeconfig: Option<PathBuf>,
    used_for: Use,
}

impl Files {
    async fn config(&self) -> Result<Config, ClusterError> {
        let mut config = load(self.kubeconfig.as_deref()).await?;
        config.default_retry &= self.used_for == Use::Watches;
        Ok(config)
    }

    /// A digest of everything that is read once. Tokens are not: the kube crate reads their files again itself.
    fn digest(&self) -> [u8; 32] {
        let mut content = Vec::new();
        for path in self.paths() {
            // A file that is missing for a moment is a change, and another when it is back.
            let text = fs::read(&path).unwrap_or_default();
            content.extend(digest(&SHA256, &text).as_ref());
        }
        let mut all = [0; 32];
        all.copy_from_slice(digest(&SHA256, &content).as_ref());
        all
    }

    fn paths(&self) -> Vec<PathBuf> {
        let Some(kubeconfig) = &self.kubeconfig else {
            return vec![PathBuf::from(OWN_AUTHORITY)];
        };
        let mut paths = vec![kubeconfig.clone()];
        let Ok(parsed) = Kubeconfig::read_from(kubeconfig) else {
            return paths;
        };
        let clusters = parsed.clusters.iter().filter_map(|named| named.cluster.as_ref());
        paths
            .extend(clusters.filter_map(|cluster| cluster.certificate_authority.as_ref()).map(PathBuf::from));
        for user in parsed.auth_infos.iter().filter_map(|named| named.auth_info.as_ref()) {
            paths.extend(
                [&user.client_certificate, &user.client_key].into_iter().flatten().map(PathBuf::from),
            );
        }
        paths
    }
}

/// How to reach the API server, and as whom: from a kubeconfig file, or as a pod of the cluster.
pub(crate) async fn load(kubeconfig: Option<&Path>) -> Result<Config, ClusterError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path)
            .await
            .map_err(|reason| ClusterError::Kubeconfig { path: path.to_owned(), reason: Box::new(reason) })?,
        None => Config::incluster().map_err(|error| ClusterError::NotInside(Box::new(error)))?,
    };
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    Ok(config)
}

async fn from_file(path: &Path) -> Result<Config, KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}

struct Followed {
    files: Files,
    current: ArcSwap<Client>,
    looked: Mutex<Looked>,
}

struct Looked {
    at: Instant,
    seen: [u8; 32],
}

impl Followed {
    /// The client by the files as they are, or were a moment ago.
    async fn current(&self) -> Client {
        if let Some(seen) = self.news() {
            match self.rebuilt().await {
                Ok(client) => {
                    tracing::info!("the files of the client of the api server changed; taken over");
                    self.current.store(Arc::new(client));
                    self.looked.lock().unwrap_or_else(PoisonError::into_inner).seen = seen;
                }
                // Looked at again with the next request, as the digest is still the former one.
                Err(error) => {
                    tracing::warn!(%error, "the files of the client of the api server changed and cannot be used");
                }
            }
        }
        Client::clone(&self.current.load())
    }

    /// The files' digest, when it is time to look and they changed.
    fn news(&self) -> Option<[u8; 32]> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() < LOOK_EVERY {
            return None;
        }
        looked.at = Instant::now();
        Some(self.files.digest()).filter(|seen| *seen != looked.seen)
    }

    async fn rebuilt(&self) -> Result<Client, ClusterError> {
        build(self.files.config().await?)
    }
}

/// Sends each request with the client of the moment.
#[derive(Clone)]
struct Following(Arc<Followed>);

type Sending = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

impl Service<Request<Body>> for Following {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Sending;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Sending {
        let followed = Arc::clone(&self.0);
        Box::pin(async move { Ok(followed.current().await.send(request).await?) })
    }
}
