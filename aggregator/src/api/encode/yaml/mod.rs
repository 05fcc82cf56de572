//! YAML as Kubernetes servers print it: keys sorted, lists not indented, strings quoted only where a reader would
//! take them for something else.
//!
//! Nodes and pods are written straight from the answers (`objects`), small documents from a JSON value. `scalar`
//! decides about quotes, `resolve` knows what unquoted text means, `order` sorts keys.

pub(super) mod objects;
mod order;
mod resolve;
mod scalar;

use serde_json::Value;

use order::sort_by_key;

/// A small document.
#[must_use]
pub fn document(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut lines = Lines::new(&mut out, 0);
    match value {
        Value::Object(members) if !members.is_empty() => mapping(&mut lines, members),
        Value::Array(items) if !items.is_empty() => sequence(&mut lines, items),
        other => {
            inline(&mut lines, other);
            lines.end();
        }
    }
    out
}

/// What follows a key, up to and with the end of its last line.
fn value(lines: &mut Lines<'_>, value: &Value) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            lines.nest(2, |lines| mapping(lines, members));
        }
        Value::Array(items) if !items.is_empty() => lines.nest(0, |lines| sequence(lines, items)),
        other => {
            lines.blank();
            inline(lines, other);
            lines.end();
        }
    }
}

fn mapping(lines: &mut Lines<'_>, members: &serde_json::Map<String, Value>) {
    for (key, member) in sort_by_key(members.iter().collect(), &|member| member.0) {
        lines.key(key);
        value(lines, member);
    }
}

fn sequence(lines: &mut Lines<'_>, items: &[Value]) {
    for item in items {
        match item {
            Value::Object(members) if !members.is_empty() => lines.item(|lines| mapping(lines, members)),
            Value::Array(items) if !items.is_empty() => lines.item(|lines| sequence(lines, items)),
            other => {
                lines.start_item();
                inline(lines, other);
                lines.end();
            }
        }
    }
}

/// What fits on the line that was begun.
fn inline(lines: &mut Lines<'_>, value: &Value) {
    match value {
        Value::Null => lines.raw(b"null"),
        Value::Bool(true) => lines.raw(b"true"),
        Value::Bool(false) => lines.raw(b"false"),
        Value::Number(number) => lines.raw(number.to_string().as_bytes()),
        Value::String(text) => lines.text(text),
        Value::Array(_) => lines.raw(b"[]"),
        Value::Object(_) => lines.raw(b"{}"),
    }
}

/// Appends lines at a depth.
#[derive(Debug)]
struct Lines<'a> {
    out: &'a mut Vec<u8>,
    /// Blanks before what begins a line.
    indent: usize,
    /// How many of the last pairs of blanks are list markers on the next line.
    markers: usize,
}

impl<'a> Lines<'a> {
    fn new(out: &'a mut Vec<u8>, indent: usize) -> Self {
        Self { out, indent, markers: 0 }
    }

    /// Begins a line.
    fn start(&mut self) {
        let markers = std::mem::take(&mut self.markers);
        let blanks = self.indent.saturating_sub(2 * markers);
        self.out.resize(self.out.len() + blanks, b' ');
        for _ in 0..markers {
            self.out.extend_from_slice(b"- ");
        }
    }

    /// Begins a line with a key of the mapping at this depth. One that is very long or has lines has to be marked.
    fn key(&mut self, key: &str) {
        self.start();
        if key.len() <= scalar::LONGEST_SIMPLE_KEY && !key.contains('\n') {
            scalar::write_key(self.out, key);
            self.out.push(b':');
            return;
        }
        self.out.extend_from_slice(b"? ");
        scalar::write(self.out, key, self.indent);
        self.end();
        self.start();
        self.out.push(b':');
    }

    /// A key of our own, which needs no quotes, and its value on the same line.
    fn member(&mut self, key: &str, text: &str) {
        self.known(key);
        self.blank();
        self.text(text);
        self.end();
    }

    /// Begins a line with a key of our own.
    fn known(&mut self, key: &str) {
        self.start();
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b':');
    }

    /// Ends the line of a key; what `write` writes stands `deeper` than it.
    fn nest(&mut self, deeper: usize, write: impl FnOnce(&mut Lines<'_>)) {
        self.end();
        write(&mut Lines::new(self.out, self.indent + deeper));
    }

    /// One item of the list at this depth; its first line gets the marker.
    fn item(&mut self, write: impl FnOnce(&mut Lines<'_>)) {
        let markers = std::mem::take(&mut self.markers) + 1;
        write(&mut Lines { out: self.out, indent: self.indent + 2, markers });
    }

    /// Begins the line of an item that is no mapping and no list.
    fn start_item(&mut self) {
        self.markers += 1;
        self.indent += 2;
        self.start();
        self.indent -= 2;
    }

    /// What follows a key or a marker at this depth.
    fn text(&mut self, text: &str) {
        scalar::write(self.out, text, self.indent);
    }

    fn raw(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn blank(&mut self) {
        self.out.push(b' ');
    }

    /// Ends the line, unless a block of text did.
    fn end(&mut self) {
        if self.out.last() != Some(&b'\n') {
            self.out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests;
