//! Objects in whatever form a client asked for: one by itself, or a list that grows item by item.
//!
//! A list never exists as a whole here: each call appends the bytes that came to be final, and the caller sends or
//! keeps them. A protobuf body stands in an envelope that begins with its length, so its lengths can be asked for
//! before anything is written.

use kubevitals::sample::WallTime;

pub use super::item::{Item, ListKind, TypeMeta};
use super::{
    envelope,
    format::{Encoding, Format, Text},
    item::Shape,
    json::{indent::Indenter, objects::JsonWriter},
    protobuf::ProtobufWriter,
    table::IncludeObject,
    yaml::objects::YamlWriter,
};
use crate::api::{
    route::Version,
    source::{NodeAnswer, PodAnswer},
};

/// Writes one list: [`begin`](Self::begin), then each item, then [`end`](Self::end).
///
/// Every call appends finished bytes to `out`, which the caller may empty between calls. In protobuf they are those
/// of the list message alone; [`envelope::open`] with [`type_meta`](Self::type_meta) and the sum of the lengths goes
/// before them and [`envelope::TAIL`] after them.
#[derive(Debug)]
pub struct ListWriter {
    shape: Shape,
    encoding: Encoding,
    encoder: Encoder,
}

impl ListWriter {
    /// A list of `kind`. `include` matters to tables only; `now` becomes the creation time of every object, as other
    /// metrics servers have it.
    #[must_use]
    pub fn new(
        kind: ListKind,
        version: Version,
        format: Format,
        include: IncludeObject,
        now: WallTime,
    ) -> Self {
        let shape = Shape::new(kind, version, format, include);
        let encoding = format.encoding();
        Self { shape, encoding, encoder: Encoder::new(shape, encoding, now) }
    }

    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        self.encoding.content_type()
    }

    /// `apiVersion` and `kind` of the list.
    #[must_use]
    pub fn type_meta(&self) -> TypeMeta {
        self.shape.list()
    }

    /// Appends what stands before the first item.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        match &mut self.encoder {
            Encoder::Json(json) => json.begin(out),
            Encoder::Pretty(pretty) => pretty.write(out, |json, out| json.begin(out)),
            Encoder::Yaml(yaml) => yaml.begin(out),
            Encoder::Protobuf(protobuf) => protobuf.begin(out),
        }
    }

    /// Appends a node to a list of nodes.
    pub fn node(&mut self, out: &mut Vec<u8>, answer: &NodeAnswer) {
        self.item(out, Item::Node(answer));
    }

    /// Appends a pod to a list of pods.
    pub fn pod(&mut self, out: &mut Vec<u8>, answer: &PodAnswer) {
        self.item(out, Item::Pod(answer));
    }

    fn item(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        match &mut self.encoder {
            Encoder::Json(json) => json.item(out, item),
            Encoder::Pretty(pretty) => pretty.write(out, |json, out| json.item(out, item)),
            Encoder::Yaml(yaml) => yaml.item(out, item),
            Encoder::Protobuf(protobuf) => protobuf.item(out, item),
        }
    }

    /// Appends what stands after the last item.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match &mut self.encoder {
            Encoder::Json(json) => json.end(out),
            Encoder::Pretty(pretty) => pretty.write(out, |json, out| json.end(out)),
            Encoder::Yaml(yaml) => yaml.end(out),
            Encoder::Protobuf(protobuf) => protobuf.end(out),
        }
    }

    /// How many bytes [`begin`](Self::begin) and [`end`](Self::end) append together in protobuf. None in the other
    /// encodings, whose bodies need no length ahead.
    #[must_use]
    pub fn frame_len(&self) -> Option<usize> {
        matches!(self.encoder, Encoder::Protobuf(_)).then_some(ProtobufWriter::FRAME_LEN)
    }

    /// How many bytes [`node`](Self::node) appends in protobuf.
    #[must_use]
    pub fn node_len(&mut self, answer: &NodeAnswer) -> Option<usize> {
        self.item_len(Item::Node(answer))
    }

    /// How many bytes [`pod`](Self::pod) appends in protobuf.
    #[must_use]
    pub fn pod_len(&mut self, answer: &PodAnswer) -> Option<usize> {
        self.item_len(Item::Pod(answer))
    }

    fn item_len(&mut self, item: Item<'_>) -> Option<usize> {
        match &mut self.encoder {
            Encoder::Protobuf(protobuf) => Some(protobuf.item_len(item)),
            Encoder::Json(_) | Encoder::Pretty(_) | Encoder::Yaml(_) => None,
        }
    }
}

/// The whole body with one object.
#[must_use]
pub fn one(
    item: Item<'_>,
    version: Version,
    format: Format,
    include: IncludeObject,
    now: WallTime,
) -> Vec<u8> {
    let shape = Shape::new(item.kind(), version, format, include);
    let mut out = Vec::with_capacity(1024);
    match Encoder::new(shape, format.encoding(), now) {
        Encoder::Json(mut json) => json.one(&mut out, item),
        Encoder::Pretty(mut pretty) => pretty.write(&mut out, |json, out| json.one(out, item)),
        Encoder::Yaml(mut yaml) => yaml.one(&mut out, item),
        Encoder::Protobuf(mut protobuf) => {
            protobuf.one(&mut out, item);
            let TypeMeta { api_version, kind } = shape.one();
            return envelope::envelope(api_version, kind, &out);
        }
    }
    out
}

#[derive(Debug)]
enum Encoder {
    Json(JsonWriter),
    Pretty(Pretty),
    Yaml(YamlWriter),
    Protobuf(ProtobufWriter),
}

impl Encoder {
    fn new(shape: Shape, encoding: Encoding, now: WallTime) -> Self {
        match encoding {
            Encoding::Text(Text::Json { pretty: false }) => Self::Json(JsonWriter::new(shape, now)),
            Encoding::Text(Text::Json { pretty: true }) => Self::Pretty(Pretty {
                json: JsonWriter::new(shape, now),
                indenter: Indenter::default(),
                compact: Vec::new(),
            }),
            Encoding::Text(Text::Yaml) => Self::Yaml(YamlWriter::new(shape, now)),
            Encoding::Protobuf => Self::Protobuf(ProtobufWriter::new(shape, now)),
        }
    }
}

/// JSON that is indented piece by piece.
#[derive(Debug)]
struct Pretty {
    json: JsonWriter,
    indenter: Indenter,
    /// The piece at hand.
    compact: Vec<u8>,
}

impl Pretty {
    fn write(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut JsonWriter, &mut Vec<u8>)) {
        self.compact.clear();
        write(&mut self.json, &mut self.compact);
        self.indenter.feed(&self.compact, out);
    }
}

#[cfg(test)]
mod tests;
