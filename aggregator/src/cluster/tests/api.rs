//! An API server of two resources: lists, watches that go on from a version, and versions that expire.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The stand-in.
pub(super) struct FakeApi {
    pub(super) address: SocketAddr,
    pub(super) pods: Arc<Collection>,
    pub(super) nodes: Arc<Collection>,
}

/// All objects of one resource and what happened to them.
pub(super) struct Collection {
    log: watch::Sender<Log>,
    away: AtomicBool,
    pub(super) lists: AtomicUsize,
    /// The field selector of the last list.
    pub(super) fields: watch::Sender<Option<String>>,
}

#[derive(Default, Clone)]
struct Log {
    version: u64,
    /// Events up to this version are forgotten.
    compacted: u64,
    objects: BTreeMap<String, Value>,
    events: Vec<(u64, Value)>,
}

impl FakeApi {
    pub(super) async fn start() -> Self {
        let (pods, nodes) = (Collection::new(), Collection::new());
        let app = Router::new()
            .route("/api/v1/pods", get(answer).with_state(Arc::clone(&pods)))
            .route("/api/v1/nodes", get(answer).with_state(Arc::clone(&nodes)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, pods, nodes }
    }
}

impl Collection {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            log: watch::Sender::new(Log::default()),
            away: AtomicBool::new(false),
            lists: AtomicUsize::new(0),
            fields: watch::Sender::new(None),
        })
    }

    /// Adds or changes an object.
    pub(super) fn put(&self, object: Value) {
        self.log.send_modify(|log| {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let kind = if log.objects.contains_key(&name) { "MODIFIED" } else { "ADDED" };
            let object = log.happens(kind, object);
            log.objects.insert(name, object);
        });
    }

    /// Deletes an object.
    pub(super) fn delete(&self, name: &str) {
        self.log.send_modify(|log| {
            let object = log.objects.remove(name).unwrap();
            log.happens("DELETED", object);
        });
    }

    /// Deletes an object, and forgets that and everything before.
    pub(super) fn delete_unseen(&self, name: &str) {
        self.log.send_modify(|log| {
            let object = log.objects.remove(name).unwrap();
            log.happens("DELETED", object);
            log.compacted = log.version;
        });
    }

    /// Whether lists fail.
    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn list(&self) -> Value {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let log = self.log.borrow();
        json!({"kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": (log.version + 1).to_string()},
            "items": log.objects.values().collect::<Vec<_>>()})
    }

    /// Events after `version`, one line each, until they are forgotten.
    fn watch(&self, version: u64) -> Body {
        let log = self.log.subscribe();
        let lines = stream::unfold(Some((log, version)), |position| async move {
            let (mut log, version) = position?;
            let next = log.wait_for(|log| log.after(version).is_some()).await.ok()?;
            let (line, version) = next.after(version)?;
            drop(next);
            let line = Bytes::from(format!("{line}\n"));
            Some((Ok::<_, Infallible>(line), version.map(|version| (log, version))))
        });
        Body::from_stream(lines)
    }
}

impl Log {
    fn happens(&mut self, kind: &str, mut object: Value) -> Value {
        // Version 0 would mean any.
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!((self.version + 1).to_string());
        self.events.push((self.version, json!({"type": kind, "object": object.clone()})));
        object
    }

    /// The event after a version and its own version; none after the error that ends the watch.
    fn after(&self, version: u64) -> Option<(Value, Option<u64>)> {
        if version < self.compacted {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410});
            return Some((json!({"type": "ERROR", "object": status}), None));
        }
        let (version, event) = self.events.iter().find(|(at, _)| *at > version)?;
        Some((event.clone(), Some(*version)))
    }
}

async fn answer(
    State(collection): State<Arc<Collection>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if collection.away.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if query.get("watch").is_some_and(|watch| watch == "true") {
        let version: u64 = query["resourceVersion"].parse().unwrap();
        return collection.watch(version - 1).into_response();
    }
    collection.fields.send_replace(query.get("fieldSelector").cloned());
    collection.list().to_string().into_response()
}
