//! The objects of one resource and what happened to them: lists, watches that go on from a version, bookmarks,
//! and versions that expire.

use std::{
    collections::BTreeMap,
    ops::{Bound, Deref},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{kinds::Resource, selector::Selector};

/// Namespace (empty without one) and name.
type Key = (String, String);

/// All objects of one resource.
#[derive(Debug)]
pub(crate) struct Collection {
    /// Which resource.
    pub(crate) of: Resource,
    log: watch::Sender<Log>,
    /// Counts over all resources, as etcd's revision does.
    versions: Arc<AtomicU64>,
    lists: AtomicUsize,
}

#[derive(Debug, Default)]
struct Log {
    objects: BTreeMap<Key, Arc<Object>>,
    events: Vec<Event>,
    /// Watches cannot begin before this version.
    compacted: u64,
    /// The last event that was forgotten: an open watch that has not seen it cannot go on.
    forgotten: u64,
    /// How many bookmarks were asked for.
    bookmarks: u64,
    /// How often all watches were ended.
    endings: u64,
}

#[derive(Debug)]
struct Event {
    version: u64,
    before: Option<Arc<Object>>,
    after: Option<Arc<Object>>,
}

/// An object as it was put. Written once, however often it is listed: a bench's cluster has very many.
#[derive(Debug)]
pub(crate) struct Object {
    value: Value,
    text: OnceLock<String>,
}

impl Object {
    pub(super) fn new(value: Value) -> Arc<Self> {
        Arc::new(Self { value, text: OnceLock::new() })
    }

    /// As JSON.
    pub(super) fn text(&self) -> &str {
        self.text.get_or_init(|| self.value.to_string())
    }
}

impl Deref for Object {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Object>>,
    pub(crate) version: u64,
    /// After which key the next page begins, when there is one.
    pub(crate) more: Option<String>,
}

impl Collection {
    pub(super) fn new(of: Resource, versions: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { of, log: watch::Sender::default(), versions, lists: AtomicUsize::new(0) })
    }

    /// Adds or changes an object.
    pub(crate) fn put(&self, object: Value) {
        self.log.send_modify(|log| {
            let version = self.next_version();
            let (key, object) = (key(&object), Object::new(versioned(object, &version.to_string())));
            let before = log.objects.insert(key, Arc::clone(&object));
            log.events.push(Event { version, before, after: Some(object) });
        });
    }

    /// Changes an object that is there.
    pub(crate) fn change(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(namespace, name).expect("the object is there");
        change(&mut object);
        self.put(object);
    }

    /// Decides at one moment what becomes of an object: `None` leaves things as they are, and so does what equals what
    /// is there, whose version then stays.
    pub(super) fn write<T>(
        &self,
        namespace: &str,
        name: &str,
        decide: impl FnOnce(Option<&Value>) -> (T, Option<Value>),
    ) -> (T, Option<Value>) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut outcome = None;
        self.log.send_modify(|log| {
            let before = log.objects.get(&key).map(Arc::clone);
            let (told, after) = decide(before.as_deref().map(Deref::deref));
            let Some(after) = after else {
                outcome = Some((told, None));
                return;
            };
            let old = before.as_ref().and_then(|before| before["metadata"]["resourceVersion"].as_str());
            let same = old.map(|old| versioned(after.clone(), old));
            if same.is_some() && same.as_ref() == before.as_deref().map(Deref::deref) {
                outcome = Some((told, same));
                return;
            }
            let version = self.next_version();
            let after = Object::new(versioned(after, &version.to_string()));
            log.objects.insert(key, Arc::clone(&after));
            outcome = Some((told, Some(after.value.clone())));
            log.events.push(Event { version, before, after: Some(after) });
        });
        outcome.expect("it was decided")
    }

    /// Deletes an object that may be there.
    pub(super) fn take(&self, namespace: &str, name: &str) -> Option<Value> {
        let mut taken = None;
        self.log.send_modify(|log| {
            let key = (namespace.to_owned(), name.to_owned());
            taken = log.objects.get(&key).map(|object| object.value.clone());
            if taken.is_some() {
                self.remove(log, namespace, name);
            }
        });
        taken
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, namespace: &str, name: &str) {
        self.log.send_modify(|log| self.remove(log, namespace, name));
    }

    /// Ends all watches, deletes an object, and forgets that and everything before, all at one moment: whoever
    /// goes on from where it was is told 410.
    pub(crate) fn delete_unseen(&self, namespace: &str, name: &str) {
        self.log.send_modify(|log| {
            log.endings += 1;
            self.remove(log, namespace, name);
            self.forget(log);
        });
    }

    fn remove(&self, log: &mut Log, namespace: &str, name: &str) {
        let before = log.objects.remove(&(namespace.to_owned(), name.to_owned()));
        let before = before.expect("the object is there");
        log.events.push(Event { version: self.next_version(), before: Some(before), after: None });
    }

    fn forget(&self, log: &mut Log) {
        log.forgotten = log.events.last().map_or(log.forgotten, |event| event.version);
        log.events.clear();
        log.compacted = self.versions.load(Ordering::SeqCst);
    }

    /// Forgets what happened until now: a watch from an earlier version is told 410.
    pub(crate) fn compact(&self) {
        self.log.send_modify(|log| self.forget(log));
    }

    /// Ends all watches, as an API server does from time to time.
    pub(crate) fn end_watches(&self) {
        self.log.send_modify(|log| log.endings += 1);
    }

    /// Sends a bookmark to all watches that want them.
    pub(crate) fn bookmark(&self) {
        self.log.send_modify(|log| log.bookmarks += 1);
    }

    /// How many first pages were asked for.
    pub(crate) fn lists(&self) -> usize {
        self.lists.load(Ordering::Relaxed)
    }

    /// How many watches are open.
    pub(crate) fn watches(&self) -> usize {
        self.log.receiver_count()
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Value> {
        let log = self.log.borrow();
        log.objects.get(&(namespace.to_owned(), name.to_owned())).map(|object| object.value.clone())
    }

    /// The namespaces that objects are in.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let log = self.log.borrow();
        let mut names: Vec<String> = log.objects.keys().map(|(namespace, _)| namespace.clone()).collect();
        names.dedup();
        names
    }

    /// Objects in order of namespace and name.
    pub(super) fn list(&self, selector: &Selector, limit: Option<usize>, after: Option<&str>) -> Page {
        if after.is_none() {
            self.lists.fetch_add(1, Ordering::Relaxed);
        }
        let log = self.log.borrow();
        let version = self.versions.load(Ordering::SeqCst);
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(key_at(after)));
        let chosen =
            log.objects.range((from, Bound::Unbounded)).filter(|(_, object)| selector.matches(object));
        // One more than asked for shows whether there is a next page; the rest is not looked at.
        let limit = limit.filter(|&limit| limit > 0);
        let mut chosen: Vec<_> =
            chosen.take(limit.map_or(usize::MAX, |limit| limit.saturating_add(1))).collect();
        let mut more = None;
        if let Some(limit) = limit.filter(|&limit| limit < chosen.len()) {
            chosen.truncate(limit);
            more = chosen.last().map(|(key, _)| position(key));
        }
        Page { items: chosen.into_iter().map(|(_, object)| Arc::clone(object)).collect(), version, more }
    }

    /// What happens after `version`; from the present state on without one.
    pub(super) fn watch(&self, selector: Selector, wanted: &WatchWanted) -> Watch {
        let log = self.log.subscribe();
        let (mut initial, present, seen) = (Vec::new(), self.versions.load(Ordering::SeqCst), log.borrow());
        if wanted.version.is_none() {
            let chosen = seen.objects.values().filter(|object| selector.matches(object));
            initial = chosen.rev().map(|object| event("ADDED", &self.of.whole(object))).collect();
        }
        let (endings, bookmarks) = (seen.endings, seen.bookmarks);
        drop(seen);
        Watch {
            of: self.of,
            selector,
            initial,
            position: wanted.version.unwrap_or(present),
            has_begun: false,
            is_over: false,
            bookmarks: wanted.bookmarks.then_some(bookmarks),
            endings,
            deadline: Instant::now() + wanted.timeout,
            versions: Arc::clone(&self.versions),
            log,
        }
    }

    fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// With its kind, as outside of lists.
    pub(super) fn whole(&self, object: &Value) -> Value {
        self.of.whole(object)
    }
}

/// What a watch is asked for.
#[derive(Debug)]
pub(super) struct WatchWanted {
    pub(super) version: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) timeout: Duration,
}

/// One open watch.
#[derive(Debug)]
pub(super) struct Watch {
    of: Resource,
    selector: Selector,
    /// What is there at the start, last first.
    initial: Vec<Value>,
    position: u64,
    has_begun: bool,
    is_over: bool,
    /// How many were asked for so far, when this watch wants them.
    bookmarks: Option<u64>,
    endings: u64,
    deadline: Instant,
    versions: Arc<AtomicU64>,
    log: watch::Receiver<Log>,
}

/// What a look at the log found.
enum Found {
    Event(Value),
    /// Nothing that this watch wants; look again.
    Skipped,
    Nothing,
    End,
}

impl Watch {
    /// The next event; none at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        if let Some(event) = self.initial.pop() {
            return Some(event);
        }
        loop {
            match self.look() {
                Found::Event(event) => return Some(event),
                Found::Skipped => {}
                Found::End => return None,
                Found::Nothing => tokio::select! {
                    changed = self.log.changed() => changed.ok()?,
                    () = sleep_until(self.deadline) => return self.last(),
                },
            }
        }
    }

    fn look(&mut self) -> Found {
        let log = self.log.borrow_and_update();
        if self.is_over || log.endings != self.endings {
            return Found::End;
        }
        let floor = if self.has_begun { log.forgotten } else { log.compacted };
        self.has_begun = true;
        if self.position < floor {
            self.is_over = true;
            return Found::Event(expired());
        }
        let next = log.events.partition_point(|event| event.version <= self.position);
        if let Some(happened) = log.events.get(next) {
            self.position = happened.version;
            let event = self.selector.event(self.of, happened);
            return event.map_or(Found::Skipped, Found::Event);
        }
        if self.bookmarks.is_some_and(|seen| seen < log.bookmarks) {
            self.bookmarks = Some(log.bookmarks);
            self.position = self.versions.load(Ordering::SeqCst);
            return Found::Event(bookmark(self.of, self.position));
        }
        Found::Nothing
    }

    /// A watch that ends in good order says how far it was.
    fn last(&mut self) -> Option<Value> {
        self.is_over = true;
        self.bookmarks?;
        Some(bookmark(self.of, self.position))
    }
}

impl Selector {
    /// What a change is to somebody who sees only what is selected.
    fn event(&self, of: Resource, happened: &Event) -> Option<Value> {
        let selected = |object: &Option<Arc<Object>>| object.clone().filter(|object| self.matches(object));
        match (selected(&happened.before), selected(&happened.after)) {
            (None, None) => None,
            (None, Some(after)) => Some(event("ADDED", &of.whole(&after))),
            (Some(_), Some(after)) => Some(event("MODIFIED", &of.whole(&after))),
            // The last state that was selected, with the version of its end.
            (Some(before), None) => {
                let last = versioned(before.value.clone(), &happened.version.to_string());
                Some(event("DELETED", &of.whole(&last)))
            }
        }
    }
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(of: Resource, version: u64) -> Value {
    let object = json!({"metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null}});
    event("BOOKMARK", &of.whole(&object))
}

fn expired() -> Value {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410});
    event("ERROR", &status)
}

fn versioned(mut object: Value, version: &str) -> Value {
    object["metadata"]["resourceVersion"] = json!(version);
    object
}

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// A key as part of a `continue` token.
fn position((namespace, name): &Key) -> String {
    format!("{namespace}/{name}")
}

fn key_at(position: &str) -> Key {
    let (namespace, name) = position.split_once('/').unwrap_or((position, ""));
    (namespace.to_owned(), name.to_owned())
}
