//! Objects of the cluster to records of the directory. Pure.
//!
//! A pod counts while it is bound to a node and its phase is Running. Before, while init containers run one after
//! the other, it would be half a pod: an autoscaler that looks for one container by name fails over it for all.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Node, NodeAddress, NodeStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{api::ObjectMeta, core::PartialObjectMeta};
use kubevitals::sample::{ContainerId, WallTime};

use super::pod::{ContainerStatus, MIRROR, Named, Pod, PodSpec, PodStatus};
use crate::{
    api::source::Labels,
    directory::{AddressType, ContainerRecord, KubeletRecord, NodeRecord, Origin, Owner, PodRecord},
    store::node::CounterRef,
};

/// The record of a pod; `None` when it does not count, or not any more. A static pod goes by the UID of its mirror
/// in the API; its containers are found by their ids as all are.
pub(super) fn pod_record(pod: &Pod) -> Option<PodRecord> {
    let (metadata, spec, status) = (&pod.metadata, pod.spec.as_ref()?, pod.status.as_ref()?);
    if status.phase.as_deref() != Some("Running") {
        return None;
    }
    Some(PodRecord {
        uid: name(metadata.uid.as_ref())?,
        namespace: name(metadata.namespace.as_ref())?,
        name: name(metadata.name.as_ref())?,
        node: name(spec.node_name.as_ref())?,
        labels: labels(metadata),
        owner: owner(metadata),
        ready: ready(status),
        containers: containers(spec, status),
        previous: None,
    })
}

/// What is known of a pod beside its record.
pub(super) fn origin(pod: &Pod) -> Origin {
    let metadata = &pod.metadata;
    let mirror_of = metadata.annotations.as_ref().and_then(|annotations| annotations.get(MIRROR));
    Origin {
        created: metadata.creation_timestamp.as_ref().and_then(wall),
        mirror_of: name(mirror_of).filter(|uid| metadata.uid.as_deref() != Some(uid)),
    }
}

/// The record of a node of which nothing but its metadata was asked for; `None` without a name or a time of creation,
/// which the API server gives to all.
pub(super) fn node_record(node: &PartialObjectMeta<Node>) -> Option<NodeRecord> {
    node_record_of(&node.metadata)
}

/// The record of a node with the place of its kubelet.
pub(super) fn node_record_with_kubelet(node: &Node) -> Option<NodeRecord> {
    let kubelet = kubelet_record(&node.metadata, node.status.as_ref());
    Some(NodeRecord { kubelet: Some(Box::new(kubelet)), ..node_record_of(&node.metadata)? })
}

fn node_record_of(metadata: &ObjectMeta) -> Option<NodeRecord> {
    Some(NodeRecord {
        name: name(metadata.name.as_ref())?,
        labels: labels(metadata),
        created: wall(metadata.creation_timestamp.as_ref()?)?,
        kubelet: None,
    })
}

/// Where virtual kubelets say that their metrics are, as metrics-server reads it.
const METRICS_PATH: &str = "metrics.k8s.io/resource-metrics-path";

fn kubelet_record(metadata: &ObjectMeta, status: Option<&NodeStatus>) -> KubeletRecord {
    let addresses = status.into_iter().flat_map(|status| status.addresses.iter().flatten());
    let address =
        |address: &NodeAddress| Some((AddressType::named(&address.type_)?, name(Some(&address.address))?));
    let endpoint = status.and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref());
    let path = metadata.annotations.as_ref().and_then(|annotations| annotations.get(METRICS_PATH));
    KubeletRecord {
        addresses: addresses.filter_map(address).collect(),
        port: endpoint.and_then(|endpoint| u16::try_from(endpoint.port).ok()).filter(|&port| port != 0),
        path: name(path),
    }
}

/// A name that is there and not empty.
fn name(text: Option<&String>) -> Option<Arc<str>> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(Arc::from(text.as_str()))
}

fn labels(metadata: &ObjectMeta) -> Labels {
    let labels = metadata.labels.iter().flatten();
    labels.map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The controller, of which there is one at most.
fn owner(metadata: &ObjectMeta) -> Option<Arc<Owner>> {
    let mut references = metadata.owner_references.iter().flatten();
    let controller = references.find(|reference| reference.controller == Some(true))?;
    let text = |text: &String| Arc::from(text.as_str());
    let (kind, name) = (text(&controller.kind), text(&controller.name));
    Some(Arc::new(Owner { kind, name, uid: text(&controller.uid) }))
}

/// `None` before 1970.
fn wall(time: &Time) -> Option<WallTime> {
    u64::try_from(time.0.as_microsecond()).ok().map(WallTime)
}

/// When the pod last became ready, if it is.
fn ready(status: &PodStatus) -> Option<WallTime> {
    let mut conditions = status.conditions.iter().flatten();
    let is = |text: &Option<String>, wanted| text.as_deref() == Some(wanted);
    let ready =
        conditions.find(|condition| is(&condition.type_, "Ready") && is(&condition.status, "True"))?;
    wall(ready.last_transition_time.as_ref()?)
}

/// The running containers in the order of the spec: its containers, init containers (sidecars are among them),
/// ephemeral containers. None at all when one that runs has no usable id: half a pod is not served.
fn containers(spec: &PodSpec, status: &PodStatus) -> Vec<ContainerRecord> {
    let statuses =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut running: Vec<&ContainerStatus> =
        statuses.into_iter().flatten().flatten().filter(|status| status.is_running()).collect();
    let order: Vec<&str> = names(spec).collect();
    // The kubelet sorts statuses by name, and what the spec does not name comes last.
    let place = |name: &str| order.iter().position(|named| *named == name);
    running.sort_by_key(|status| status.name.as_deref().and_then(place).unwrap_or(order.len()));
    let records: Option<Vec<ContainerRecord>> = running.into_iter().map(container).collect();
    records.unwrap_or_default()
}

fn names(spec: &PodSpec) -> impl Iterator<Item = &str> {
    let lists: [&Option<Vec<Named>>; 3] =
        [&spec.containers, &spec.init_containers, &spec.ephemeral_containers];
    lists.into_iter().flatten().flatten().filter_map(|container| container.name.as_deref())
}

fn container(status: &ContainerStatus) -> Option<ContainerRecord> {
    let (_runtime, id) = status.container_id.as_deref()?.split_once("://")?;
    let counter = CounterRef::Container(ContainerId::new(id).ok()?);
    Some(ContainerRecord::new(Arc::from(status.name.as_deref().unwrap_or_default()), counter))
}

#[cfg(test)]
mod tests;
