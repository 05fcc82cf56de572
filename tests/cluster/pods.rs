//! Pods of tests: what they run, and waiting for them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    Api,
    api::{DeleteParams, LogParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    stage::Stage,
    wait::{seconds, wait_for},
};

/// Pulling an image may be part of it.
const START: Duration = Duration::from_secs(180);

/// A shell that burns all the CPU it is given.
pub(crate) const BURN: &str = "while :; do :; done";

/// A shell that does nothing and heeds no signal for long.
pub(crate) const IDLE: &str = "while :; do sleep 1; done";

/// A container that runs a shell script. Its CPU limit makes an endless loop use exactly so many millicores, however
/// fast the machine is.
pub(crate) fn container(stage: &Stage, name: &str, script: &str, millicores: Option<u32>) -> Value {
    let mut limits = json!({"memory": "256Mi"});
    let mut requests = json!({"cpu": "10m", "memory": "16Mi"});
    if let Some(millicores) = millicores {
        limits["cpu"] = json!(format!("{millicores}m"));
        requests["cpu"] = json!(format!("{millicores}m"));
    }
    json!({
        "name": name,
        "image": stage.settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "resources": {"limits": limits, "requests": requests},
    })
}

/// The specification of a pod. A shell in a loop ends at SIGKILL only, so that comes soon.
pub(crate) fn spec(containers: &[Value]) -> Value {
    json!({"containers": containers, "terminationGracePeriodSeconds": 1, "enableServiceLinks": false,
        "automountServiceAccountToken": false})
}

impl Stage {
    /// The pods of the test.
    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The pods of the installation.
    pub(crate) fn installed_pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.settings.installed_in)
    }

    /// Makes a pod and waits until all its containers run.
    pub(crate) async fn run(&self, name: &str, spec: Value) -> Pod {
        let pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("a pod can be created");
        self.running(name).await
    }

    /// Waits until all containers of a pod run.
    pub(crate) async fn running(&self, name: &str) -> Pod {
        wait_for(&format!("pod {name} runs"), START, async || {
            let pod = self.pods().get(name).await.map_err(|error| error.to_string())?;
            if is_ready(&pod) { Ok(pod) } else { Err(format!("its status is {:?}", pod.status)) }
        })
        .await
    }

    /// Deletes a pod of the test; it has ended when this returns.
    pub(crate) async fn end(&self, name: &str) {
        drop(self.pods().delete(name, &DeleteParams::default()).await.expect("a pod can be deleted"));
        wait_for(&format!("pod {name} is gone"), Duration::from_secs(60), async || {
            match self.pods().get_opt(name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// What a container has printed, each line with the time at which the node took it.
    pub(crate) async fn log(&self, pod: &str, container: &str) -> String {
        let container = Some(container.to_owned());
        let parameters = LogParams { container, timestamps: true, ..LogParams::default() };
        self.pods().logs(pod, &parameters).await.expect("a log can be read")
    }
}

/// Whether a pod is ready and not about to end.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = |name: &str, value: &str| name == "Ready" && value == "True";
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|one| ready(&one.type_, &one.status)))
}

/// When the last of a pod's ordinary containers started, as seconds since 1970; whole seconds, as Kubernetes keeps it.
pub(crate) fn started(pod: &Pod) -> f64 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let start = |status: &ContainerStatus| {
        Some(seconds(status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0))
    };
    statuses.into_iter().flatten().filter_map(start).fold(0.0, f64::max)
}

/// The node of a pod that runs.
pub(crate) fn node_of(pod: &Pod) -> String {
    let spec = pod.spec.as_ref().expect("a pod has a specification");
    spec.node_name.clone().expect("a pod that runs has a node")
}
