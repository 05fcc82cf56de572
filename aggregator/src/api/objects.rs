//! Nodes and pods with their numbers: gets and lists.

use std::ops::ControlFlow;

use kubevitals::sample::WallTime;

use super::{
    call::{Call, Encoding},
    encode::json::{self, List},
    query::ListOptions,
    route::{GROUP, Objects, Version},
    select::Field,
    source::{Lookup, NodeSelection, PodSelection, Source},
    status::ApiError,
};

/// An encoded document and how it was asked for.
#[derive(Debug)]
pub struct Encoded {
    /// How to present it.
    pub encoding: Encoding,
    /// Compact JSON.
    pub body: Vec<u8>,
}

/// A request for objects that was understood; nothing of it is read again.
#[derive(Debug)]
pub struct Read {
    version: Version,
    encoding: Encoding,
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
    /// Checks what a call asks. A single object ignores all parameters, as everywhere in Kubernetes.
    pub fn new(version: Version, objects: Objects, call: &Call) -> Result<Self, ApiError> {
        let encoding = call.encoding()?;
        let resource = objects.resource();
        let list = |fields| call.list_options(GROUP, resource, fields);
        let wanted = match objects {
            Objects::Node(name) => Wanted::Node(name),
            Objects::Pod { namespace, name } => Wanted::Pod { namespace, name },
            Objects::Nodes => Wanted::Nodes(list(Field::OF_NODES)?),
            Objects::Pods(namespace) => Wanted::Pods(namespace, list(Field::OF_PODS)?),
        };
        Ok(Self { version, encoding, wanted })
    }

    /// Asks the source and encodes. May take many milliseconds for a list of everything.
    pub fn answer(self, source: &dyn Source, now: WallTime) -> Result<Encoded, ApiError> {
        let Self { version, encoding, wanted } = self;
        let body = match wanted {
            Wanted::Node(name) => match source.node(&name) {
                Lookup::Found(node) => json::node(version, now, &node),
                Lookup::NoSample => return Err(ApiError::no_sample("nodemetrics", name)),
                Lookup::Unknown => return Err(ApiError::unknown("nodes", &name)),
            },
            Wanted::Pod { namespace, name } => match source.pod(&namespace, &name) {
                Lookup::Found(pod) => json::pod(version, now, &pod),
                Lookup::NoSample => {
                    return Err(ApiError::no_sample("podmetrics", format!("{namespace}/{name}")));
                }
                Lookup::Unknown => return Err(ApiError::unknown("pods", &name)),
            },
            Wanted::Nodes(options) => {
                let mut list = List::nodes(version, now);
                let wanted = NodeSelection { labels: &options.labels, fields: &options.fields };
                source.nodes(&wanted, None, &mut |node| {
                    list.node(node);
                    ControlFlow::Continue(())
                });
                list.finish()
            }
            Wanted::Pods(namespace, options) => {
                let mut list = List::pods(version, now);
                let ListOptions { labels, fields } = &options;
                let wanted = PodSelection { namespace: namespace.as_deref(), labels, fields };
                let mut after = None;
                while let Some(place) = source.pods(&wanted, after.as_ref(), &mut |pod| {
                    list.pod(pod);
                    ControlFlow::Continue(())
                }) {
                    after = Some(place);
                }
                list.finish()
            }
        };
        Ok(Encoded { encoding, body })
    }
}
