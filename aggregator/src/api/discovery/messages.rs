//! The shapes of the discovery documents, each once for JSON and protobuf: `meta.k8s.io/v1` and
//! `apidiscovery.k8s.io`.
//!
//! Fields stand in the order of the JSON; their numbers are those of Kubernetes' own protobuf. What is never set here
//! (short names, categories, subresources, addresses) is left out.

use prost::Message;
use serde::Serialize;

/// `APIGroupList`.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct GroupList {
    /// The groups.
    #[prost(message, repeated, tag = "1")]
    pub groups: Vec<Group>,
}

/// `APIGroup`.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its versions in order of preference.
    #[prost(message, repeated, tag = "2")]
    pub versions: Vec<GroupVersion>,
    /// The first of them.
    #[prost(message, optional, tag = "3")]
    pub preferred_version: Option<GroupVersion>,
}

/// `GroupVersionForDiscovery`.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub struct GroupVersion {
    /// Both, with a slash between them.
    #[prost(string, tag = "1")]
    pub group_version: String,
    /// The version alone.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// `APIResourceList`.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    /// Whose resources.
    #[prost(string, tag = "1")]
    pub group_version: String,
    /// The resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
}

/// `APIResource`.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its plural, as in paths.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its singular, or nothing where clients should derive it from the kind.
    #[prost(string, tag = "6")]
    pub singular_name: String,
    /// Whether its objects are in namespaces.
    #[prost(bool, tag = "2")]
    pub namespaced: bool,
    /// The kind of its objects.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// What may be done with them.
    #[prost(message, optional, tag = "4")]
    pub verbs: Option<Verbs>,
}

/// `Verbs`: a list that protobuf wraps and JSON does not.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(transparent)]
pub struct Verbs {
    /// Such as `get`.
    #[prost(string, repeated, tag = "1")]
    pub items: Vec<String>,
}

/// `APIVersions`: the versions of the core group.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct Versions {
    /// Such as `v1`.
    #[prost(string, repeated, tag = "1")]
    pub versions: Vec<String>,
    /// Where clients of some networks should connect instead; there are none. Required in JSON.
    #[prost(message, repeated, tag = "2")]
    #[serde(rename = "serverAddressByClientCIDRs")]
    pub addresses: Vec<Empty>,
}

/// A message without fields.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct Empty {}

/// `APIGroupDiscoveryList`.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct DiscoveryList {
    /// Always empty, never absent.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Empty>,
    /// The groups.
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<DiscoveryGroup>,
}

/// `APIGroupDiscovery`.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct DiscoveryGroup {
    /// Holds the name of the group.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Name>,
    /// Its versions in order of preference.
    #[prost(message, repeated, tag = "2")]
    pub versions: Vec<DiscoveryVersion>,
}

/// As much of `ObjectMeta` as a group has.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct Name {
    /// Absent for the core group, whose name is empty.
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// `APIVersionDiscovery`.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct DiscoveryVersion {
    /// The version.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Its resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<DiscoveryResource>,
    /// Whether the resources are known to be these: `Current`.
    #[prost(string, tag = "3")]
    pub freshness: String,
}

/// `APIResourceDiscovery`.
#[derive(Clone, PartialEq, Serialize, Message)]
#[serde(rename_all = "camelCase")]
pub struct DiscoveryResource {
    /// Its plural.
    #[prost(string, tag = "1")]
    pub resource: String,
    /// Never absent: clients of Kubernetes 1.26.0 to 1.26.3 crash without it.
    #[prost(message, optional, tag = "2")]
    pub response_kind: Option<ResponseKind>,
    /// `Cluster` or `Namespaced`.
    #[prost(string, tag = "3")]
    pub scope: String,
    /// Its singular, or nothing.
    #[prost(string, tag = "4")]
    pub singular_resource: String,
    /// What may be done with its objects.
    #[prost(string, repeated, tag = "5")]
    pub verbs: Vec<String>,
}

/// `GroupVersionKind`. Empty group and version mean those of the resource, as on every Kubernetes server.
#[derive(Clone, PartialEq, Serialize, Message)]
pub struct ResponseKind {
    /// API group.
    #[prost(string, tag = "1")]
    pub group: String,
    /// Version.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Kind.
    #[prost(string, tag = "3")]
    pub kind: String,
}
