//! What was installed is as it should be: trusted without exceptions, readable by who may view, healthy by its own check.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        authorization::v1::LocalSubjectAccessReview,
        core::v1::{Node, Pod, ServiceAccount},
        rbac::v1::RoleBinding,
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::{
    kubectl::kubectl,
    measured,
    metrics::VERSIONS,
    pods::{is_ready, node_of},
    stage::{Stage, on_stage},
};

/// What agents and aggregators are called.
pub(crate) const AGENT: &str = "kubevitals-agent";
pub(crate) const AGGREGATOR: &str = "kubevitals-aggregator";

impl Stage {
    /// The aggregators' Deployment.
    pub(crate) fn aggregators(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.settings.installed_in)
    }

    /// The agents' workload.
    pub(crate) fn agents(&self) -> Api<DaemonSet> {
        Api::namespaced(self.client.clone(), &self.settings.installed_in)
    }

    /// Pods of the installation that are ready, `agent` or `aggregator`.
    pub(crate) async fn ready(&self, component: &str) -> Vec<Pod> {
        let labels = format!("app.kubernetes.io/name=kubevitals,app.kubernetes.io/component={component}");
        let pods = self.installed_pods().list(&ListParams::default().labels(&labels)).await;
        pods.expect("pods of the installation can be listed").items.into_iter().filter(is_ready).collect()
    }

    /// Names of the nodes on which an agent is ready.
    pub(crate) async fn nodes_with_agents(&self) -> BTreeSet<String> {
        self.ready("agent").await.iter().map(node_of).collect()
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn both_api_services_are_available_and_verified_by_an_authority() {
    on_stage("apiservices", async |stage| {
        let services: Api<APIService> = Api::all(stage.client.clone());
        for version in VERSIONS {
            let service = services.get(&format!("{version}.metrics.k8s.io")).await.unwrap();
            let spec = service.spec.unwrap();
            let conditions = service.status.unwrap_or_default().conditions.unwrap_or_default();
            let available = conditions.iter().find(|condition| condition.type_ == "Available").unwrap();
            let bundle = spec.ca_bundle.map_or(0, |bundle| bundle.0.len());
            measured!("{version}: available {} with {bundle} bytes of authorities", available.status);
            assert_eq!(available.status, "True", "{available:?}");
            assert!(bundle > 0, "no caBundle");
            assert_ne!(spec.insecure_skip_tls_verify, Some(true));
        }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn every_replica_and_an_agent_on_every_schedulable_node_are_ready() {
    on_stage("ready", async |stage| {
        let wanted = stage.aggregators().get(AGGREGATOR).await.unwrap().spec.unwrap().replicas.unwrap_or(1);
        let aggregators = stage.ready("aggregator").await.len();
        let scheduled = stage.agents().get(AGENT).await.unwrap().status.unwrap().desired_number_scheduled;
        let agents = stage.ready("agent").await.len();
        let nodes: Api<Node> = Api::all(stage.client.clone());
        let nodes = nodes.list(&ListParams::default()).await.unwrap().items.len();
        measured!(
            "{aggregators} of {wanted} aggregators, {agents} of {scheduled} agents ready, {nodes} nodes"
        );
        assert_eq!(i32::try_from(aggregators), Ok(wanted));
        assert_eq!(i32::try_from(agents), Ok(scheduled));
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn whoever_may_view_a_namespace_may_read_its_metrics_and_nobody_else() {
    on_stage("view", async |stage| {
        let create = PostParams::default();
        let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &stage.namespace);
        let account = serde_json::from_value(json!({"metadata": {"name": "viewer"}})).unwrap();
        accounts.create(&create, &account).await.unwrap();
        let mut allowed = Vec::new();
        for bound in [false, true] {
            if bound {
                bind_view(&stage).await;
            }
            allowed.push(may_list_pods(&stage).await);
        }
        measured!("before the binding {}, after it {}", allowed[0], allowed[1]);
        assert_eq!(allowed, [false, true]);
    });
}

/// Binds the role `view` in the test's namespace, and waits until kube-apiserver knows.
async fn bind_view(stage: &Stage) {
    let bindings: Api<RoleBinding> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let binding = json!({
        "metadata": {"name": "viewer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "viewer", "namespace": stage.namespace}],
    });
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    crate::wait::wait_for("the binding counts", std::time::Duration::from_secs(10), async || {
        if may_list(stage, "", "pods").await { Ok(()) } else { Err("pods are still forbidden".to_owned()) }
    })
    .await;
}

async fn may_list_pods(stage: &Stage) -> bool {
    may_list(stage, "metrics.k8s.io", "pods").await
}

/// Whether the service account `viewer` may list a resource in the test's namespace.
async fn may_list(stage: &Stage, group: &str, resource: &str) -> bool {
    let reviews: Api<LocalSubjectAccessReview> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let review = json!({"metadata": {"namespace": stage.namespace}, "spec": {
        "user": format!("system:serviceaccount:{}:viewer", stage.namespace),
        "resourceAttributes":
            {"namespace": stage.namespace, "verb": "list", "group": group, "resource": resource},
    }});
    let review = serde_json::from_value(review).unwrap();
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn the_aggregators_own_check_finds_nothing() {
    on_stage("check", async |stage| {
        let deployment = format!("deployment/{AGGREGATOR}");
        let program = format!("/{AGGREGATOR}");
        let arguments =
            ["exec", "--namespace", &stage.settings.installed_in, &deployment, "--", &program, "check"];
        let checked = kubectl(&stage, &arguments).await.unwrap();
        for line in checked.lines() {
            measured!("{line}");
        }
    });
}
