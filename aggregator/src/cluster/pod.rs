//! What is read of a pod: a tenth of what the API server sends.
//!
//! The client library's own type takes in all of it, and of a pod most is what nobody here asks: volumes, probes, tolerations,
//! who wrote which field when. A restart reads every pod of the cluster before answers are complete, and reading only
//! what is wanted takes a fraction of the time. What is missing or `null` is as if it were empty, as in the library's type.
//! (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>)
//!
//! The library reads a page of some hundred pods before it hands over the first. So each becomes its record while it is
//! read, and the rest of it is let go of before the next: else the texts of a whole page are in memory together, and what
//! is kept lies scattered between them.

use std::{borrow::Cow, collections::BTreeMap, ops::Deref};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, api::ObjectMeta, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::record::{mirror_of, pod_record};
use crate::directory::{PodRecord, Uid};

/// A pod.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    /// For the library, which looks at the version. Who the pod is stands here only where there is no record.
    metadata: ObjectMeta,
    /// `None` when it does not count, or not any more.
    pub(super) record: Option<PodRecord>,
    /// The UID under which its node knows it, where that is another: it is the mirror of a static pod.
    pub(super) mirror_of: Option<Uid>,
}

impl Pod {
    /// Its namespace, name and UID; the API server gives all of them to all pods.
    pub(super) fn identity(&self) -> Option<(&str, &str, Uid)> {
        let Some(record) = &self.record else {
            let ObjectMeta { namespace, name, uid, .. } = &self.metadata;
            return Some((namespace.as_deref()?, name.as_deref()?, uid.as_ref()?.into()));
        };
        Some((&record.namespace, &record.name, record.uid.clone()))
    }
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        let (record, mirror_of) = (pod_record(&document), mirror_of(&document));
        let metadata = document.metadata.unwrap_or_default();
        let unless_recorded =
            |text: Option<Text<'_>>| text.filter(|_| record.is_none()).map(Text::into_owned);
        let metadata = ObjectMeta {
            name: unless_recorded(metadata.name),
            namespace: unless_recorded(metadata.namespace),
            uid: unless_recorded(metadata.uid),
            resource_version: metadata.resource_version.map(Text::into_owned),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, record, mirror_of })
    }
}

/// A text of the document that is read; only one with escapes is a copy.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A pod as the API server writes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document<'a> {
    #[serde(borrow)]
    pub(super) metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    pub(super) spec: Option<PodSpec<'a>>,
    #[serde(borrow)]
    pub(super) status: Option<PodStatus<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) uid: Option<Text<'a>>,
    #[serde(borrow)]
    resource_version: Option<Text<'a>>,
    pub(super) creation_timestamp: Option<Time>,
    #[serde(borrow)]
    pub(super) labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
    #[serde(borrow)]
    pub(super) annotations: Option<Annotations<'a>>,
    #[serde(borrow)]
    pub(super) owner_references: Option<Vec<Reference<'a>>>,
}

/// Of the annotations only the one in which the kubelet writes the UID by which it knows a static pod into its mirror.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations<'a> {
    #[serde(borrow, rename = "kubernetes.io/config.mirror")]
    pub(super) mirror: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reference<'a> {
    #[serde(borrow)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) uid: Option<Text<'a>>,
    pub(super) controller: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec<'a> {
    #[serde(borrow)]
    pub(super) node_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) containers: Option<Vec<Named<'a>>>,
    #[serde(borrow)]
    pub(super) init_containers: Option<Vec<Named<'a>>>,
    #[serde(borrow)]
    pub(super) ephemeral_containers: Option<Vec<Named<'a>>>,
}

/// A container of the spec.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatus<'a> {
    #[serde(borrow)]
    pub(super) phase: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) conditions: Option<Vec<PodCondition<'a>>>,
    #[serde(borrow)]
    pub(super) container_statuses: Option<Vec<ContainerStatus<'a>>>,
    #[serde(borrow)]
    pub(super) init_container_statuses: Option<Vec<ContainerStatus<'a>>>,
    #[serde(borrow)]
    pub(super) ephemeral_container_statuses: Option<Vec<ContainerStatus<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodCondition<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) type_: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) status: Option<Text<'a>>,
    pub(super) last_transition_time: Option<Time>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStatus<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, rename = "containerID")]
    pub(super) container_id: Option<Text<'a>>,
    state: Option<ContainerState>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    running: Option<IgnoredAny>,
}

impl ContainerStatus<'_> {
    pub(super) fn is_running(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.running.is_some())
    }
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
