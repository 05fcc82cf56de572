//! The way of a person's command to a cluster, for one run: no files are followed.

use std::path::Path;

use kube::{Client, Config, config::KubeConfigOptions};

use super::{
    ClusterError,
    client::{build, load},
};

/// A way to a cluster.
pub struct Reached {
    /// Asks it.
    pub client: Client,
    /// Its address.
    pub url: String,
    /// Whether this is a pod of it.
    pub is_inside: bool,
}

impl std::fmt::Debug for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reached").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A client for a person's questions: by `kubeconfig`, as a pod, or else as kubectl would. It tries once.
pub async fn client_of_person(kubeconfig: Option<&Path>) -> Result<Reached, ClusterError> {
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let mut config = match kubeconfig {
        None if !in_pod => Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| {
            ClusterError::Kubeconfig { path: "kubeconfig".into(), reason: Box::new(error) }
        })?,
        _ => load(kubeconfig).await?,
    };
    config.default_retry = false;
    let (url, is_inside) = (config.cluster_url.to_string(), in_pod && kubeconfig.is_none());
    Ok(Reached { client: build(config)?, url, is_inside })
}
