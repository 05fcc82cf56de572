//! Reading: get, list and watch of every resource that is kept, and of namespaces.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use super::{
    Cluster,
    objects::{Collection, Object, Page, Watch, WatchWanted},
    reply::{Reply, not_found},
    selector::Selector,
};

/// Longest watch when none is asked for.
const WATCH: Duration = Duration::from_mins(30);

/// What is asked of a resource.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Empty for core resources.
    pub(super) group: &'a str,
    pub(super) resource: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) query: &'a BTreeMap<String, String>,
    pub(super) headers: &'a HeaderMap,
}

impl Asked<'_> {
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        let parsed = self.text(key).map(str::parse).transpose();
        parsed.map_err(|_| format!("{key}: Invalid value"))
    }

    pub(super) fn is_watch(&self) -> bool {
        self.name.is_none() && self.text("watch").is_some_and(|watch| watch == "true" || watch == "1")
    }

    pub(super) fn selector(&self) -> Result<Selector, String> {
        Selector::parse(self.namespace, self.text("fieldSelector"), self.text("labelSelector"))
    }

    /// Whether only metadata is wanted.
    fn is_partial(&self) -> bool {
        let accept = self.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        accept.contains("as=PartialObjectMetadata")
    }
}

impl Cluster {
    pub(super) fn core(&self, asked: &Asked<'_>) -> Reply {
        match (asked.group, asked.resource) {
            ("", "namespaces") => return self.namespaces(asked.name),
            ("", "events") => {
                return list("v1", "EventList", &Page { items: vec![], version: 1, more: None }, false);
            }
            _ => {}
        }
        let Some(collection) = self.collection(asked.group, asked.resource) else { return not_found() };
        if let Some(name) = asked.name {
            return object(collection, asked, name);
        }
        collection_of(collection, asked)
            .unwrap_or_else(|fault| Reply::failure(StatusCode::BAD_REQUEST, "BadRequest", &fault))
    }

    /// A namespace exists while something is in it.
    fn namespaces(&self, name: Option<&str>) -> Reply {
        let mut names =
            [self.pods.namespaces(), vec!["default".to_owned(), "kube-system".to_owned()]].concat();
        names.sort();
        names.dedup();
        let namespace =
            |name: &String| json!({"metadata": {"name": name, "uid": name}, "status": {"phase": "Active"}});
        let Some(name) = name else {
            let items = names.iter().map(|name| Object::new(namespace(name))).collect();
            return list("v1", "NamespaceList", &Page { items, version: 1, more: None }, false);
        };
        match names.iter().find(|known| *known == name) {
            None => missing("namespaces", name),
            Some(name) => {
                let mut namespace = namespace(name);
                (namespace["kind"], namespace["apiVersion"]) = (json!("Namespace"), json!("v1"));
                Reply::ok(&namespace)
            }
        }
    }
}

pub(super) fn missing(resource: &str, name: &str) -> Reply {
    Reply::failure(StatusCode::NOT_FOUND, "NotFound", &format!("{resource} {name:?} not found"))
}

fn object(collection: &Collection, asked: &Asked<'_>, name: &str) -> Reply {
    match collection.get(asked.namespace.unwrap_or_default(), name) {
        None => missing(asked.resource, name),
        Some(object) if asked.is_partial() => Reply::ok(&partial(&object)),
        Some(object) => Reply::ok(&collection.whole(&object)),
    }
}

fn collection_of(collection: &Collection, asked: &Asked<'_>) -> Result<Reply, String> {
    let selector = asked.selector()?;
    if asked.is_watch() {
        let version = asked.number("resourceVersion")?.filter(|&version: &u64| version != 0);
        let timeout = asked.number("timeoutSeconds")?.map_or(WATCH, Duration::from_secs);
        let bookmarks = asked.text("allowWatchBookmarks") == Some("true");
        let watch = collection.watch(selector, &WatchWanted { version, bookmarks, timeout });
        return Ok(streamed(watch, asked.is_partial()));
    }
    let after = asked.text("continue").map(ToOwned::to_owned);
    let page = collection.list(&selector, asked.number("limit")?, after.as_deref());
    let kind = format!("{}List", collection.of.kind);
    Ok(list(&collection.of.api_version(), &kind, &page, asked.is_partial()))
}

fn list(api_version: &str, kind: &str, page: &Page, is_partial: bool) -> Reply {
    let mut metadata = json!({"resourceVersion": page.version.to_string()});
    if let Some(more) = &page.more {
        metadata["continue"] = json!(more);
    }
    if is_partial {
        let items: Vec<Value> = page.items.iter().map(|object| partial(object)).collect();
        return Reply::ok(&json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata, "items": items}));
    }
    let mut body = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata}).to_string();
    // The texts of the objects go where the closing brace is.
    body.pop();
    body.push_str(",\"items\":[");
    for (nth, object) in page.items.iter().enumerate() {
        if nth > 0 {
            body.push(',');
        }
        body.push_str(object.text());
    }
    body.push_str("]}");
    Reply::bytes("application/json", body)
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// One event a line, until the watch ends.
fn streamed(watch: Watch, is_partial: bool) -> Reply {
    let (sender, lines) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        let mut watch = watch;
        loop {
            let next = tokio::select! {
                () = sender.closed() => return,
                next = watch.next() => next,
            };
            let Some(mut event) = next else { return };
            // An error is a status, whatever was asked for.
            if is_partial && event["type"] != "ERROR" {
                event["object"] = partial(&event["object"]);
            }
            // The type first, as a Go server writes it: a client need not hold the object until it knows what it is.
            let line = format!("{{\"type\":{},\"object\":{}}}\n", event["type"], event["object"]);
            if sender.send(Bytes::from(line)).await.is_err() {
                return;
            }
        }
    });
    let frames =
        tokio_stream::wrappers::ReceiverStream::new(lines).map(|line| Ok::<_, Infallible>(Frame::data(line)));
    let body = StreamBody::new(frames).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Reply(response)
}
