//! Query strings, as a client or an attacker writes them: the pairs, and what a list is asked for.
#![no_main]

use std::time::Duration;

use kubevitals_aggregator::api::{
    query::{ListOptions, MAX_TIMEOUT, Query},
    select::Field,
};
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const KEYS: [&str; 9] = [
    "labelSelector",
    "fieldSelector",
    "timeout",
    "watch",
    "pretty",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "includeObject",
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let query = Query::new(Some(text));
    let timeout = query.timeout();
    assert!(timeout.is_err() || timeout.is_ok_and(|asked| asked > Duration::ZERO && asked <= MAX_TIMEOUT));
    let _ = (query.watch(), query.pretty());
    let of_pods = ListOptions::new(&query, Field::OF_PODS);
    means_the_same_written_plainly(&query, of_pods.as_ref().ok());
    // A parameter that is not asked for changes nothing, wherever it stands; the first of a repeated one counts.
    for other in [format!("{text}&zzz=1"), format!("zzz=1&{text}"), format!("{text}&{text}")] {
        let other = Query::new(Some(&other));
        for key in KEYS {
            assert_eq!(other.get(key), query.get(key), "{key}");
        }
        assert_eq!(ListOptions::new(&other, Field::OF_PODS), of_pods);
    }
    // What nodes can be asked for, pods can.
    if ListOptions::new(&query, Field::OF_NODES).is_ok() {
        assert!(of_pods.is_ok());
    }
});

/// Every value comes back when it is escaped byte by byte, and so do the selectors as they print themselves.
fn means_the_same_written_plainly(query: &Query, options: Option<&ListOptions>) {
    let plain = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = KEYS
        .iter()
        .filter_map(|&key| query.get(key).map(|value| format!("{key}={}", plain(value))))
        .collect();
    let again = Query::new(Some(&pairs.join("&")));
    for key in KEYS {
        assert_eq!(again.get(key), query.get(key), "{key}");
    }
    let Some(options) = options else { return };
    let (labels, fields) = (options.labels.to_string(), options.fields.to_string());
    let written = format!("labelSelector={}&fieldSelector={}", plain(&labels), plain(&fields));
    let again = ListOptions::new(&Query::new(Some(&written)), Field::OF_PODS);
    assert_eq!(again.expect("printed options are understood").labels, options.labels);
}
