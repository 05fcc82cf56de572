//! The text of a page, in both forms, written straight into its body.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>. Whose samples stand there, and in which order, is the
//! caller's choice.

use kubevitals::sample::{ContainerId, WallTime};

use super::number::{float, put, write, write_with_fraction};
use crate::exposition::Form;

/// What kind of number a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// As in a TYPE line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }

    /// What its samples' names end in.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Gauge => "",
        }
    }
}

/// The head of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// What comes before the name.
    pub(super) prefix: &'static str,
    /// Without the suffix of its kind.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// `seconds` or `bytes`, the last word of the name.
    pub(super) unit: Option<&'static str>,
    pub(super) help: &'static str,
}

/// Which container: by its id where names are not known, or by its name. Ids come first in a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Container<'a> {
    Id(&'a ContainerId),
    Name(&'a str),
}

impl Default for Container<'_> {
    /// None.
    fn default() -> Self {
        Self::Name("")
    }
}

/// Whose sample it is. An empty label is not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels<'a> {
    // The order is that of the labels in a line, and of lines in a family.
    pub(super) container: Container<'a>,
    pub(super) namespace: &'a str,
    pub(super) pod: &'a str,
    /// `cpu`, `memory` or `io`, for pressure.
    pub(super) resource: &'static str,
}

/// A page being written.
#[derive(Debug)]
pub(super) struct Text {
    body: Vec<u8>,
    form: Form,
}

impl Text {
    pub(super) fn new(form: Form, capacity: usize) -> Self {
        Self { body: Vec::with_capacity(capacity), form }
    }

    /// Begins a family. Nothing is written unless it has samples.
    pub(super) fn family(&mut self, head: Head) -> Family<'_> {
        Family { text: self, head, is_open: false }
    }

    /// The whole page.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.form == Form::OpenMetrics {
            self.body.extend_from_slice(b"# EOF\n");
        }
        self.body
    }

    fn open(&mut self, head: &Head) {
        let Head { prefix, name, kind, unit, help } = *head;
        // The older form names a family as its samples, and has no units.
        let (suffix, unit) = match self.form {
            Form::Text => (kind.suffix(), None),
            Form::OpenMetrics => ("", unit),
        };
        let kind = kind.as_str();
        put(
            &mut self.body,
            format_args!("# HELP {prefix}{name}{suffix} {help}\n# TYPE {prefix}{name}{suffix} {kind}\n"),
        );
        if let Some(unit) = unit {
            put(&mut self.body, format_args!("# UNIT {prefix}{name} {unit}\n"));
        }
    }

    fn line(&mut self, [prefix, name, suffix]: [&str; 3], labels: &Labels<'_>, value: f64) {
        for part in [prefix, name, suffix] {
            self.body.extend_from_slice(part.as_bytes());
        }
        self.labels(labels);
        self.body.push(b' ');
        match self.form {
            Form::Text => write(&mut self.body, value),
            Form::OpenMetrics => write_with_fraction(&mut self.body, value),
        }
    }

    fn labels(&mut self, labels: &Labels<'_>) {
        let id;
        let container = match labels.container {
            Container::Name(name) => name,
            Container::Id(container) => {
                id = container.to_string();
                &id
            }
        };
        let pairs = [
            ("container", container),
            ("namespace", labels.namespace),
            ("pod", labels.pod),
            ("resource", labels.resource),
        ];
        let mut before = b'{';
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            self.body.push(before);
            before = b',';
            self.body.extend_from_slice(name.as_bytes());
            self.body.extend_from_slice(b"=\"");
            self.escaped(value);
            self.body.push(b'"');
        }
        if before == b',' {
            self.body.push(b'}');
        }
    }

    fn escaped(&mut self, value: &str) {
        let mut rest = value.as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
            let (plain, special) = rest.split_at(at);
            self.body.extend_from_slice(plain);
            let Some((byte, after)) = special.split_first() else { break };
            self.body.extend_from_slice(&[b'\\', if *byte == b'\n' { b'n' } else { *byte }]);
            rest = after;
        }
        self.body.extend_from_slice(rest);
    }

    /// Milliseconds in the older form, seconds in the newer.
    fn timestamp(&mut self, at: WallTime) {
        let millis = at.0 / 1000;
        match self.form {
            Form::Text => put(&mut self.body, format_args!(" {millis}")),
            Form::OpenMetrics => {
                put(&mut self.body, format_args!(" {}.{:03}", millis / 1000, millis % 1000));
            }
        }
    }
}

/// A family being written.
#[derive(Debug)]
pub(super) struct Family<'t> {
    text: &'t mut Text,
    head: Head,
    is_open: bool,
}

impl Family<'_> {
    /// One sample, with the time at which it was taken unless that says nothing.
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: f64, at: Option<WallTime>) {
        if !self.is_open {
            self.text.open(&self.head);
            self.is_open = true;
        }
        let Head { prefix, name, kind, .. } = self.head;
        self.text.line([prefix, name, kind.suffix()], labels, value);
        self.stamp(at);
    }

    /// After a counter's sample: since when it counts. The older form has no place for that.
    pub(super) fn created(&mut self, labels: &Labels<'_>, birth: WallTime, at: Option<WallTime>) {
        let Head { prefix, name, kind, .. } = self.head;
        if self.text.form == Form::OpenMetrics && kind == Kind::Counter && self.is_open {
            self.text.line([prefix, name, "_created"], labels, timestamp_seconds(birth));
            self.stamp(at);
        }
    }

    fn stamp(&mut self, at: Option<WallTime>) {
        if let Some(at) = at {
            self.text.timestamp(at);
        }
        self.text.body.push(b'\n');
    }
}

/// Seconds since 1970, computed from nanoseconds as the kubelet does.
pub(super) fn timestamp_seconds(time: WallTime) -> f64 {
    float(time.0.saturating_mul(1000)) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: Head = Head {
        prefix: "a_",
        name: "used_seconds",
        kind: Kind::Counter,
        unit: Some("seconds"),
        help: "Time used",
    };

    fn page(form: Form, fill: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::new(form, 0);
        fill(&mut text);
        String::from_utf8(text.finish()).unwrap()
    }

    fn fill(text: &mut Text) {
        let labels = Labels { container: Container::Name("c"), namespace: "n", pod: "p", resource: "" };
        let mut family = text.family(USED);
        family.sample(&labels, 1.5, Some(WallTime(1_700_000_000_012_345)));
        family.created(&labels, WallTime(1_600_000_000_500_000), Some(WallTime(1_700_000_000_012_345)));
        text.family(Head { kind: Kind::Gauge, ..USED });
    }

    #[test]
    fn the_older_form_names_a_family_as_its_samples_and_counts_milliseconds() {
        assert_eq!(
            page(Form::Text, fill),
            "# HELP a_used_seconds_total Time used\n\
             # TYPE a_used_seconds_total counter\n\
             a_used_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 1700000000012\n"
        );
    }

    #[test]
    fn open_metrics_has_units_times_of_creation_and_an_end() {
        assert_eq!(
            page(Form::OpenMetrics, fill),
            "# HELP a_used_seconds Time used\n\
             # TYPE a_used_seconds counter\n\
             # UNIT a_used_seconds seconds\n\
             a_used_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 1700000000.012\n\
             a_used_seconds_created{container=\"c\",namespace=\"n\",pod=\"p\"} 1.6000000005e+09 1700000000.012\n\
             # EOF\n"
        );
    }

    #[test]
    fn labels_are_escaped_and_empty_ones_left_out() {
        let labels = Labels { pod: "a\\b\"c\nd", ..Labels::default() };
        let text = page(Form::Text, |text| {
            text.family(USED).sample(&labels, 0.0, None);
            text.family(USED).sample(&Labels::default(), 1.0, None);
        });
        assert!(text.contains("a_used_seconds_total{pod=\"a\\\\b\\\"c\\nd\"} 0\n"), "{text}");
        assert!(text.ends_with("a_used_seconds_total 1\n"), "{text}");
    }
}
