//! Writing: create, replace, the three kinds of patch, and delete, with conflicts as an API server has them.
//!
//! Nothing is validated, and server-side apply knows no owners of fields: what is applied is merged.

use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{
    Cluster,
    core_v1::{Asked, missing},
    objects::Collection,
    reply::{Reply, not_found},
};

/// Why nothing is written.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: &'static str,
    message: String,
}

impl Cluster {
    pub(super) fn write(&self, verb: &str, asked: &Asked<'_>, request: &Request<Bytes>) -> Reply {
        let Some(collection) = self.collection(asked.group, asked.resource) else { return not_found() };
        let written = match (verb, asked.name) {
            ("delete", Some(name)) => return delete(collection, asked, name),
            ("create", None) => create(collection, asked, request),
            ("update", Some(name)) => replace(collection, asked, name, request),
            ("patch", Some(name)) => patch(collection, asked, name, request),
            _ => return not_found(),
        };
        match written {
            Ok((status, object)) => Reply::json(status, &collection.whole(&object)),
            Err(Refusal { status, reason, message }) => Reply::failure(status, reason, &message),
        }
    }
}

fn refused(status: StatusCode, reason: &'static str, message: &str) -> Refusal {
    Refusal { status, reason, message: message.to_owned() }
}

fn conflict(asked: &Asked<'_>, name: &str) -> Refusal {
    let message = format!(
        "Operation cannot be fulfilled on {} {name:?}: the object has been modified; please apply your changes to the \
         latest version and try again",
        asked.resource
    );
    refused(StatusCode::CONFLICT, "Conflict", &message)
}

fn parse(request: &Request<Bytes>) -> Result<Value, Refusal> {
    let parsed = serde_json::from_slice(request.body());
    parsed.map_err(|error| refused(StatusCode::BAD_REQUEST, "BadRequest", &error.to_string()))
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The version that a writer says it has seen, if it does.
fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty())
}

fn create(
    collection: &Collection,
    asked: &Asked<'_>,
    request: &Request<Bytes>,
) -> Result<(StatusCode, Value), Refusal> {
    let object = parse(request)?;
    let name = name_of(&object).to_owned();
    if name.is_empty() || version(&object).is_some() {
        let fault = "metadata: a name is required, and a resourceVersion must not be set";
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", fault));
    }
    let namespace = asked.namespace.unwrap_or_default();
    let (told, written) = collection.write(namespace, &name, |before| match before {
        Some(_) => {
            let message = format!("{} {name:?} already exists", asked.resource);
            (Err(refused(StatusCode::CONFLICT, "AlreadyExists", &message)), None)
        }
        None => (Ok(()), Some(born(object, namespace))),
    });
    told?;
    Ok((StatusCode::CREATED, written.unwrap_or_default()))
}

/// With what an API server adds.
fn born(mut object: Value, namespace: &str) -> Value {
    let name = name_of(&object).to_owned();
    let metadata = &mut object["metadata"];
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    metadata["uid"] = json!(format!("uid-of-{namespace}-{name}"));
    metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    object
}

fn replace(
    collection: &Collection,
    asked: &Asked<'_>,
    name: &str,
    request: &Request<Bytes>,
) -> Result<(StatusCode, Value), Refusal> {
    let object = parse(request)?;
    if name_of(&object) != name {
        return Err(refused(StatusCode::BAD_REQUEST, "BadRequest", "the name is not that of the URL"));
    }
    changed(collection, asked, name, |before| {
        let is_seen = version(&object).is_none_or(|seen| version(before) == Some(seen));
        let mut object = object.clone();
        for field in ["uid", "creationTimestamp", "namespace"] {
            if let Some(value) = before["metadata"].get(field) {
                object["metadata"][field] = value.clone();
            }
        }
        if is_seen { Ok(object) } else { Err(conflict(asked, name)) }
    })
}

fn patch(
    collection: &Collection,
    asked: &Asked<'_>,
    name: &str,
    request: &Request<Bytes>,
) -> Result<(StatusCode, Value), Refusal> {
    let patch = parse(request)?;
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type.unwrap_or_default() {
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            changed(collection, asked, name, |before| merged(asked, name, before, &patch))
        }
        "application/json-patch+json" => changed(collection, asked, name, |before| {
            let mut object = before.clone();
            for operation in patch.as_array().into_iter().flatten() {
                operate(&mut object, operation).map_err(|fault| {
                    refused(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", &format!("{operation}: {fault}"))
                })?;
            }
            Ok(object)
        }),
        "application/apply-patch+yaml" => {
            if asked.text("fieldManager").is_none() {
                return Err(refused(StatusCode::BAD_REQUEST, "BadRequest", "fieldManager is required"));
            }
            let namespace = asked.namespace.unwrap_or_default();
            let (told, written) = collection.write(namespace, name, |before| match before {
                None => (Ok(StatusCode::CREATED), Some(born(patch.clone(), namespace))),
                Some(before) => match merged(asked, name, before, &patch) {
                    Ok(object) => (Ok(StatusCode::OK), Some(object)),
                    Err(refusal) => (Err(refusal), None),
                },
            });
            Ok((told?, written.unwrap_or_default()))
        }
        other => {
            let message = format!("the body of the request was in an unknown format: {other}");
            Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", &message))
        }
    }
}

fn changed(
    collection: &Collection,
    asked: &Asked<'_>,
    name: &str,
    change: impl FnOnce(&Value) -> Result<Value, Refusal>,
) -> Result<(StatusCode, Value), Refusal> {
    let (told, written) = collection.write(asked.namespace.unwrap_or_default(), name, |before| {
        let changed = match before {
            None => {
                let message = format!("{} {name:?} not found", asked.resource);
                Err(refused(StatusCode::NOT_FOUND, "NotFound", &message))
            }
            Some(before) => change(before),
        };
        match changed {
            Ok(object) => (Ok(()), Some(object)),
            Err(refusal) => (Err(refusal), None),
        }
    });
    told?;
    Ok((StatusCode::OK, written.unwrap_or_default()))
}

fn merged(asked: &Asked<'_>, name: &str, before: &Value, patch: &Value) -> Result<Value, Refusal> {
    if version(patch).is_some_and(|seen| version(before) != Some(seen)) {
        return Err(conflict(asked, name));
    }
    let mut object = before.clone();
    merge(&mut object, patch);
    Ok(object)
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        match value {
            Value::Null => drop(object.as_object_mut().and_then(|fields| fields.remove(key))),
            value => merge(&mut object[key.as_str()], value),
        }
    }
}

/// One operation of RFC 6902: `add` and `replace` of a field, `remove`, `test`.
fn operate(object: &mut Value, operation: &Value) -> Result<(), String> {
    let path = operation["path"].as_str().ok_or("no path")?;
    let (parent, key) = path.rsplit_once('/').ok_or("no field")?;
    let key = key.replace("~1", "/").replace("~0", "~");
    match operation["op"].as_str() {
        Some("test") if object.pointer(path) == Some(&operation["value"]) => Ok(()),
        Some("test") => Err("the test fails".to_owned()),
        Some(kind @ ("add" | "replace" | "remove")) => {
            let parent = object.pointer_mut(parent).and_then(Value::as_object_mut).ok_or("no such object")?;
            if kind != "add" && !parent.contains_key(&key) {
                return Err("no such field".to_owned());
            }
            if kind == "remove" {
                parent.remove(&key);
            } else {
                parent.insert(key, operation["value"].clone());
            }
            Ok(())
        }
        other => Err(format!("unknown operation {other:?}")),
    }
}

fn delete(collection: &Collection, asked: &Asked<'_>, name: &str) -> Reply {
    match collection.take(asked.namespace.unwrap_or_default(), name) {
        None => missing(asked.resource, name),
        Some(_) => {
            Reply::ok(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": name, "kind": asked.resource}}))
        }
    }
}
