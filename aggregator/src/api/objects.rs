//! Nodes and pods with their numbers: gets and lists.

use std::ops::ControlFlow;

use kubevitals::sample::WallTime;

use super::{
    call::Call,
    encode::{
        envelope,
        format::{Encoding, Format, Partial},
        list::{self, Item, ListKind, ListWriter},
        table::IncludeObject,
    },
    negotiate::NotAcceptable,
    query::ListOptions,
    route::{GROUP, Objects, Version},
    select::Field,
    source::{Lookup, NodeSelection, PodSelection, Source},
    status::ApiError,
};

/// An encoded document.
#[derive(Debug)]
pub struct Encoded {
    /// How it is encoded.
    pub encoding: Encoding,
    /// The body.
    pub body: Vec<u8>,
}

/// A request for objects that was understood; nothing of it is read again.
#[derive(Debug)]
pub struct Read {
    version: Version,
    format: Format,
    include: IncludeObject,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    Node(String),
    Nodes(ListOptions),
    Pod { namespace: String, name: String },
    Pods(Option<String>, ListOptions),
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
            Objects::Nodes => Wanted::Nodes(list(Field::OF_NODES)?),
            Objects::Pods(namespace) => Wanted::Pods(namespace, list(Field::OF_PODS)?),
        };
        check_partial(format, &wanted)?;
        let include = match format {
            Format::Table(..) => IncludeObject::parse(call.query.get("includeObject").unwrap_or_default())?,
            Format::Object(_) | Format::Partial(..) => IncludeObject::default(),
        };
        Ok(Self { version, format, include, wanted })
    }

    /// Asks the source and encodes. May take many milliseconds for a list of everything.
    pub fn answer(self, source: &dyn Source, now: WallTime) -> Result<Encoded, ApiError> {
        let Self { version, format, include, wanted } = self;
        let writer = |kind| ListWriter::new(kind, version, format, include, now);
        let one = |item: Item<'_>| list::one(item, version, format, include, now);
        let body = match wanted {
            Wanted::Node(name) => match source.node(&name) {
                Lookup::Found(node) => one(Item::Node(&node)),
                Lookup::NoSample => return Err(ApiError::no_sample("nodemetrics", name)),
                Lookup::Unknown => return Err(ApiError::unknown("nodes", &name)),
            },
            Wanted::Pod { namespace, name } => match source.pod(&namespace, &name) {
                Lookup::Found(pod) => one(Item::Pod(&pod)),
                Lookup::NoSample => {
                    return Err(ApiError::no_sample("podmetrics", format!("{namespace}/{name}")));
                }
                Lookup::Unknown => return Err(ApiError::unknown("pods", &name)),
            },
            Wanted::Nodes(ListOptions { labels, fields }) => body(writer(ListKind::Nodes), |list, out| {
                let wanted = NodeSelection { labels: &labels, fields: &fields };
                source.nodes(&wanted, None, &mut |node| {
                    list.node(out, node);
                    ControlFlow::Continue(())
                });
            }),
            Wanted::Pods(namespace, ListOptions { labels, fields }) => {
                body(writer(ListKind::Pods), |list, out| {
                    let wanted =
                        PodSelection { namespace: namespace.as_deref(), labels: &labels, fields: &fields };
                    let mut after = None;
                    while let Some(place) = source.pods(&wanted, after.as_ref(), &mut |pod| {
                        list.pod(out, pod);
                        ControlFlow::Continue(())
                    }) {
                        after = Some(place);
                    }
                })
            }
        };
        Ok(Encoded { encoding: format.encoding(), body })
    }
}

/// The whole body of a list whose items `write` appends.
fn body(mut list: ListWriter, write: impl FnOnce(&mut ListWriter, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    list.begin(&mut out);
    write(&mut list, &mut out);
    list.end(&mut out);
    if list.frame_len().is_none() {
        return out;
    }
    envelope::envelope(list.type_meta().api_version, list.type_meta().kind, &out)
}

/// Metadata of one object cannot be made of a list, nor a list of one object.
fn check_partial(format: Format, wanted: &Wanted) -> Result<(), NotAcceptable> {
    let Format::Partial(_, partial, _) = format else {
        return Ok(());
    };
    match (partial, wanted) {
        (Partial::One, Wanted::Nodes(_)) => Err(NotAcceptable::IsList(ListKind::Nodes.list())),
        (Partial::One, Wanted::Pods(..)) => Err(NotAcceptable::IsList(ListKind::Pods.list())),
        (Partial::List, Wanted::Node(_)) => Err(NotAcceptable::IsNoList(ListKind::Nodes.object())),
        (Partial::List, Wanted::Pod { .. }) => Err(NotAcceptable::IsNoList(ListKind::Pods.object())),
        (Partial::One | Partial::List, _) => Ok(()),
    }
}
