//! JSON exactly as a Kubernetes server writes it: compact, keys in a fixed order, one newline at the end.
//!
//! Metrics are written straight from the answers, because a list of all pods is the largest body there is. Small
//! documents go through serde. Strings are escaped as Go's encoder escapes them.

use std::io;

use kubevitals::sample::WallTime;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::api::{
    quantity::{write_cpu, write_memory},
    route::Version,
    source::{Labels, NodeAnswer, PodAnswer, Usage},
    time::{write_duration, write_rfc3339},
};

/// One `NodeMetrics`. `now` becomes its creation time, as other metrics servers have it.
#[must_use]
pub fn node(version: Version, now: WallTime, answer: &NodeAnswer) -> Vec<u8> {
    let mut out = open("NodeMetrics", version);
    out.push(b',');
    node_fields(&mut out, &created(now), answer);
    out.extend_from_slice(b"}\n");
    out
}

/// One `PodMetrics`.
#[must_use]
pub fn pod(version: Version, now: WallTime, answer: &PodAnswer) -> Vec<u8> {
    let mut out = open("PodMetrics", version);
    out.push(b',');
    pod_fields(&mut out, &created(now), answer);
    out.extend_from_slice(b"}\n");
    out
}

/// A list that grows item by item.
#[derive(Debug)]
pub struct List {
    out: Vec<u8>,
    created: Vec<u8>,
    empty: bool,
}

impl List {
    /// A `NodeMetricsList`.
    #[must_use]
    pub fn nodes(version: Version, now: WallTime) -> Self {
        Self::new("NodeMetricsList", version, now)
    }

    /// A `PodMetricsList`.
    #[must_use]
    pub fn pods(version: Version, now: WallTime) -> Self {
        Self::new("PodMetricsList", version, now)
    }

    fn new(kind: &str, version: Version, now: WallTime) -> Self {
        let mut out = open(kind, version);
        out.extend_from_slice(br#","metadata":{},"items":["#);
        Self { out, created: created(now), empty: true }
    }

    /// Appends a node.
    pub fn node(&mut self, answer: &NodeAnswer) {
        self.open_item();
        node_fields(&mut self.out, &self.created, answer);
        self.out.push(b'}');
    }

    /// Appends a pod.
    pub fn pod(&mut self, answer: &PodAnswer) {
        self.open_item();
        pod_fields(&mut self.out, &self.created, answer);
        self.out.push(b'}');
    }

    fn open_item(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'{');
    }

    /// The whole document.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"]}\n");
        self.out
    }
}

/// A small document.
pub fn document<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, GoStrings))?;
    out.push(b'\n');
    Ok(out)
}

fn created(now: WallTime) -> Vec<u8> {
    let mut out = Vec::new();
    write_rfc3339(&mut out, now);
    out
}

fn open(kind: &str, version: Version) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(br#"{"kind":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","apiVersion":""#);
    out.extend_from_slice(version.group_version().as_bytes());
    out.push(b'"');
    out
}

fn node_fields(out: &mut Vec<u8>, created: &[u8], answer: &NodeAnswer) {
    out.extend_from_slice(br#""metadata":{"name":"#);
    string(out, &answer.node.name);
    metadata_end(out, created, &answer.node.labels);
    times(out, answer.timestamp, answer.window);
    out.push(b',');
    usage(out, answer.usage);
}

fn pod_fields(out: &mut Vec<u8>, created: &[u8], answer: &PodAnswer) {
    out.extend_from_slice(br#""metadata":{"name":"#);
    string(out, &answer.pod.name);
    out.extend_from_slice(br#","namespace":"#);
    string(out, &answer.pod.namespace);
    metadata_end(out, created, &answer.pod.labels);
    times(out, answer.timestamp, answer.window);
    out.extend_from_slice(br#","containers":["#);
    for (position, (name, usage)) in answer.containers().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        container_object(out, name, usage);
    }
    out.push(b']');
}

fn container_object(out: &mut Vec<u8>, name: &str, used: Usage) {
    out.extend_from_slice(br#"{"name":"#);
    string(out, name);
    out.push(b',');
    usage(out, used);
    out.push(b'}');
}

fn metadata_end(out: &mut Vec<u8>, created: &[u8], labels: &Labels) {
    out.extend_from_slice(br#","creationTimestamp":""#);
    out.extend_from_slice(created);
    out.push(b'"');
    if !labels.is_empty() {
        out.extend_from_slice(br#","labels":{"#);
        for (position, (key, value)) in labels.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            string(out, key);
            out.push(b':');
            string(out, value);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

fn times(out: &mut Vec<u8>, timestamp: WallTime, window: std::time::Duration) {
    out.extend_from_slice(br#","timestamp":""#);
    write_rfc3339(out, timestamp);
    out.extend_from_slice(br#"","window":""#);
    write_duration(out, window);
    out.push(b'"');
}

fn usage(out: &mut Vec<u8>, usage: Usage) {
    out.extend_from_slice(br#""usage":{"cpu":""#);
    write_cpu(out, usage.cpu_nanocores);
    out.extend_from_slice(br#"","memory":""#);
    write_memory(out, usage.memory_bytes);
    out.extend_from_slice(br#""}"#);
}

/// A quoted and escaped string. Names of Kubernetes objects need no escape, so that case is a plain copy.
fn string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'/' | b' ' | b':'))
    {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let mut serializer = Serializer::with_formatter(&mut *out, GoStrings);
    // Writing a string into a vector cannot fail.
    let _written = text.serialize(&mut serializer);
}

/// Compact JSON in which `<`, `>`, `&` and the two Unicode line separators are escaped too.
struct GoStrings;

impl Formatter for GoStrings {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = special.chars();
            if let Some(c) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// The same document for people: two blanks per level, nothing between the brackets of what is empty.
#[must_use]
pub fn indent(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let mut depth = 0_usize;
    let (mut in_string, mut escaped) = (false, false);
    let mut bytes = compact.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                if let Some(close) = bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            other => {
                in_string = other == b'"';
                out.push(other);
            }
        }
    }
    out
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth, b' ');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::fixture;

    const NOW: WallTime = WallTime(1_795_340_846_500_000);

    fn web() -> PodAnswer {
        let answer = fixture::pod_answer(
            ["default", "web-1", "n1"],
            &[("tier", "front"), ("app", "web")],
            &[
                ("app", Usage { cpu_nanocores: 499_998_800, memory_bytes: 2_097_180 << 10 }),
                ("proxy", Usage { cpu_nanocores: 0, memory_bytes: 4096 }),
            ],
        );
        PodAnswer { timestamp: WallTime(1_795_340_845_999_999), ..answer }
    }

    fn n1() -> NodeAnswer {
        fixture::node_answer("n1", &[], Usage { cpu_nanocores: 250_000_000, memory_bytes: 5 << 20 })
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn c030_a_pod_list_has_these_bytes() {
        let mut list = List::pods(Version::V1Beta1, NOW);
        list.pod(&web());
        list.pod(&fixture::pod_answer(["default", "web-2", "n1"], &[], &[]));
        assert_eq!(
            text(list.finish()),
            concat!(
                r#"{"kind":"PodMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":["#,
                r#"{"metadata":{"name":"web-1","namespace":"default","creationTimestamp":"2026-11-22T09:47:26Z","#,
                r#""labels":{"app":"web","tier":"front"}},"timestamp":"2026-11-22T09:47:25Z","window":"15.006s","#,
                r#""containers":[{"name":"app","usage":{"cpu":"499998800n","memory":"2097180Ki"}},"#,
                r#"{"name":"proxy","usage":{"cpu":"0","memory":"4Ki"}}]},"#,
                r#"{"metadata":{"name":"web-2","namespace":"default","creationTimestamp":"2026-11-22T09:47:26Z"},"#,
                r#""timestamp":"2026-11-22T09:47:25Z","window":"15.006s","containers":[]}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn c032_a_node_has_these_bytes() {
        assert_eq!(
            text(node(Version::V1, NOW, &n1())),
            concat!(
                r#"{"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1","metadata":{"name":"n1","#,
                r#""creationTimestamp":"2026-11-22T09:47:26Z"},"timestamp":"2026-11-22T09:47:25Z","#,
                r#""window":"15s","usage":{"cpu":"250m","memory":"5Mi"}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn an_empty_list_has_an_empty_array() {
        assert_eq!(
            text(List::nodes(Version::V1, NOW).finish()),
            "{\"kind\":\"NodeMetricsList\",\"apiVersion\":\"metrics.k8s.io/v1\",\"metadata\":{},\"items\":[]}\n"
        );
    }

    #[test]
    fn c055_indented_text_is_as_go_indents_it() {
        let compact = br#"{"a":{},"b":[1,{"c":"x\",{:"}],"d":[]}"#;
        let expected = "{\n  \"a\": {},\n  \"b\": [\n    1,\n    {\n      \"c\": \"x\\\",{:\"\n    }\n  ],\n  \"d\": []\n}";
        assert_eq!(text(indent(compact)), expected);
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let mut out = Vec::new();
        string(&mut out, "a<b>&\u{2028}\"\\\n\t\u{1}é\u{7f}");
        assert_eq!(text(out), "\"a\\u003cb\\u003e\\u0026\\u2028\\\"\\\\\\n\\t\\u0001é\u{7f}\"");
    }

    proptest! {
        #[test]
        fn any_string_is_read_back_as_it_was(original in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &original);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), original);
        }

        #[test]
        fn indenting_changes_no_value(name in any::<String>(), labels in any::<Vec<(String, String)>>()) {
            let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let answer = fixture::node_answer(&name, &labels, n1().usage);
            let compact = node(Version::V1, NOW, &answer);
            let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
            prop_assert_eq!(value(&indent(&compact)), value(&compact));
        }
    }
}
