//! Every object is what Kubernetes knows: by the types of k8s-openapi, by the JSON schemas of three versions, and, for the
//! kinds of others, by the fields that we use.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{objects::name, render};

/// What an object is after a way through its type; a field that the type lacks is gone then.
fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "camelCase")]
struct Other<S> {
    api_version: String,
    kind: String,
    metadata: Value,
    spec: S,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ServiceMonitor {
    selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodMonitor {
    selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
    pod_metrics_endpoints: Vec<PodEndpoint>,
}

/// Unlike a `ServiceMonitor`'s, it names no file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PodEndpoint {
    port: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<String>,
    interval: String,
    scrape_timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    honor_labels: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    honor_timestamps: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track_timestamps_staleness: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<Authorization>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_config: Option<Unverified>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    relabelings: Vec<Relabeling>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Authorization {
    credentials: k8s_openapi::api::core::v1::SecretKeySelector,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Unverified {
    insecure_skip_verify: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Relabeling {
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    source_labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Endpoint {
    port: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<String>,
    interval: String,
    scrape_timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bearer_token_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_config: Option<TlsConfig>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TlsConfig {
    server_name: String,
    ca: BTreeMap<String, k8s_openapi::api::core::v1::ConfigMapKeySelector>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PrometheusRule {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Alert>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    #[serde(rename = "alert")]
    name: String,
    expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum Issuer {
    SelfSigned {},
    #[serde(rename_all = "camelCase")]
    Ca {
        secret_name: String,
    },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Certificate {
    secret_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    common_name: Option<String>,
    #[serde(rename = "isCA", skip_serializing_if = "Option::is_none")]
    is_ca: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usages: Option<Vec<String>>,
    duration: String,
    private_key: PrivateKey,
    issuer_ref: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PrivateKey {
    algorithm: String,
    size: u32,
    rotation_policy: String,
}

fn typed(object: &Value) -> Result<Value, String> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    match (api_version, object["kind"].as_str().unwrap_or_default()) {
        ("v1", "Namespace") => through::<Namespace>(object),
        ("v1", "ServiceAccount") => through::<ServiceAccount>(object),
        ("v1", "Secret") => through::<Secret>(object),
        ("v1", "Service") => through::<Service>(object),
        ("v1", "ConfigMap") => through::<ConfigMap>(object),
        ("v1", "ResourceQuota") => through::<ResourceQuota>(object),
        ("apps/v1", "Deployment") => through::<Deployment>(object),
        ("apps/v1", "DaemonSet") => through::<DaemonSet>(object),
        ("policy/v1", "PodDisruptionBudget") => through::<PodDisruptionBudget>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => through::<NetworkPolicy>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => through::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => through::<ClusterRoleBinding>(object),
        ("rbac.authorization.k8s.io/v1", "Role") => through::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => through::<RoleBinding>(object),
        ("apiregistration.k8s.io/v1", "APIService") => through::<APIService>(object),
        ("monitoring.coreos.com/v1", "ServiceMonitor") => through::<Other<ServiceMonitor>>(object),
        ("monitoring.coreos.com/v1", "PodMonitor") => through::<Other<PodMonitor>>(object),
        ("monitoring.coreos.com/v1", "PrometheusRule") => through::<Other<PrometheusRule>>(object),
        ("cert-manager.io/v1", "Issuer") => through::<Other<Issuer>>(object),
        ("cert-manager.io/v1", "Certificate") => through::<Other<Certificate>>(object),
        other => Err(format!("no type for {other:?}")),
    }
}

#[test]
fn no_object_has_a_field_that_its_type_lacks() {
    if render::skipped() {
        return;
    }
    for objects in render::every()
        .into_iter()
        .chain(["chart/monitoring", "chart/monitoring/exporter"].map(render::kustomize))
    {
        assert!(!objects.all.is_empty(), "{}", objects.name);
        for object in &objects.all {
            match typed(object) {
                Ok(typed) => assert_eq!(typed, *object, "{}: {}", objects.name, name(object)),
                Err(error) => panic!("{}: {} {}: {error}", objects.name, object["kind"], name(object)),
            }
        }
    }
}

#[test]
fn an_unknown_field_would_be_noticed() {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "automountServiceAccountTokens": false
    });
    assert_ne!(typed(&object).unwrap(), object);
}

/// Faults and unknown kinds, a line each.
fn judge(version: &str, objects: &[Value]) -> String {
    let mut child = Command::new("python3")
        .arg(render::repository("tests/deploy/validate.py"))
        .arg(render::prepared(&format!("deploy/schemas/{version}")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let input = serde_json::to_vec(objects).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 1), "{:?}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_object_passes_the_schemas_of_three_kubernetes_versions() {
    if render::skipped() {
        return;
    }
    let every = render::every().into_iter().flat_map(|objects| objects.all);
    // Most choices change a few objects.
    let every: BTreeMap<String, Value> = every.map(|object| (object.to_string(), object)).collect();
    let every: Vec<Value> = every.into_values().collect();
    for version in ["1.30.0", "1.34.0", "1.37.0"] {
        let said = judge(version, &every);
        let of_others = |line: &&str| {
            line.starts_with("unknown: monitoring.coreos.com/")
                || line.starts_with("unknown: cert-manager.io/")
        };
        let faults: Vec<&str> = said.lines().filter(|line| !of_others(line)).collect();
        assert!(faults.is_empty(), "Kubernetes {version}:\n{}", faults.join("\n"));
        eprintln!("Kubernetes {version}: {} objects, {} of other groups", every.len(), said.lines().count());
    }
}

#[test]
fn the_schemas_refuse_what_is_wrong() {
    if render::skipped() {
        return;
    }
    let mut objects = render::kustomize("overlays/ha").all;
    let deployment = objects.iter_mut().find(|object| object["kind"] == "Deployment").unwrap();
    deployment["spec"]["replicas"] = "two".into();
    deployment["spec"]["template"]["spec"]["priorityClass"] = "high".into();
    let said = judge("1.34.0", &objects);
    assert_eq!(said.lines().count(), 2, "{said}");
}
