//! What the cluster serves, as documents: its own few resources and, merged in, what the registered server says.

use http::{HeaderMap, StatusCode, header::ACCEPT};
use serde_json::{Value, json};

use super::{
    Cluster,
    poll::{Release, VERSIONS},
    reply::Reply,
};

/// Plural, kind, short name and whether namespaced, of the core resources.
const CORE: [(&str, &str, &str, bool); 5] = [
    ("configmaps", "ConfigMap", "cm", true),
    ("events", "Event", "ev", true),
    ("namespaces", "Namespace", "ns", false),
    ("nodes", "Node", "no", false),
    ("pods", "Pod", "po", true),
];

/// The same of the reviews, with their group.
const REVIEWS: [(&str, &str, &str); 3] = [
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
];

pub(super) fn version() -> Reply {
    Reply::ok(
        &json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0", "gitCommit": "0", "buildDate": "",
        "gitTreeState": "clean", "goVersion": "none", "compiler": "none", "platform": "linux/amd64"}),
    )
}

/// The aggregated form that a client prefers, when it asks for one.
fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    let wants = |version: &str| {
        accept.split(',').any(|clause| {
            let mut parameters = clause.split(';').map(str::trim);
            parameters.clone().any(|parameter| parameter == "as=APIGroupDiscoveryList")
                && parameters.any(|parameter| parameter == version)
        })
    };
    if wants("v=v2") { Some("v2") } else { wants("v=v2beta1").then_some("v2beta1") }
}

fn group_discovery(version: &'static str, items: &[Value]) -> Reply {
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let document = json!({"kind": "APIGroupDiscoveryList", "metadata": {}, "items": items,
        "apiVersion": format!("apidiscovery.k8s.io/{version}")});
    Reply::bytes(content_type, document.to_string())
}

fn discovered(resource: &str, group: &str, kind: &str, short: &[&str], namespaced: bool) -> Value {
    let verbs = if group.is_empty() { json!(["get", "list", "watch"]) } else { json!(["create"]) };
    let singular = kind.to_lowercase();
    let kind = json!({"group": group, "version": "v1", "kind": kind});
    json!({"resource": resource, "responseKind": kind, "singularResource": singular, "verbs": verbs,
        "shortNames": short,
        "scope": if namespaced { "Namespaced" } else { "Cluster" }})
}

fn discovered_group(name: &str, versions: &[Value]) -> Value {
    json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions})
}

/// `/api`.
pub(super) fn core(headers: &HeaderMap) -> Reply {
    let Some(version) = aggregated(headers) else {
        return Reply::ok(
            &json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        );
    };
    let resources: Vec<Value> = CORE
        .iter()
        .map(|(resource, kind, short, namespaced)| discovered(resource, "", kind, &[short], *namespaced))
        .collect();
    let versions = [json!({"version": "v1", "resources": resources, "freshness": "Current"})];
    group_discovery(version, &[discovered_group("", &versions)])
}

/// `/api/v1`.
pub(super) fn core_v1() -> Reply {
    let resources = CORE.iter().map(|(resource, kind, short, namespaced)| {
        json!({"name": resource, "kind": kind, "singularName": kind.to_lowercase(), "namespaced": namespaced,
            "shortNames": [short], "verbs": ["get", "list", "watch"]})
    });
    resource_list("v1", &resources.collect::<Vec<_>>())
}

fn resource_list(group_version: &str, resources: &[Value]) -> Reply {
    Reply::ok(&json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": resources}))
}

/// `/apis/<group>/v1` of a group of reviews.
pub(super) fn reviews_v1(group: &str) -> Option<Reply> {
    let resources: Vec<Value> = REVIEWS
        .iter()
        .filter(|(of, ..)| *of == group)
        .map(|(_, resource, kind)| {
            json!({"name": resource, "kind": kind, "singularName": "", "namespaced": false, "verbs": ["create"]})
        })
        .collect();
    (!resources.is_empty()).then(|| resource_list(&format!("{group}/v1"), &resources))
}

fn group(name: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

/// `/apis/<group>`.
pub(super) fn one_group(name: &str) -> Option<Reply> {
    let mut document = match name {
        "metrics.k8s.io" => group(name, &VERSIONS),
        _ => group(REVIEWS.iter().find(|(group, ..)| *group == name)?.0, &["v1"]),
    };
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    Some(Reply::ok(&document))
}

impl Cluster {
    /// `/apis`. The registered server is asked anew each time, where a real one asks once a minute.
    pub(super) async fn groups(&self, headers: &HeaderMap) -> Reply {
        let own = ["authentication.k8s.io", "authorization.k8s.io"];
        let Some(version) = aggregated(headers) else {
            let mut groups: Vec<Value> = own.iter().map(|name| group(name, &["v1"])).collect();
            groups.push(group("metrics.k8s.io", &VERSIONS));
            return Reply::json(
                StatusCode::OK,
                &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
            );
        };
        self.poll_discovery(Release::Both).await;
        let of_reviews = own.iter().map(|name| {
            let resources: Vec<Value> = REVIEWS
                .iter()
                .filter(|(group, ..)| group == name)
                .map(|(group, resource, kind)| discovered(resource, group, kind, &[], false))
                .collect();
            let version = json!({"version": "v1", "resources": resources, "freshness": "Current"});
            discovered_group(name, &[version])
        });
        let items: Vec<Value> = of_reviews.chain([self.metrics_group()]).collect();
        group_discovery(version, &items)
    }

    /// The versions that have an `APIService`, each as the registered server describes it, or empty.
    fn metrics_group(&self) -> Value {
        let polled = self.polled_group();
        let described = |name: &str| {
            let versions = polled.as_ref()?["versions"].as_array()?;
            versions.iter().find(|version| version["version"] == name).cloned()
        };
        let versions: Vec<Value> = VERSIONS
            .iter()
            .map(|name| {
                let mut version =
                    described(name).unwrap_or_else(|| json!({"version": name, "resources": []}));
                let freshness = if self.proxy.is_available(name) { "Current" } else { "Stale" };
                version["freshness"] = json!(freshness);
                version
            })
            .collect();
        discovered_group("metrics.k8s.io", &versions)
    }
}
