//! The one message that kubectl sends in Kubernetes' protobuf: `SelfSubjectAccessReview`.

use prost::Message;
use serde_json::{Value, json};

/// What every encoded object begins with.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Message)]
struct Unknown {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Message)]
struct Review {
    #[prost(message, optional, tag = "2")]
    spec: Option<Spec>,
}

#[derive(Message)]
struct Spec {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    path: Option<Path>,
}

#[derive(Message)]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "7")]
    name: String,
}

#[derive(Message)]
struct Path {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

/// The review as JSON.
pub(super) fn of_oneself(body: &[u8]) -> Option<Value> {
    let Unknown { raw } = Unknown::decode(body.strip_prefix(MAGIC)?).ok()?;
    let Spec { resource, path } = Review::decode(raw.as_slice()).ok()?.spec?;
    let spec = match (resource, path) {
        (Some(ResourceAttributes { namespace, verb, group, version, resource, name }), None) => {
            json!({"resourceAttributes": {"namespace": namespace, "verb": verb, "group": group,
                "version": version, "resource": resource, "name": name}})
        }
        (None, Some(Path { path, verb })) => json!({"nonResourceAttributes": {"path": path, "verb": verb}}),
        _ => return None,
    };
    Some(json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}))
}
