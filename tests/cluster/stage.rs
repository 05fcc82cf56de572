//! What a test runs on: a client of the cluster, and a namespace that is removed whatever becomes of the test.

use std::{env, panic::resume_unwind, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::KubeConfigOptions,
};
use serde_json::json;
use tokio::{
    task::{LocalSet, spawn_local},
    time::timeout,
};

use crate::wait::{now, wait_for};

/// Longest a test may take: two scale decisions of an autoscaler are by far the slowest.
const PATIENCE: Duration = Duration::from_secs(600);

/// What `tests/cluster/run` and people can set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Namespace of the installation.
    pub(crate) installed_in: String,
    /// An image with a shell and cat.
    pub(crate) image: String,
    /// Which kubectl.
    pub(crate) kubectl: String,
}

/// What a test runs on.
#[derive(Clone)]
pub(crate) struct Stage {
    /// Of the cluster that `KUBECONFIG` names.
    pub(crate) client: Client,
    /// The test's own.
    pub(crate) namespace: String,
    pub(crate) settings: Settings,
}

impl Settings {
    fn of_environment() -> Self {
        let or = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
        Self {
            installed_in: or("KUBEVITALS_CLUSTER_NAMESPACE", "kubevitals"),
            image: or("KUBEVITALS_CLUSTER_IMAGE", "registry.k8s.io/e2e-test-images/busybox:1.29-4"),
            kubectl: or("KUBEVITALS_CLUSTER_KUBECTL", "kubectl"),
        }
    }
}

/// A client for `KUBECONFIG`. Without it nothing is guessed: these tests restart and delete things.
async fn client() -> Client {
    assert!(env::var_os("KUBECONFIG").is_some(), "KUBECONFIG must say which cluster to test");
    let config = Config::from_kubeconfig(&KubeConfigOptions::default()).await.expect("KUBECONFIG is usable");
    Client::try_from(config).expect("KUBECONFIG makes a client")
}

/// Pods are refused until a new namespace has its service account.
async fn has_default_account(client: &Client, namespace: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    wait_for("the namespace has a service account", Duration::from_secs(60), async || {
        accounts.get("default").await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// Runs a test in a namespace of its own, and removes that in the end.
pub(crate) fn on_stage<F>(name: &str, test: impl FnOnce(Arc<Stage>) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = LocalSet::new().block_on(&runtime, async {
        let client = client().await;
        let namespace = format!("kubevitals-test-{name}-{}", now().as_millisecond() % 1_000_000);
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let labels = json!({"kubevitals.io/test": "cluster"});
        let object = json!({"metadata": {"name": namespace, "labels": labels}});
        let object = serde_json::from_value(object).expect("a namespace");
        namespaces.create(&PostParams::default(), &object).await.expect("a namespace can be created");
        let stage =
            Arc::new(Stage { client, namespace: namespace.clone(), settings: Settings::of_environment() });
        // A task of its own, so that its panic is an outcome.
        let test = async move {
            has_default_account(&stage.client, &stage.namespace).await;
            test(Arc::clone(&stage)).await;
        };
        let outcome = spawn_local(timeout(PATIENCE, test)).await;
        let removed = namespaces.delete(&namespace, &DeleteParams::background()).await;
        (outcome, removed)
    });
    match outcome {
        (Err(failed), _) => resume_unwind(failed.into_panic()),
        (Ok(Err(_)), _) => panic!("{name} took more than {PATIENCE:?}"),
        (Ok(Ok(())), removed) => drop(removed.expect("the namespace can be removed")),
    }
}

/// Prints a measured thing of a test.
#[macro_export]
macro_rules! measured {
    ($($what:tt)*) => { eprintln!("    measured: {}", format_args!($($what)*)) };
}
