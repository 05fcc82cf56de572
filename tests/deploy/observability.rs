//! Alerts and dashboard ask for metrics that exist.

use std::{collections::BTreeSet, fs};

use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::Value;

use crate::render::repository;

/// Of kube-apiserver.
const OF_OTHERS: [&str; 1] = ["aggregator_unavailable_apiservice"];

/// Series that the programs have, as Prometheus names them.
fn series() -> BTreeSet<String> {
    let (mut agent, mut aggregator) = (Registry::default(), Registry::default());
    let _ = kubevitals_agent::metrics::Metrics::register(&mut agent);
    let _ = kubevitals_aggregator::metrics::Metrics::register(&mut aggregator);
    let mut text = String::new();
    encode(&mut text, &agent).unwrap();
    encode(&mut text, &aggregator).unwrap();
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    kinds
        .flat_map(|(name, kind)| match kind {
            "counter" => vec![format!("{name}_total")],
            "info" => vec![format!("{name}_info")],
            "histogram" => ["bucket", "count", "sum"].map(|suffix| format!("{name}_{suffix}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

/// Whether a series is one of ours. Some families are empty until something is counted in them; the README has them, which
/// tests/docs.rs sees to.
fn exists(name: &str, known: &BTreeSet<String>) -> bool {
    let readme = include_str!("../../README.md");
    let family =
        ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let documented = ["`", "{"].iter().any(|end| readme.contains(&format!("`{family}{end}")));
    known.contains(name) || documented || OF_OTHERS.contains(&name)
}

/// Names of series in an expression: words that no bracket follows, outside of label matchers, texts, ranges and
/// grouping clauses.
fn asked(expression: &str) -> BTreeSet<String> {
    const KEYWORDS: [&str; 8] = ["by", "without", "on", "ignoring", "and", "or", "unless", "offset"];
    let mut found = BTreeSet::new();
    let (mut braces, mut grouping, mut text) = (0_u32, false, None);
    let mut rest = expression.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match (text, c) {
            (Some(quote), c) => {
                if c == '\\' {
                    rest.next();
                } else if c == quote {
                    text = None;
                }
            }
            (None, '"' | '\'') => text = Some(c),
            (None, '{' | '[') => braces += 1,
            (None, '}' | ']') => braces -= 1,
            (None, ')') => grouping = false,
            (None, c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut end = at + 1;
                while let Some(&(next, c)) = rest.peek() {
                    if !(c.is_ascii_alphanumeric() || c == '_' || c == ':') {
                        break;
                    }
                    end = next + 1;
                    rest.next();
                }
                let word = &expression[at..end];
                if KEYWORDS.contains(&word) {
                    grouping = true;
                } else if braces == 0 && !grouping && !expression[end..].trim_start().starts_with('(') {
                    let group_follows =
                        ["by", "without"].iter().any(|key| expression[end..].trim_start().starts_with(key));
                    if !group_follows {
                        found.insert(word.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn names_are_found_in_expressions() {
    let expression =
        r#"sum by (le, a_b) (rate(a_total{x="y_total",z=~"w"}[5m])) / ignoring (q) max(b) - time() > c"#;
    assert_eq!(asked(expression), ["a_total", "b", "c"].map(str::to_owned).into());
}

fn check(what: &str, expressions: &[String]) {
    let known = series();
    assert!(expressions.len() > 10, "{what}: {}", expressions.len());
    for expression in expressions {
        let asked = asked(expression);
        assert!(!asked.is_empty(), "{what}: {expression}");
        let unknown: Vec<_> = asked.iter().filter(|name| !exists(name, &known)).collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?} in {expression}");
    }
}

#[test]
fn every_alert_asks_for_metrics_that_exist() {
    let text = fs::read_to_string(repository("deploy/chart/monitoring/alerts.yaml")).unwrap();
    let rule: Value = serde_saphyr::from_str(&text).unwrap();
    let alerts = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    let expressions: Vec<_> = alerts.iter().map(|alert| alert["expr"].as_str().unwrap().to_owned()).collect();
    check("alerts.yaml", &expressions);
    for alert in alerts {
        assert!(
            alert["annotations"]["summary"].is_string() && alert["labels"]["severity"].is_string(),
            "{alert}"
        );
    }
}

#[test]
fn every_panel_asks_for_metrics_that_exist() {
    let text = fs::read_to_string(repository("deploy/chart/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<_> =
        targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m")).collect();
    check("dashboard.json", &expressions);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
}

#[test]
fn labels_in_expressions_have_values_that_exist() {
    let reasons =
        kubevitals_aggregator::picture::Omission::ALL.map(kubevitals_aggregator::picture::Omission::as_str);
    let text = fs::read_to_string(repository("deploy/chart/monitoring/alerts.yaml")).unwrap();
    let (_, named) = text.split_once(r#"omitted_total{reason=~""#).unwrap();
    let (named, _) = named.split_once('"').unwrap();
    for reason in named.split('|') {
        assert!(reasons.contains(&reason), "{reason}: {reasons:?}");
    }
}
