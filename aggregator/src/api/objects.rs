//! Nodes and pods with their numbers: gets and lists.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use kubevitals::sample::WallTime;
use tokio::time::Instant;

use super::{
    call::Call,
    encode::{
        format::{Format, Partial},
        list::{self, Item, ListKind, ListWriter},
        table::IncludeObject,
    },
    gzip,
    negotiate::NotAcceptable,
    reply,
    route::{GROUP, Objects, Version},
    select::Field,
    source::{Lookup, Source},
    status::ApiError,
    stream::{self, Budget, ListRequest},
};

/// A request for objects that was understood; nothing of it is read again.
#[derive(Debug)]
pub struct Read {
    version: Version,
    format: Format,
    include: IncludeObject,
    gzip: bool,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    Node(String),
    Pod { namespace: String, name: String },
    List(ListRequest),
}

impl Read {
    /// Checks what a call asks. A single object ignores all parameters but those of tables, as everywhere in
    /// Kubernetes.
    pub fn new(version: Version, objects: Objects, call: &Call) -> Result<Self, ApiError> {
        let format = call.format()?;
        let resource = objects.resource();
        let list = |fields| call.list_options(GROUP, resource, fields);
        let wanted = match objects {
            Objects::Node(name) => Wanted::Node(name),
            Objects::Pod { namespace, name } => Wanted::Pod { namespace, name },
            Objects::Nodes => Wanted::List(ListRequest::Nodes(list(Field::OF_NODES)?)),
            Objects::Pods(namespace) => Wanted::List(ListRequest::Pods(namespace, list(Field::OF_PODS)?)),
        };
        check_partial(format, &wanted)?;
        let include = match format {
            Format::Table(..) => IncludeObject::parse(call.query.get("includeObject").unwrap_or_default())?,
            Format::Object(_) | Format::Partial(..) => IncludeObject::default(),
        };
        let gzip = gzip::is_accepted(&call.headers);
        Ok(Self { version, format, include, gzip, wanted })
    }

    /// Asks the source and encodes: an object as a whole, a list at the pace of its reader until `deadline`.
    pub async fn answer(
        self,
        source: &Arc<dyn Source>,
        now: WallTime,
        lists: &Budget,
        deadline: Instant,
    ) -> Result<Response, ApiError> {
        let Self { version, format, include, gzip, wanted } = self;
        let one = |item: Item<'_>| {
            reply::encoded(StatusCode::OK, format.encoding(), list::one(item, version, format, include, now))
        };
        match wanted {
            Wanted::Node(name) => match source.node(&name) {
                Lookup::Found(node) => Ok(one(Item::Node(&node))),
                Lookup::NoSample => Err(ApiError::no_sample("nodemetrics", name)),
                Lookup::Unknown => Err(ApiError::unknown("nodes", &name)),
            },
            Wanted::Pod { namespace, name } => match source.pod(&namespace, &name) {
                Lookup::Found(pod) => Ok(one(Item::Pod(&pod))),
                Lookup::NoSample => Err(ApiError::no_sample("podmetrics", format!("{namespace}/{name}"))),
                Lookup::Unknown => Err(ApiError::unknown("pods", &name)),
            },
            Wanted::List(request) => {
                let writer = ListWriter::new(request.kind(), version, format, include, now);
                let list = stream::list(Arc::clone(source), request, writer, gzip, lists, deadline).await;
                let Ok(list) = list else { return Ok(reply::too_many()) };
                if list.length.is_none() && Instant::now() >= deadline {
                    // Better no answer than one that breaks off at once.
                    return Err(ApiError::Timeout);
                }
                Ok(reply::list(format.encoding(), list))
            }
        }
    }
}

/// Metadata of one object cannot be made of a list, nor a list of one object.
fn check_partial(format: Format, wanted: &Wanted) -> Result<(), NotAcceptable> {
    let Format::Partial(_, partial, _) = format else {
        return Ok(());
    };
    match (partial, wanted) {
        (Partial::One, Wanted::List(request)) => Err(NotAcceptable::IsList(request.kind().list())),
        (Partial::List, Wanted::Node(_)) => Err(NotAcceptable::IsNoList(ListKind::Nodes.object())),
        (Partial::List, Wanted::Pod { .. }) => Err(NotAcceptable::IsNoList(ListKind::Pods.object())),
        (Partial::One | Partial::List, _) => Ok(()),
    }
}
