//! Nodes and pods as Kubernetes protobuf messages, without their envelope.
//!
//! Fields stand in the order of their numbers, and empty strings and zeros are written too: the bytes are those of
//! a Go server, and decoders need neither. Lengths are computed before a message is written, because a message
//! stands after its length; nothing is encoded twice.
//! (`generated.proto` of <https://github.com/kubernetes/metrics> and <https://github.com/kubernetes/apimachinery>)

pub mod status;

use std::time::Duration;

use kubevitals::sample::WallTime;

use super::{
    format::MetaVersion,
    item::{Body, Item, Shape},
    repeated::Repeated,
    wire::{field_len, integer_len, write_bytes, write_header, write_integer},
};
use crate::api::{
    quantity::Quantity,
    source::Usage,
    time::{go_nanos, unix_seconds},
};

/// `ListMeta` with its three empty strings.
pub(super) const LIST_META: [u8; 6] = [0x0a, 0, 0x12, 0, 0x1a, 0];

/// Writes objects of one shape.
#[derive(Debug)]
pub(crate) struct ProtobufWriter {
    shape: Shape,
    /// The fields 4 to 8 of every object's metadata, which are the same for all.
    created: Vec<u8>,
    repeated: Repeated,
    /// The quantities of the pod at hand, between measuring and writing.
    measured: Vec<Measured>,
}

/// Usage in canonical form, with the length of its text.
#[derive(Debug)]
struct Measured {
    /// CPU and memory.
    quantities: [(Quantity, usize); 2],
    /// Of the fields for both.
    length: usize,
}

impl From<Usage> for Measured {
    fn from(usage: Usage) -> Self {
        let quantities = [Quantity::cpu(usage.cpu_nanocores), Quantity::memory(usage.memory_bytes)];
        let quantities = quantities.map(|quantity| (quantity, quantity.text_len()));
        let entries = KEYS.iter().zip(&quantities);
        let length = entries.map(|(key, (_, length))| field_len(entry_len(key, *length))).sum();
        Self { quantities, length }
    }
}

impl ProtobufWriter {
    /// `now` becomes the creation time of every object, as other metrics servers have it.
    pub(super) fn new(shape: Shape, now: WallTime) -> Self {
        // selfLink, uid, resourceVersion: empty. generation: 0.
        let mut created = vec![0x22, 0, 0x2a, 0, 0x32, 0, 0x38, 0];
        write_header(&mut created, 8, time_len(now));
        write_time(&mut created, now);
        Self { shape, created, repeated: Repeated::default(), measured: Vec::new() }
    }

    /// How many bytes [`Self::begin`] and [`Self::end`] write together.
    pub(crate) const FRAME_LEN: usize = field_len(LIST_META.len());

    /// The beginning of a list.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        if !self.items_come_first() {
            write_bytes(out, 1, &LIST_META);
        }
    }

    /// The end of a list.
    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        if self.items_come_first() {
            write_bytes(out, 2, &LIST_META);
        }
    }

    /// In `v1beta1`, lists of metadata have their items as field 1 and their own metadata as field 2.
    fn items_come_first(&self) -> bool {
        self.shape.body == Body::Partial(MetaVersion::V1Beta1)
    }

    /// How many bytes [`Self::item`] writes.
    pub(crate) fn item_len(&mut self, item: Item<'_>) -> usize {
        field_len(self.one_len(item))
    }

    /// The next item of a list.
    pub(crate) fn item(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        let length = self.one_len(item);
        write_header(out, if self.items_come_first() { 1 } else { 2 }, length);
        self.write(out, item);
    }

    /// One object by itself.
    pub(crate) fn one(&mut self, out: &mut Vec<u8>, item: Item<'_>) {
        let length = self.one_len(item);
        out.reserve(length);
        self.write(out, item);
    }

    /// Measures an object and keeps its quantities for writing it.
    fn one_len(&mut self, item: Item<'_>) -> usize {
        let metadata = field_len(self.metadata_len(item));
        if matches!(self.shape.body, Body::Partial(_)) {
            return metadata;
        }
        let times = field_len(time_len(item.timestamp())) + field_len(duration_len(item.window()));
        self.measured.clear();
        let numbers: usize = match item {
            Item::Node(node) => self.measure(node.usage),
            Item::Pod(pod) => pod.containers().map(|(name, usage)| self.container_len(name, usage)).sum(),
        };
        metadata + times + numbers
    }

    /// A container as a field.
    fn container_len(&mut self, name: &str, usage: Usage) -> usize {
        field_len(field_len(name.len()) + self.measure(usage))
    }

    fn measure(&mut self, usage: Usage) -> usize {
        let measured = Measured::from(usage);
        let length = measured.length;
        self.measured.push(measured);
        length
    }

    /// Writes what was measured last.
    fn write(&self, out: &mut Vec<u8>, item: Item<'_>) {
        write_header(out, 1, field_len(item.name().len()) + self.repeated.last().len());
        write_bytes(out, 1, item.name().as_bytes());
        out.extend_from_slice(self.repeated.last());
        if matches!(self.shape.body, Body::Partial(_)) {
            return;
        }
        write_header(out, 2, time_len(item.timestamp()));
        write_time(out, item.timestamp());
        write_header(out, 3, duration_len(item.window()));
        write_integer(out, 1, go_nanos(item.window()));
        let mut all = self.measured.iter();
        match item {
            Item::Node(_) => all.for_each(|measured| write_usage(out, 4, measured)),
            Item::Pod(pod) => {
                for ((name, _), measured) in pod.containers().zip(&mut all) {
                    write_header(out, 4, field_len(name.len()) + measured.length);
                    write_bytes(out, 1, name.as_bytes());
                    write_usage(out, 2, measured);
                }
            }
        }
    }

    /// `ObjectMeta`: name 1, generateName 2, namespace 3, the fields that are the same for all, labels 11.
    fn metadata_len(&mut self, item: Item<'_>) -> usize {
        let created = &self.created;
        let after_name = self.repeated.of(item, |out| {
            write_bytes(out, 2, &[]);
            write_bytes(out, 3, item.namespace().unwrap_or_default().as_bytes());
            out.extend_from_slice(created);
            for (key, value) in item.labels().iter() {
                write_header(out, 11, field_len(key.len()) + field_len(value.len()));
                write_bytes(out, 1, key.as_bytes());
                write_bytes(out, 2, value.as_bytes());
            }
        });
        field_len(item.name().len()) + after_name.len()
    }
}

/// `Time`: seconds 1, nanoseconds 2. Nanoseconds are always 0: JSON has none, and the two shall agree.
fn time_len(at: WallTime) -> usize {
    integer_len(unix_seconds(at).cast_unsigned()) + integer_len(0)
}

fn write_time(out: &mut Vec<u8>, at: WallTime) {
    write_integer(out, 1, unix_seconds(at).cast_unsigned());
    write_integer(out, 2, 0);
}

/// `Duration`: nanoseconds 1.
fn duration_len(length: Duration) -> usize {
    integer_len(go_nanos(length))
}

/// The keys of usage, sorted as Go writes maps.
const KEYS: [&str; 2] = ["cpu", "memory"];

/// Usage as a map: entries of key 1 and `Quantity` 2, which holds its text as 1.
fn entry_len(key: &str, text: usize) -> usize {
    field_len(key.len()) + field_len(field_len(text))
}

fn write_usage(out: &mut Vec<u8>, number: u8, measured: &Measured) {
    for (key, &(quantity, length)) in KEYS.iter().zip(&measured.quantities) {
        write_header(out, number, entry_len(key, length));
        write_bytes(out, 1, key.as_bytes());
        write_header(out, 2, field_len(length));
        write_header(out, 1, length);
        quantity.write(out);
    }
}
