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

use super::pod::{ContainerStatus, Document, Metadata, Named, PodSpec, PodStatus, Text};
use crate::{
    directory::{AddressType, ContainerRecord, KubeletRecord, NodeRecord, Owner, PodRecord, Uid},
    store::node::CounterRef,
};

/// The record of a pod; `None` when it does not count, or not any more. A static pod goes by the UID of its mirror
/// in the API; its containers are found by their ids as all are.
pub(super) fn pod_record(pod: &Document<'_>) -> Option<PodRecord> {
    let (metadata, spec, status) = (pod.metadata.as_ref()?, pod.spec.as_ref()?, pod.status.as_ref()?);
    if status.phase.as_deref() != Some("Running") {
        return None;
    }
    Some(PodRecord {
        uid: given(metadata.uid.as_deref())?.into(),
        namespace: given(metadata.namespace.as_deref())?.into(),
        name: given(metadata.name.as_deref())?.into(),
        node: given(spec.node_name.as_deref())?.into(),
        labels: metadata.labels.iter().flatten().map(|(key, value)| (&**key, &**value)).collect(),
        owner: owner(metadata),
        created: metadata.creation_timestamp.as_ref().and_then(wall).into(),
        ready: ready(status).into(),
        containers: containers(spec, status).into(),
        previous: None,
    })
}

/// The UID under which its node knows a pod, where that is another: the pod is the mirror of a static one.
pub(super) fn mirror_of(pod: &Document<'_>) -> Option<Uid> {
    let metadata = pod.metadata.as_ref()?;
    let announced = given(metadata.annotations.as_ref()?.mirror.as_deref())?;
    (metadata.uid.as_deref() != Some(announced)).then(|| announced.into())
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
        name: given(metadata.name.as_deref())?.into(),
        labels: metadata.labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        created: wall(metadata.creation_timestamp.as_ref()?)?,
        kubelet: None,
    })
}

/// Where virtual kubelets say that their metrics are, as metrics-server reads it.
const METRICS_PATH: &str = "metrics.k8s.io/resource-metrics-path";

fn kubelet_record(metadata: &ObjectMeta, status: Option<&NodeStatus>) -> KubeletRecord {
    let addresses = status.into_iter().flat_map(|status| status.addresses.iter().flatten());
    let address = |address: &NodeAddress| {
        Some((AddressType::named(&address.type_)?, given(Some(&address.address))?.into()))
    };
    let endpoint = status.and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref());
    let path = metadata.annotations.as_ref().and_then(|annotations| annotations.get(METRICS_PATH));
    let path = given(path.map(String::as_str));
    KubeletRecord {
        addresses: addresses.filter_map(address).collect(),
        port: endpoint.and_then(|endpoint| u16::try_from(endpoint.port).ok()).filter(|&port| port != 0),
        path: path.map(Arc::from),
    }
}

/// A text that is there and not empty.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The controller, of which there is one at most.
fn owner(metadata: &Metadata<'_>) -> Option<Arc<Owner>> {
    let mut references = metadata.owner_references.iter().flatten();
    let controller = references.find(|reference| reference.controller == Some(true))?;
    let text = |text: &Option<Text<'_>>| Arc::from(text.as_deref().unwrap_or_default());
    let (kind, name) = (text(&controller.kind), text(&controller.name));
    Some(Arc::new(Owner { kind, name, uid: text(&controller.uid) }))
}

/// `None` before 1970.
fn wall(time: &Time) -> Option<WallTime> {
    u64::try_from(time.0.as_microsecond()).ok().map(WallTime)
}

/// When the pod last became ready, if it is.
fn ready(status: &PodStatus<'_>) -> Option<WallTime> {
    let mut conditions = status.conditions.iter().flatten();
    let is = |text: &Option<Text<'_>>, wanted| text.as_deref() == Some(wanted);
    let ready =
        conditions.find(|condition| is(&condition.type_, "Ready") && is(&condition.status, "True"))?;
    wall(ready.last_transition_time.as_ref()?)
}

/// The running containers in the order of the spec: its containers, init containers (sidecars are among them),
/// ephemeral containers. None at all when one that runs has no usable id: half a pod is not served.
fn containers(spec: &PodSpec<'_>, status: &PodStatus<'_>) -> Vec<ContainerRecord> {
    let statuses =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let mut running: Vec<&ContainerStatus<'_>> =
        statuses.into_iter().flatten().flatten().filter(|status| status.is_running()).collect();
    let order: Vec<&str> = names(spec).collect();
    // The kubelet sorts statuses by name, and what the spec does not name comes last.
    let place = |name: &str| order.iter().position(|named| *named == name);
    running.sort_by_key(|status| status.name.as_deref().and_then(place).unwrap_or(order.len()));
    let records: Option<Vec<ContainerRecord>> = running.into_iter().map(container).collect();
    records.unwrap_or_default()
}

fn names<'a>(spec: &'a PodSpec<'_>) -> impl Iterator<Item = &'a str> {
    let lists: [&Option<Vec<Named<'_>>>; 3] =
        [&spec.containers, &spec.init_containers, &spec.ephemeral_containers];
    lists.into_iter().flatten().flatten().filter_map(|container| container.name.as_deref())
}

fn container(status: &ContainerStatus<'_>) -> Option<ContainerRecord> {
    let (_runtime, id) = status.container_id.as_deref()?.split_once("://")?;
    let counter = CounterRef::Container(ContainerId::new(id).ok()?);
    Some(ContainerRecord::new(Arc::from(status.name.as_deref().unwrap_or_default()), counter))
}

#[cfg(test)]
mod tests;
