//! Visiting the source for a list, a few answers at a time.

use std::{fmt, ops::ControlFlow, sync::Arc};

use crate::api::{
    encode::list::{Item, ListKind, ListWriter},
    query::ListOptions,
    source::{NodeSelection, PodPlace, PodSelection, Source},
};

/// Which list.
#[derive(Clone, Debug)]
pub enum ListRequest {
    /// Nodes.
    Nodes(ListOptions),
    /// Pods of one namespace or of all.
    Pods(Option<String>, ListOptions),
}

impl ListRequest {
    /// What the list contains.
    #[must_use]
    pub fn kind(&self) -> ListKind {
        match self {
            Self::Nodes(_) => ListKind::Nodes,
            Self::Pods(..) => ListKind::Pods,
        }
    }
}

/// How far a list has come.
#[derive(Debug)]
enum Place {
    Begin,
    AfterNode(Arc<str>),
    AfterPod(PodPlace),
    Done,
}

/// A list that is being visited.
pub(super) struct Producer {
    source: Arc<dyn Source>,
    request: ListRequest,
    writer: ListWriter,
    place: Place,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("request", &self.request)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Producer {
    pub(super) fn new(source: Arc<dyn Source>, request: ListRequest, writer: ListWriter) -> Self {
        Self { source, request, writer, place: Place::Begin }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.place, Place::Done)
    }

    /// At most so many items are still to come.
    pub(super) fn at_most(&self) -> usize {
        match &self.request {
            ListRequest::Nodes(_) => 0,
            ListRequest::Pods(namespace, _) => self.source.pods_at_most(namespace.as_deref()),
        }
    }

    /// Writes until `out` has `length` bytes or a call's worth of answers was visited.
    pub(super) fn step(&mut self, out: &mut Vec<u8>, length: usize) {
        if matches!(self.place, Place::Begin) {
            self.writer.begin(out);
        }
        self.visit(|writer, item| {
            match item {
                Item::Node(answer) => writer.node(out, answer),
                Item::Pod(answer) => writer.pod(out, answer),
            }
            if out.len() >= length { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if self.is_done() {
            self.writer.end(out);
        }
    }

    /// Visits the next answers until `visit` breaks or the source has done enough for one call.
    pub(super) fn visit(&mut self, mut visit: impl FnMut(&mut ListWriter, Item<'_>) -> ControlFlow<()>) {
        let Self { source, request, writer, place } = self;
        *place = match request {
            ListRequest::Nodes(ListOptions { labels, fields }) => {
                let after = if let Place::AfterNode(name) = &*place { Some(name.as_ref()) } else { None };
                let wanted = NodeSelection { labels, fields };
                let next = source.nodes(&wanted, after, &mut |answer| visit(writer, Item::Node(answer)));
                next.map_or(Place::Done, Place::AfterNode)
            }
            ListRequest::Pods(namespace, ListOptions { labels, fields }) => {
                let after = if let Place::AfterPod(place) = &*place { Some(place) } else { None };
                let wanted = PodSelection { namespace: namespace.as_deref(), labels, fields };
                let next = source.pods(&wanted, after, &mut |answer| visit(writer, Item::Pod(answer)));
                next.map_or(Place::Done, Place::AfterPod)
            }
        };
    }

    /// The writer, for what was visited and not written.
    pub(super) fn into_writer(self) -> ListWriter {
        self.writer
    }
}
