//! The text forms of metrics: `OpenMetrics`, and the older form that most scrapers still ask for. The aggregator
//! uses it too.
//!
//! The library writes `OpenMetrics` (<https://prometheus.io/docs/specs/om/open_metrics_spec/>). The older form
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) has the same samples under other heads: there a
//! family has the name that its samples have, and fewer types exist. Pure.

use std::fmt;

use prometheus_client::{encoding::text::encode, registry::Registry};

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// The older form, 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Form {
    /// The form that `accept` (a header's value) prefers. `OpenMetrics` is for those who name it.
    #[must_use]
    pub fn preferred(accept: Option<&str>) -> Self {
        if wants_open_metrics(accept.unwrap_or_default()) { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything in `registry`, in the form that `accept` (a header's value) prefers, with its media type.
pub fn exposition(registry: &Registry, accept: Option<&str>) -> Result<(&'static str, String), fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    let form = Form::preferred(accept);
    let text = match form {
        Form::Text => classic(&text),
        Form::OpenMetrics => text,
    };
    Ok((form.content_type(), text))
}

fn wants_open_metrics(accept: &str) -> bool {
    let best = |wanted: &str| {
        let weights = accept.split(',').filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            parts.next().filter(|name| name.eq_ignore_ascii_case(wanted))?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            Some(weight.unwrap_or(1.0))
        });
        weights.fold(0.0, f32::max)
    };
    let open = best("application/openmetrics-text");
    open > 0.0 && open >= best("text/plain")
}

/// `OpenMetrics` text in the older form.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    // The line of help comes before that of the type, which decides the name of both.
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::{
        encoding::EncodeLabelSet,
        metrics::{counter::Counter, family::Family, histogram::Histogram, info::Info},
        registry::Unit,
    };

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Label {
        text: &'static str,
    }

    #[test]
    fn c119_the_older_form_names_families_as_their_samples() {
        let mut registry = Registry::default();
        let (counted, took) = (Family::<Label, Counter>::default(), Histogram::new([0.5]));
        registry.register("requests", "Requests", counted.clone());
        registry.register_with_unit("took", "Time", Unit::Seconds, took.clone());
        registry.register("build", "Version", Info::new([("version", "1")]));
        counted.get_or_create(&Label { text: "a \"b\"\n# TYPE" }).inc();
        took.observe(0.25);
        let (kind, text) = exposition(&registry, None).unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(
            text,
            "# HELP requests_total Requests.\n\
             # TYPE requests_total counter\n\
             requests_total{text=\"a \\\"b\\\"\\n# TYPE\"} 1\n\
             # HELP took_seconds Time.\n\
             # TYPE took_seconds histogram\n\
             took_seconds_sum 0.25\n\
             took_seconds_count 1\n\
             took_seconds_bucket{le=\"0.5\"} 1\n\
             took_seconds_bucket{le=\"+Inf\"} 1\n\
             # HELP build_info Version.\n\
             # TYPE build_info gauge\n\
             build_info{version=\"1\"} 1\n"
        );
    }

    #[test]
    fn c119_open_metrics_is_for_those_who_prefer_it() {
        let kind = |accept| exposition(&Registry::default(), accept).unwrap().0;
        // Prometheus 2 and 3.
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.1";
        for open in [three, "application/openmetrics-text", "application/OpenMetrics-text, text/plain"] {
            assert_eq!(kind(Some(open)), Form::OpenMetrics.content_type(), "{open}");
        }
        let plain = "application/openmetrics-text;q=0.2,text/plain;q=0.5";
        for classic in ["", "*/*", "text/plain", plain, "text/html", "application/openmetrics-text;q=0"] {
            assert_eq!(kind(Some(classic)), Form::Text.content_type(), "{classic}");
        }
        assert_eq!(kind(None), Form::Text.content_type());
        assert!(exposition(&Registry::default(), Some(three)).unwrap().1.ends_with("# EOF\n"));
    }
}
