//! Nodes and pods as JSON, without a tree in between: fixed parts are constants, the rest is appended in order.

use kubevitals::sample::WallTime;

use super::string;
use crate::api::{
    encode::{
        item::{Body, Item, Shape, TypeMeta},
        repeated::Repeated,
        table::{self, COLUMNS, IncludeObject},
    },
    quantity::{write_cpu, write_memory},
    source::{Labels, PodAnswer, Usage},
    time::{write_duration, write_rfc3339},
};

/// Writes objects of one shape, compactly.
#[derive(Debug)]
pub(crate) struct JsonWriter {
    shape: Shape,
    /// The member of every object's metadata that is the same for all.
    created: Vec<u8>,
    repeated: Repeated,
    /// Whether nothing came after the list's beginning yet.
    empty: bool,
}

impl JsonWriter {
    /// `now` becomes the creation time of every object, as other metrics servers have it.
    pub(crate) fn new(shape: Shape, now: WallTime) -> Self {
        let mut created = br#","creationTimestamp":""#.to_vec();
        write_rfc3339(&mut created, now);
        created.push(b'"');
        Self { shape, created, repeated: Repeated::default(), empty: true }
    }

    /// The beginning of a list.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        type_meta(out, self.shape.list());
        out.extend_from_slice(br#","metadata":{}"#);
        if !matches!(self.shape.body, Body::Table(..)) {
            out.extend_from_slice(br#","items":["#);
        }
    }

    /// The next item of a list.
    pub(crate) fn item(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        let first = std::mem::replace(&mut self.empty, false);
        if !first {
            out.push(b',');
        }
        match self.shape.body {
            Body::Object => {
                out.push(b'{');
                self.fields(out, item);
                out.push(b'}');
            }
            Body::Table(_, include) => {
                if first {
                    columns(out);
                    out.extend_from_slice(br#","rows":["#);
                }
                self.row(out, item, include);
            }
            Body::Partial(_) => self.partial(out, item),
        }
    }

    /// The end of a list. A table without rows has no columns either.
    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        let end: &[u8] = match self.shape.body {
            Body::Table(..) if self.empty => b",\"columnDefinitions\":null,\"rows\":null}\n",
            _ => b"]}\n",
        };
        out.extend_from_slice(end);
    }

    /// A document with one object.
    pub(crate) fn one(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        match self.shape.body {
            Body::Object => self.object(out, item),
            Body::Partial(_) => self.partial(out, item),
            Body::Table(..) => {
                self.begin(out);
                self.item(out, item);
                return self.end(out);
            }
        }
        out.push(b'\n');
    }

    fn object(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        type_meta(out, self.shape.object());
        out.push(b',');
        self.fields(out, item);
        out.push(b'}');
    }

    fn partial(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        type_meta(out, self.shape.partial());
        out.push(b',');
        self.metadata(out, item);
        out.push(b'}');
    }

    fn row(&mut self, out: &mut Vec<u8>, item: Item<'_>, include: IncludeObject) {
        out.extend_from_slice(br#"{"cells":["#);
        string(out, item.name());
        table::cells(item, |cell| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(cell);
            out.push(b'"');
        });
        out.extend_from_slice(br#"],"object":"#);
        match include {
            IncludeObject::Metadata => self.partial(out, item),
            IncludeObject::Object => self.object(out, item),
            IncludeObject::None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }

    /// Everything after `kind` and `apiVersion`.
    fn fields(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        self.metadata(out, item);
        out.extend_from_slice(br#","timestamp":""#);
        write_rfc3339(out, item.timestamp());
        out.extend_from_slice(br#"","window":""#);
        write_duration(out, item.window());
        match item {
            Item::Node(node) => {
                out.extend_from_slice(br#"","#);
                usage(out, node.usage);
            }
            Item::Pod(pod) => {
                out.extend_from_slice(br#"","containers":["#);
                containers(out, pod);
                out.push(b']');
            }
        }
    }

    fn metadata(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        out.extend_from_slice(br#""metadata":{"name":"#);
        string(out, item.name());
        let created = &self.created;
        out.extend_from_slice(self.repeated.of(item, |out| {
            if let Some(namespace) = item.namespace() {
                out.extend_from_slice(br#","namespace":"#);
                string(out, namespace);
            }
            out.extend_from_slice(created);
            if !item.labels().is_empty() {
                labels(out, item.labels());
            }
            out.push(b'}');
        }));
    }
}

/// Opens an object.
fn type_meta(out: &mut Vec<u8>, TypeMeta { api_version, kind }: TypeMeta) {
    out.extend_from_slice(br#"{"kind":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","apiVersion":""#);
    out.extend_from_slice(api_version.as_bytes());
    out.push(b'"');
}

fn columns(out: &mut Vec<u8>) {
    let mut before: &[u8] = br#","columnDefinitions":[{"name":"#;
    for column in COLUMNS {
        out.extend_from_slice(before);
        string(out, column.name);
        out.extend_from_slice(br#","type":"string","format":"#);
        string(out, column.format);
        out.extend_from_slice(br#","description":"#);
        string(out, column.description);
        out.extend_from_slice(br#","priority":0}"#);
        before = br#",{"name":"#;
    }
    out.push(b']');
}

fn labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut before: &[u8] = br#","labels":{"#;
    for (key, value) in labels.iter() {
        out.extend_from_slice(before);
        string(out, key);
        out.push(b':');
        string(out, value);
        before = b",";
    }
    out.push(b'}');
}

fn containers(out: &mut Vec<u8>, pod: &PodAnswer) {
    let mut before: &[u8] = br#"{"name":"#;
    for (name, used) in pod.containers() {
        out.extend_from_slice(before);
        string(out, name);
        out.push(b',');
        usage(out, used);
        out.push(b'}');
        before = br#",{"name":"#;
    }
}

fn usage(out: &mut Vec<u8>, usage: Usage) {
    out.extend_from_slice(br#""usage":{"cpu":""#);
    write_cpu(out, usage.cpu_nanocores);
    out.extend_from_slice(br#"","memory":""#);
    write_memory(out, usage.memory_bytes);
    out.extend_from_slice(br#""}"#);
}
