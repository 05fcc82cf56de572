//! Nodes and pods as YAML, without a tree in between, item by item.

use kubevitals::sample::WallTime;

use super::{Lines, sort_by_key};
use crate::api::{
    encode::{
        item::{Body, Item, Shape, TypeMeta},
        table::{self, COLUMNS, IncludeObject},
    },
    quantity::{write_cpu, write_memory},
    source::{Labels, PodAnswer, Usage},
    time::{write_duration, write_rfc3339},
};

/// Writes objects of one shape.
#[derive(Debug)]
pub(crate) struct YamlWriter {
    shape: Shape,
    created: String,
    /// Whether nothing came after the list's beginning yet.
    empty: bool,
}

impl YamlWriter {
    /// `now` becomes the creation time of every object, as other metrics servers have it.
    pub(crate) fn new(shape: Shape, now: WallTime) -> Self {
        Self { shape, created: text(|out| write_rfc3339(out, now)), empty: true }
    }

    /// The beginning of a list.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        let mut lines = Lines::new(out, 0);
        lines.member("apiVersion", self.shape.list().api_version);
        // What follows on this line depends on whether there is an item.
        lines.known(if self.is_table() { "columnDefinitions" } else { "items" });
    }

    fn is_table(&self) -> bool {
        matches!(self.shape.body, Body::Table(..))
    }

    /// The next item of a list.
    pub(crate) fn item(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        let mut lines = Lines::new(out, 0);
        if std::mem::replace(&mut self.empty, false) {
            lines.end();
            if self.is_table() {
                columns(&mut lines);
                self.kind_and_metadata(&mut lines);
                lines.known("rows");
                lines.end();
            }
        }
        lines.item(|lines| match self.shape.body {
            Body::Object => self.object(lines, item, None),
            Body::Partial(_) => self.partial(lines, item),
            Body::Table(_, include) => self.row(lines, item, include),
        });
    }

    /// The end of a list. A table without rows has no columns either.
    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        let mut lines = Lines::new(out, 0);
        match (self.is_table(), self.empty) {
            (true, false) => {}
            (true, true) => {
                lines.raw(b" null\n");
                self.kind_and_metadata(&mut lines);
                lines.raw(b"rows: null\n");
            }
            (false, empty) => {
                if empty {
                    lines.raw(b" []\n");
                }
                self.kind_and_metadata(&mut lines);
            }
        }
    }

    fn kind_and_metadata(&self, lines: &mut Lines<'_>) {
        lines.member("kind", self.shape.list().kind);
        lines.raw(b"metadata: {}\n");
    }

    /// A document with one object.
    pub(crate) fn one(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        match self.shape.body {
            Body::Object => self.object(&mut Lines::new(out, 0), item, Some(self.shape.object())),
            Body::Partial(_) => self.partial(&mut Lines::new(out, 0), item),
            Body::Table(..) => {
                self.begin(out);
                self.item(out, item);
                self.end(out);
            }
        }
    }

    /// An object; within a list it has no `apiVersion` and `kind`.
    fn object(&self, lines: &mut Lines<'_>, item: Item<'_>, type_meta: Option<TypeMeta>) {
        if let Some(type_meta) = type_meta {
            lines.member("apiVersion", type_meta.api_version);
        }
        if let Item::Pod(pod) = item {
            containers(lines, pod);
        }
        if let Some(type_meta) = type_meta {
            lines.member("kind", type_meta.kind);
        }
        self.metadata(lines, item);
        lines.member("timestamp", &text(|out| write_rfc3339(out, item.timestamp())));
        if let Item::Node(node) = item {
            usage(lines, node.usage);
        }
        lines.member("window", &text(|out| write_duration(out, item.window())));
    }

    fn partial(&self, lines: &mut Lines<'_>, item: Item<'_>) {
        let TypeMeta { api_version, kind } = self.shape.partial();
        lines.member("apiVersion", api_version);
        lines.member("kind", kind);
        self.metadata(lines, item);
    }

    fn row(&self, lines: &mut Lines<'_>, item: Item<'_>, include: IncludeObject) {
        lines.known("cells");
        lines.nest(0, |lines| {
            lines.cell(item.name());
            table::cells(item, |cell| lines.cell(&String::from_utf8_lossy(cell)));
        });
        lines.known("object");
        match include {
            IncludeObject::Metadata => lines.nest(2, |lines| self.partial(lines, item)),
            IncludeObject::Object => {
                lines.nest(2, |lines| self.object(lines, item, Some(self.shape.object())));
            }
            IncludeObject::None => lines.raw(b" null\n"),
        }
    }

    fn metadata(&self, lines: &mut Lines<'_>, item: Item<'_>) {
        lines.known("metadata");
        lines.nest(2, |lines| {
            lines.member("creationTimestamp", &self.created);
            if !item.labels().is_empty() {
                lines.known("labels");
                lines.nest(2, |lines| labels(lines, item.labels()));
            }
            lines.member("name", item.name());
            if let Some(namespace) = item.namespace() {
                lines.member("namespace", namespace);
            }
        });
    }
}

impl Lines<'_> {
    fn cell(&mut self, cell: &str) {
        self.start_item();
        self.text(cell);
        self.end();
    }
}

fn columns(lines: &mut Lines<'_>) {
    for column in COLUMNS {
        lines.item(|lines| {
            lines.member("description", column.description);
            lines.member("format", column.format);
            lines.member("name", column.name);
            lines.known("priority");
            lines.raw(b" 0\n");
            lines.member("type", "string");
        });
    }
}

fn labels(lines: &mut Lines<'_>, labels: &Labels) {
    for (key, value) in sort_by_key(labels.iter().collect(), &|label| label.0) {
        lines.key(key);
        lines.blank();
        lines.text(value);
        lines.end();
    }
}

fn containers(lines: &mut Lines<'_>, pod: &PodAnswer) {
    lines.known("containers");
    if pod.usages.is_empty() {
        return lines.raw(b" []\n");
    }
    lines.nest(0, |lines| {
        for (name, used) in pod.containers() {
            lines.item(|lines| {
                lines.member("name", name);
                usage(lines, used);
            });
        }
    });
}

fn usage(lines: &mut Lines<'_>, usage: Usage) {
    lines.known("usage");
    lines.nest(2, |lines| {
        lines.member("cpu", &text(|out| write_cpu(out, usage.cpu_nanocores)));
        lines.member("memory", &text(|out| write_memory(out, usage.memory_bytes)));
    });
}

/// What a writer of quantities or times wrote.
fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}
