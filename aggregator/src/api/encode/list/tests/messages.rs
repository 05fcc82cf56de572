//! The messages as a client knows them, decoded by a library, and put in the form of the JSON documents.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::{Map, Value, json};

use super::super::{super::format::MetaVersion, WallTime};
use crate::api::time::{write_duration, write_rfc3339};

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, required, tag = "1")]
    type_meta: TypeMeta,
    #[prost(bytes = "vec", required, tag = "2")]
    raw: Vec<u8>,
    #[prost(string, required, tag = "3")]
    content_encoding: String,
    #[prost(string, required, tag = "4")]
    content_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, required, tag = "1")]
    api_version: String,
    #[prost(string, required, tag = "2")]
    kind: String,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, required, tag = "1")]
    name: String,
    #[prost(string, required, tag = "3")]
    namespace: String,
    #[prost(string, required, tag = "6")]
    resource_version: String,
    #[prost(int64, required, tag = "7")]
    generation: i64,
    #[prost(message, required, tag = "8")]
    creation_timestamp: Time,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct ListMeta {
    #[prost(string, required, tag = "1")]
    self_link: String,
    #[prost(string, required, tag = "2")]
    resource_version: String,
    #[prost(string, required, tag = "3")]
    continues: String,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, required, tag = "1")]
    seconds: i64,
    #[prost(int32, required, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Duration {
    #[prost(int64, required, tag = "1")]
    nanos: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Quantity {
    #[prost(string, required, tag = "1")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct NodeMetrics {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    timestamp: Time,
    #[prost(message, required, tag = "3")]
    window: Duration,
    #[prost(btree_map = "string, message", tag = "4")]
    usage: BTreeMap<String, Quantity>,
}

#[derive(Clone, PartialEq, Message)]
struct PodMetrics {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    timestamp: Time,
    #[prost(message, required, tag = "3")]
    window: Duration,
    #[prost(message, repeated, tag = "4")]
    containers: Vec<ContainerMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetrics {
    #[prost(string, required, tag = "1")]
    name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    usage: BTreeMap<String, Quantity>,
}

#[derive(Clone, PartialEq, Message)]
struct Partial {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
}

/// Any list: its metadata and the encoded items.
#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, required, tag = "1")]
    metadata: ListMeta,
    #[prost(bytes = "vec", repeated, tag = "2")]
    items: Vec<Vec<u8>>,
}

/// The list of metadata in `v1beta1`.
#[derive(Clone, PartialEq, Message)]
struct OldList {
    #[prost(bytes = "vec", repeated, tag = "1")]
    items: Vec<Vec<u8>>,
    #[prost(message, required, tag = "2")]
    metadata: ListMeta,
}

/// The document in the envelope: its `kind` and `apiVersion`, and the message.
fn opened(body: &[u8]) -> (Map<String, Value>, Vec<u8>) {
    let unknown = Unknown::decode(body.strip_prefix(b"k8s\0").unwrap()).unwrap();
    let mut document = Map::new();
    document.insert("kind".to_owned(), unknown.type_meta.kind.into());
    document.insert("apiVersion".to_owned(), unknown.type_meta.api_version.into());
    (document, unknown.raw)
}

/// A `NodeMetrics` or `PodMetrics` as its JSON.
pub(super) fn object(body: &[u8]) -> Value {
    let (mut document, raw) = opened(body);
    let kind = document["kind"].as_str().unwrap().to_owned();
    document.append(item(&kind, &raw).as_object_mut().unwrap());
    document.into()
}

/// A list of such objects as its JSON.
pub(super) fn object_list(body: &[u8]) -> Value {
    let (mut document, raw) = opened(body);
    let kind = document["kind"].as_str().unwrap().strip_suffix("List").unwrap().to_owned();
    let list = List::decode(raw.as_slice()).unwrap();
    document.insert("metadata".to_owned(), json!({}));
    let items: Vec<Value> = list.items.iter().map(|raw| item(&kind, raw)).collect();
    document.insert("items".to_owned(), items.into());
    document.into()
}

/// A list of metadata as its JSON, where each item says what it is.
pub(super) fn partial_list(body: &[u8], version: MetaVersion) -> Value {
    let (mut document, raw) = opened(body);
    let items = match version {
        MetaVersion::V1 => List::decode(raw.as_slice()).unwrap().items,
        MetaVersion::V1Beta1 => OldList::decode(raw.as_slice()).unwrap().items,
    };
    let item = |raw: &Vec<u8>| {
        json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": version.group_version(),
            "metadata": metadata(&Partial::decode(raw.as_slice()).unwrap().metadata),
        })
    };
    let items: Vec<Value> = items.iter().map(item).collect();
    document.insert("metadata".to_owned(), json!({}));
    document.insert("items".to_owned(), items.into());
    document.into()
}

fn item(kind: &str, raw: &[u8]) -> Value {
    if kind == "NodeMetrics" {
        let node = NodeMetrics::decode(raw).unwrap();
        return json!({
            "metadata": metadata(&node.metadata),
            "timestamp": time(&node.timestamp),
            "window": duration(&node.window),
            "usage": usage(&node.usage),
        });
    }
    let pod = PodMetrics::decode(raw).unwrap();
    let containers: Vec<Value> = pod
        .containers
        .iter()
        .map(|container| json!({"name": container.name, "usage": usage(&container.usage)}))
        .collect();
    json!({
        "metadata": metadata(&pod.metadata),
        "timestamp": time(&pod.timestamp),
        "window": duration(&pod.window),
        "containers": containers,
    })
}

/// What is empty is left out, as in JSON.
fn metadata(meta: &ObjectMeta) -> Value {
    let mut value = json!({"name": meta.name, "creationTimestamp": time(&meta.creation_timestamp)});
    if !meta.namespace.is_empty() {
        value["namespace"] = meta.namespace.clone().into();
    }
    if !meta.labels.is_empty() {
        value["labels"] = json!(meta.labels);
    }
    value
}

fn time(time: &Time) -> String {
    assert_eq!(time.nanos, 0);
    text(|out| write_rfc3339(out, WallTime(u64::try_from(time.seconds).unwrap() * 1_000_000)))
}

fn duration(duration: &Duration) -> String {
    let length = std::time::Duration::from_nanos(u64::try_from(duration.nanos).unwrap());
    text(|out| write_duration(out, length))
}

fn usage(usage: &BTreeMap<String, Quantity>) -> Value {
    usage.iter().map(|(key, quantity)| (key.clone(), quantity.text.clone())).collect()
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}
