//! The JSON forms of metrics.k8s.io that tests compare: pods, quantities, times. What is not in the promised form fails
//! the test.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

/// One pod as served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Seconds since 1970.
    pub(crate) timestamp: u64,
    pub(crate) window: Duration,
    /// Usage by container name.
    pub(crate) containers: BTreeMap<String, Usage>,
}

/// What a container is served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) nanocores: u64,
    pub(crate) memory: u64,
}

impl Usage {
    /// From the quantities of an answer.
    pub(crate) fn parse(cpu: &str, memory: &str) -> Self {
        let [cpu, memory] = [cpu, memory].map(|text| scaled(text, &QUANTITY));
        Self { nanocores: exact(cpu), memory: exact(memory / BILLION) }
    }
}

impl Pod {
    /// The usage of its only container.
    pub(crate) fn usage(&self) -> Usage {
        assert_eq!(self.containers.len(), 1, "{self:?}");
        *self.containers.values().next().expect("one container")
    }
}

/// A pod; what is not in the promised form fails the test.
pub(crate) fn pod(item: &Value) -> Pod {
    let containers = item["containers"].as_array().expect("a pod has containers").iter();
    Pod {
        timestamp: seconds(text(&item["timestamp"])),
        window: duration(text(&item["window"])),
        containers: containers
            .map(|container| (text(&container["name"]).to_owned(), usage(&container["usage"])))
            .collect(),
    }
}

/// The `usage` of a container or a node.
pub(crate) fn usage(usage: &Value) -> Usage {
    Usage::parse(text(&usage["cpu"]), text(&usage["memory"]))
}

/// A string; anything else fails the test.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

fn exact(value: u128) -> u64 {
    u64::try_from(value).expect("a plausible number")
}

const BILLION: u128 = 1_000_000_000;

/// Suffixes of Kubernetes quantities, in billionths.
const QUANTITY: [(&str, u128); 8] = [
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", BILLION),
    ("k", 1_000 * BILLION),
    ("Ki", BILLION << 10),
    ("Mi", BILLION << 20),
    ("Gi", BILLION << 30),
];

/// Units of Go's durations, in nanoseconds.
const DURATION: [(&str, u128); 5] =
    [("h", 3600 * BILLION), ("m", 60 * BILLION), ("s", BILLION), ("ms", 1_000_000), ("µs", 1_000)];

/// `1m2.5s`, exact.
pub(crate) fn duration(text: &str) -> Duration {
    let mut nanos = 0;
    let mut rest = text;
    while let Some(unit) = rest.find(char::is_alphabetic) {
        let end = rest[unit..].find(|c: char| c.is_ascii_digit());
        let (part, after) = rest.split_at(end.map_or(rest.len(), |end| unit + end));
        nanos += scaled(part, &DURATION);
        rest = after;
    }
    Duration::from_nanos(exact(nanos))
}

/// A decimal number with a suffix times the suffix's scale; refuses what would have to be rounded.
fn scaled(text: &str, scales: &[(&str, u128)]) -> u128 {
    let (number, suffix) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = scales.iter().find(|(name, _)| *name == suffix);
    let (_, scale) = scale.unwrap_or_else(|| panic!("unknown suffix: {text}"));
    let digits: u128 = format!("{whole}{fraction}").parse().expect("digits");
    let below = 10_u128.pow(u32::try_from(fraction.len()).expect("few digits"));
    assert_eq!(digits * scale % below, 0, "{text} is finer than can be");
    digits * scale / below
}

/// `2026-11-22T10:26:55Z` as seconds since 1970.
pub(crate) fn seconds(text: &str) -> u64 {
    let numbers: Vec<u64> = text.split(['-', 'T', ':', 'Z']).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { panic!("no time: {text}") };
    // Days of the proleptic calendar, with years that begin in March (H. Hinnant, "chrono-compatible date algorithms").
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second
}

#[test]
fn the_client_reads_times_and_quantities_exactly() {
    assert_eq!(seconds("2026-11-22T10:26:55Z"), 1_795_343_215);
    assert_eq!(duration("1m2.000005s"), Duration::from_micros(62_000_005));
    assert_eq!(scaled("65540Ki", &QUANTITY), 65540 * 1024 * BILLION);
    assert_eq!(scaled("1.5", &QUANTITY), 1_500_000_000);
}
