//! The cluster as the source of names: pods and nodes are watched, and the directory follows them.
//!
//! This and [`crate::auth`] are the only places that know Kubernetes' client types. Of an object nothing is kept but its record. While
//! the API server is away the names known last stand. What agents may say about a pod is not decided here: the
//! view asks only the node a pod is bound to.

mod client;
mod follow;
mod nodes;
mod person;
mod pod;
mod pods;
mod record;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    config::{InClusterError, KubeconfigError},
    core::PartialObjectMeta,
    runtime::watcher,
};
use tokio_util::sync::CancellationToken;

use self::{
    client::{Use, client},
    follow::{Progress, follow},
    nodes::Nodes,
    pod::Pod,
    pods::Pods,
    record::{node_record, node_record_with_kubelet},
};
use crate::{directory::Directory, metrics, store::Store};

pub(crate) use self::client::load;
pub use self::{
    follow::Synced,
    person::{Reached, client_of_person},
};

/// Pods without a node have no containers, and pods that are not running have none whose load counts: the API
/// server leaves out both, and tells us of a pod that comes to an end as if it were deleted.
const RUNNING: &str = "spec.nodeName!=,status.phase=Running";

/// After so many seconds the API server ends a watch and we begin the next one where it ended. A connection that
/// died without a word is found out five seconds later, so names are never older than that.
const WATCH_SECONDS: u32 = 60;

/// A connection that stays silent for this long is given up. Longer than a watch, so it only ends lists that the
/// API server never answers.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// Why the cluster cannot be watched at all.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig file.
    #[error("{}: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<KubeconfigError>,
    },
    /// No kubeconfig, and no service account of a pod either.
    #[error("no --kubeconfig, and not inside a cluster: {0}")]
    NotInside(Box<InClusterError>),
    /// The certificates, token or proxy given for the API server.
    #[error("client of the api server: {0}")]
    Client(Box<kube::Error>),
}

/// Watches of pods and nodes that fill a directory.
pub struct Cluster {
    client: Client,
    pods: (Pods, Progress),
    nodes: (Nodes, Progress),
    /// Whether it is to be known where kubelets are.
    kubelets: bool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads how to reach the API server, from `kubeconfig` or as a pod; nothing is asked of it yet. Names go into
    /// `directory`; `store` tells until when the containers of a pod that changes were measured.
    pub async fn connect(
        kubeconfig: Option<&Path>,
        directory: Arc<Directory>,
        store: Arc<Store>,
        metrics: &metrics::Cluster,
    ) -> Result<Self, ClusterError> {
        let client = client(kubeconfig, Use::Watches).await?;
        Ok(Self::new(client, directory, store, metrics))
    }

    fn new(client: Client, directory: Arc<Directory>, store: Arc<Store>, metrics: &metrics::Cluster) -> Self {
        let (pods, nodes) = (metrics.of(metrics::Cluster::PODS), metrics.of(metrics::Cluster::NODES));
        Self {
            client,
            pods: (
                Pods::new(Arc::clone(&directory), store, pods.known.clone()),
                Progress::new(metrics::Cluster::PODS, pods),
            ),
            nodes: (
                Nodes::new(directory, nodes.known.clone()),
                Progress::new(metrics::Cluster::NODES, nodes),
            ),
            kubelets: false,
        }
    }

    /// The same, and it is learnt where each node's kubelet is. That takes whole nodes, whose status is long, on the
    /// way; what is kept of them is a few addresses.
    #[must_use]
    pub fn with_kubelets(self) -> Self {
        Self { kubelets: true, ..self }
    }

    /// Tells when pods and nodes were read for the first time.
    #[must_use]
    pub fn synced(&self) -> Synced {
        Synced::of([&self.pods.1, &self.nodes.1])
    }

    /// Follows the cluster until `shutdown`. Errors are logged and counted, never final.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { client, pods: (mut pods, pods_progress), nodes: (mut nodes, nodes_progress), kubelets } =
            self;
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        let running = config.clone().fields(RUNNING);
        let all_pods = Api::<Pod>::all(client.clone());
        let nodes = async {
            if kubelets {
                let take = |event| nodes.take(event, node_record_with_kubelet);
                follow(Api::<Node>::all(client), config, nodes_progress, take).await;
            } else {
                // Only names and labels are wanted, and a node's status is long.
                let take = |event| nodes.take(event, node_record);
                follow(Api::<PartialObjectMeta<Node>>::all(client), config, nodes_progress, take).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = follow(all_pods, running, pods_progress, |event| pods.take(event)) => {}
            () = nodes => {}
        }
    }
}

/// A client for single questions with answers that somebody waits for. It tries once and leaves it to its user to try
/// again. It follows its files.
pub async fn client_for_reviews(kubeconfig: Option<&Path>) -> Result<Client, ClusterError> {
    client(kubeconfig, Use::Reviews).await
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
