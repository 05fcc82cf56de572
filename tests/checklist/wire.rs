//! Kubernetes' protobuf messages as a consumer knows them, written down independently of the program's encoder.

use prost::Message;

/// What every encoded object begins with.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Message)]
pub(crate) struct PodMetricsList {
    #[prost(message, repeated, tag = "2")]
    pub(crate) items: Vec<PodMetrics>,
}

#[derive(Message)]
pub(crate) struct PodMetrics {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) containers: Vec<ContainerMetrics>,
}

#[derive(Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Message)]
pub(crate) struct ContainerMetrics {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) usage: Vec<Entry>,
}

/// An entry of a map from resource to quantity.
#[derive(Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<Quantity>,
}

#[derive(Message)]
pub(crate) struct Quantity {
    #[prost(string, tag = "1")]
    pub(crate) string: String,
}

impl PodMetrics {
    pub(crate) fn name(&self) -> String {
        self.metadata.as_ref().map_or_else(String::new, |metadata| metadata.name.clone())
    }
}

/// A list of pods of this version.
pub(crate) fn pods(body: &[u8], version: &str) -> PodMetricsList {
    let body = body.strip_prefix(MAGIC).expect("it begins with the magic bytes");
    let Unknown { type_meta, raw } = Unknown::decode(body).unwrap();
    let TypeMeta { api_version, kind } = type_meta.expect("it says what it is");
    assert_eq!((api_version, kind.as_str()), (format!("metrics.k8s.io/{version}"), "PodMetricsList"));
    PodMetricsList::decode(raw.as_slice()).unwrap()
}
