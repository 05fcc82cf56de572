//! As much of the core API as `kubectl top` and `kubectl get nodes` need where there is no Kubernetes: nodes with
//! their capacity, the namespaces, and an empty list of pods. Only `standalone` serves it.

use std::sync::Arc;

use axum::response::Response;
use serde::{Serialize, Serializer};

use crate::api::{
    call::Call,
    discovery::{
        self,
        aggregated::Groups,
        document::Document,
        messages::{Resource, Versions},
    },
    quantity::write_memory,
    reply,
    route::Objects,
    select::Field,
    source::{Labels, NodeInfo, Source},
    status::ApiError,
    time::write_rfc3339,
};

/// `/api`: the versions of the core API.
#[must_use]
pub fn versions() -> Groups {
    let plain = Versions { versions: vec!["v1".to_owned()], addresses: Vec::new() };
    Groups::new(Document::new("v1", "APIVersions", &plain), "", vec![("v1", list())])
}

/// The resources of `v1`.
#[must_use]
pub fn resources() -> Document {
    discovery::resource_list("v1", list())
}

fn list() -> Vec<Resource> {
    vec![
        discovery::resource("namespaces", "namespace", false, "Namespace"),
        discovery::resource("nodes", "node", false, "Node"),
        discovery::resource("pods", "pod", true, "Pod"),
    ]
}

/// Any list of the core API.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMeta,
    items: Vec<T>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    /// Clients expect one; it never changes, because nothing can be watched.
    resource_version: &'static str,
}

impl<T> List<T> {
    fn new(kind: &'static str, items: Vec<T>) -> Self {
        Self { kind, api_version: "v1", metadata: ListMeta { resource_version: "1" }, items }
    }
}

/// A namespace: a name and nothing else.
#[derive(Debug, Serialize)]
pub struct Namespace {
    metadata: NamespaceMeta,
}

#[derive(Debug, Serialize)]
struct NamespaceMeta {
    name: String,
}

/// The namespaces that have pods. The pods themselves are seen only by name.
#[must_use]
pub fn namespaces(source: &dyn Source) -> List<Namespace> {
    let namespace = |name: &Arc<str>| Namespace { metadata: NamespaceMeta { name: name.to_string() } };
    List::new("NamespaceList", source.namespaces().iter().map(namespace).collect())
}

/// A machine, with what `kubectl top nodes` divides by.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    kind: &'static str,
    api_version: &'static str,
    metadata: NodeMeta,
    spec: Empty,
    status: NodeStatus,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeMeta {
    name: String,
    creation_timestamp: String,
    #[serde(serialize_with = "as_map", skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
struct NodeStatus {
    capacity: Resources,
    allocatable: Resources,
}

#[derive(Clone, Debug, Serialize)]
struct Resources {
    cpu: String,
    memory: String,
}

fn as_map<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter())
}

/// Nothing is reserved on a machine without a kubelet, so all of it is allocatable.
fn node(info: &NodeInfo) -> Node {
    let capacity =
        Resources { cpu: info.cpus.to_string(), memory: text(|out| write_memory(out, info.memory_bytes)) };
    Node {
        kind: "Node",
        api_version: "v1",
        metadata: NodeMeta {
            name: info.name.to_string(),
            creation_timestamp: text(|out| write_rfc3339(out, info.created)),
            labels: info.labels.clone(),
        },
        spec: Empty {},
        status: NodeStatus { allocatable: capacity.clone(), capacity },
    }
}

/// What a writer of plain ASCII wrote.
fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Nodes and pods. There are no pod objects without Kubernetes: clients that look for one after they found no
/// numbers are told that there is none.
pub fn answer(source: &dyn Source, call: &Call, objects: Objects) -> Result<Response, ApiError> {
    let text = call.text()?;
    match objects {
        Objects::Node(name) => match source.node_info(&name) {
            Some(info) => reply::document(text, &node(&info)),
            None => Err(ApiError::unknown("nodes", &name)),
        },
        Objects::Pod { name, .. } => Err(ApiError::unknown("pods", &name)),
        Objects::Nodes => {
            let options = call.list_options("", "nodes", Field::OF_NODES)?;
            let nodes = source.node_infos().into_iter().filter(|info| {
                let field = |field| {
                    if field == Field::Name { info.name.as_ref() } else { "" }
                };
                options.labels.matches(&info.labels) && options.fields.matches(field)
            });
            let items = nodes.map(|info| node(&info)).collect();
            reply::document(text, &List::new("NodeList", items))
        }
        Objects::Pods(_) => {
            // None is selected whatever the selectors say, and they may name fields that our pods do not have.
            call.refuse_watch("", "pods")?;
            reply::document(text, &List::<Empty>::new("PodList", Vec::new()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::Fixture;

    #[test]
    fn namespaces_are_those_that_have_pods_each_once() {
        let text = serde_json::to_string(&namespaces(&Fixture)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"kind":"NamespaceList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":["#,
                r#"{"metadata":{"name":"default"}},{"metadata":{"name":"kube-system"}}]}"#
            )
        );
    }

    #[test]
    fn a_node_has_its_machine_as_capacity_and_as_allocatable() {
        let info = Fixture.node_info("n1").unwrap();
        assert_eq!(
            serde_json::to_string(&node(&info)).unwrap(),
            concat!(
                r#"{"kind":"Node","apiVersion":"v1","metadata":{"name":"n1","#,
                r#""creationTimestamp":"2026-11-22T09:00:00Z","labels":{"zone":"a"}},"spec":{},"#,
                r#""status":{"capacity":{"cpu":"4","memory":"8Gi"},"allocatable":{"cpu":"4","memory":"8Gi"}}}"#
            )
        );
    }
}
