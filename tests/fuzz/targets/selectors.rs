//! What a client of the API writes: selectors, queries, `Accept`, paths, durations. The first byte chooses which.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request};
use kubevitals::sample::WallTime;
use kubevitals_aggregator::api::{
    call::Call,
    negotiate::{Offer, Transform, negotiate},
    quantity,
    query::{ListOptions, MAX_TIMEOUT, Query},
    route::{Objects, Route},
    select::{Field, FieldSelector, LabelSelector},
    source::Labels,
    time::{parse_duration, write_duration, write_rfc3339},
};
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

fuzz_target!(|data: &[u8]| {
    let Some((&language, rest)) = data.split_first() else {
        return;
    };
    if language % 8 == 7 {
        return numbers(&mut Choices::new(rest));
    }
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match language % 8 {
        0 => labels(text),
        1 => fields(text),
        2 => query(text),
        3 => accept(text),
        4 => path(text),
        5 => duration(text),
        _ => request(text),
    }
});

/// What a selector prints parses to the same selector, and matches the same objects.
fn labels(text: &str) {
    let Ok(selector) = LabelSelector::parse(text) else {
        return;
    };
    let printed = selector.to_string();
    let again = LabelSelector::parse(&printed).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(again, selector, "{printed:?}");
    assert_eq!(again.to_string(), printed);
    let blank = format!(" \t{printed}\n ");
    assert_eq!(LabelSelector::parse(&blank).as_ref(), Ok(&selector), "blanks around it");
    let none = Labels::default();
    let some = Labels::from_iter([("a", "b"), ("app", "web"), ("rank", "3"), ("empty", "")]);
    let _ = selector.matches(&some);
    // Every requirement of "all must hold": adding one that holds changes nothing, one that fails makes all fail.
    if !printed.is_empty() {
        for labels in [&none, &some] {
            let with =
                |more: &str| LabelSelector::parse(&format!("{printed},{more}")).unwrap().matches(labels);
            assert_eq!(with("!kubevitals.io/none"), selector.matches(labels));
            assert!(!with("kubevitals.io/none"));
        }
    }
}

fn fields(text: &str) {
    let Ok(selector) = FieldSelector::parse(text, Field::OF_PODS) else {
        return;
    };
    let printed = selector.to_string();
    let again =
        FieldSelector::parse(&printed, Field::OF_PODS).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    // The terms were sorted as written; printed in their own form they may sort differently once.
    let printed_again = again.to_string();
    let last = FieldSelector::parse(&printed_again, Field::OF_PODS).unwrap();
    assert_eq!(last.to_string(), printed_again);
    for value in ["", "a", "web-1", "a,b", "=", "\\"] {
        for values in [[value, "", ""], ["", value, "n"], [value, value, value], ["x", "default", value]] {
            let of = |field: Field| match field {
                Field::Name => values[0],
                Field::Namespace => values[1],
                Field::NodeName => values[2],
            };
            assert_eq!(again.matches(of), selector.matches(of), "{printed:?}");
        }
    }
    match FieldSelector::parse(text, Field::OF_NODES) {
        Ok(of_nodes) => assert_eq!(of_nodes, selector),
        Err(_) => assert!(printed.contains(Field::NodeName.path())),
    }
}

fn query(text: &str) {
    let query = Query::new(Some(text));
    let timeout = query.timeout();
    assert!(timeout.is_err() || timeout.is_ok_and(|asked| asked > Duration::ZERO && asked <= MAX_TIMEOUT));
    let _ = (query.watch(), query.pretty());
    let of_pods = ListOptions::new(&query, Field::OF_PODS);
    if let Ok(options) = &of_pods {
        // What was understood means the same when it is written plainly.
        let plain = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let (labels, fields) = (options.labels.to_string(), options.fields.to_string());
        let written = format!("labelSelector={}&fieldSelector={}", plain(&labels), plain(&fields));
        let again = Query::new(Some(&written));
        assert_eq!(again.get("labelSelector"), Some(labels.as_str()));
        assert_eq!(again.get("fieldSelector"), Some(fields.as_str()));
        let again = ListOptions::new(&again, Field::OF_PODS).expect("printed options are understood");
        assert_eq!(again.labels, options.labels);
    }
    // A parameter that is not asked for changes nothing, wherever it stands; the first of a repeated one counts.
    for other in [format!("{text}&zzz=1"), format!("zzz=1&{text}"), format!("{text}&{text}")] {
        let other = Query::new(Some(&other));
        for key in ["labelSelector", "fieldSelector", "timeout", "watch", "pretty", "limit"] {
            assert_eq!(other.get(key), query.get(key), "{key}");
        }
        assert_eq!(ListOptions::new(&other, Field::OF_PODS), of_pods);
    }
}

const TABLE: Transform = Transform { kind: "Table", group: "meta.k8s.io", version: "v1" };
const TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

fn accept(text: &str) {
    let offer = |at: usize, transform| Offer {
        media_type: TYPES[at],
        transform,
        representation: (at, transform.is_some()),
    };
    let offers =
        [offer(0, None), offer(1, None), offer(2, None), offer(0, Some(TABLE)), offer(1, Some(TABLE))];
    let only_json = [offer(0, None)];
    for offers in [offers.as_slice(), &only_json] {
        match negotiate(Some(text), offers) {
            Ok(chosen) => {
                let (at, table) = chosen.representation;
                assert!(offers.iter().any(|offer| offer.representation == (at, table)));
                assert!(text.is_empty() || text.contains('*') || text.contains(TYPES[at]), "never asked for");
                assert!(!table || text.contains("Table"));
                assert!(!chosen.pretty || text.contains("pretty"));
                // A clause that nothing fits changes nothing.
                let more = format!("{text},text/html");
                if !text.is_empty() {
                    let again = negotiate(Some(&more), offers).expect("still acceptable");
                    assert_eq!(again, chosen);
                }
            }
            Err(refusal) => assert!(!text.is_empty() && refusal.0.starts_with(TYPES[0])),
        }
    }
}

/// The path of a route, each name escaped byte by byte.
fn printed(route: &Route) -> String {
    let escaped = |name: &str| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string();
    let objects = |objects: &Objects| match objects {
        Objects::Nodes => "/nodes".to_owned(),
        Objects::Node(name) => format!("/nodes/{}", escaped(name)),
        Objects::Pods(None) => "/pods".to_owned(),
        Objects::Pods(Some(namespace)) => format!("/namespaces/{}/pods", escaped(namespace)),
        Objects::Pod { namespace, name } => {
            format!("/namespaces/{}/pods/{}", escaped(namespace), escaped(name))
        }
    };
    match route {
        Route::Index => "/".to_owned(),
        Route::Version => "/version".to_owned(),
        Route::Probe(kubevitals_aggregator::api::route::Probe::Live) => "/livez".to_owned(),
        Route::Probe(kubevitals_aggregator::api::route::Probe::Ready) => "/readyz".to_owned(),
        Route::Groups => "/apis".to_owned(),
        Route::Group => "/apis/metrics.k8s.io".to_owned(),
        Route::Resources(version) => format!("/apis/{}", version.group_version()),
        Route::Metrics(version, of) => format!("/apis/{}{}", version.group_version(), objects(of)),
        Route::CoreVersions => "/api".to_owned(),
        Route::CoreResources => "/api/v1".to_owned(),
        Route::Namespaces => "/api/v1/namespaces".to_owned(),
        Route::Core(of) => format!("/api/v1{}", objects(of)),
    }
}

fn path(text: &str) {
    let without = Route::parse(text, false);
    let with = Route::parse(text, true);
    if let Ok(route) = &without {
        assert_eq!(with.as_ref(), Ok(route), "the core API only adds paths");
    }
    let Ok(route) = with else {
        return;
    };
    assert_eq!(Route::parse(&printed(&route), true).as_ref(), Ok(&route));
    if !text.ends_with('/') {
        assert_eq!(Route::parse(&format!("{text}/"), true).as_ref(), Ok(&route), "a trailing slash");
    }
    if let Route::Metrics(_, objects) | Route::Core(objects) = &route {
        for name in [objects.name(), objects.namespace()].into_iter().flatten() {
            assert!(!name.is_empty() && !name.contains('/'));
        }
        assert_eq!(route.check_method(&Method::GET), Ok(()));
        assert!(route.check_method(&Method::POST).is_err());
    }
}

fn duration(text: &str) {
    if let Ok(Some(length)) = parse_duration(text) {
        let mut out = Vec::new();
        write_duration(&mut out, length);
        let printed = String::from_utf8(out).unwrap();
        assert_eq!(parse_duration(&printed), Ok(Some(length)), "{text:?} is {printed:?}");
        assert!(
            text.starts_with('-')
                || parse_duration(&format!("-{}", text.trim_start_matches('+'))) == Ok(None)
        );
    }
}

/// Lines of a request: method, target, `Accept`, `User-Agent`.
fn request(text: &str) {
    let mut lines = text.split('\n');
    let [method, target, accept, agent] = [(); 4].map(|()| lines.next().unwrap_or_default());
    let Ok(request) = Request::builder().method(method).uri(target).body(()) else {
        return;
    };
    let mut call = Call::from(request.into_parts().0);
    let mut headers = HeaderMap::new();
    for (name, value) in [(http::header::ACCEPT, accept), (http::header::USER_AGENT, agent)] {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    }
    call.headers = headers;
    if let Ok(encoding) = call.encoding() {
        assert_eq!(call.encoding_of_errors(), encoding);
    }
    let listed = call.list_options("metrics.k8s.io", "pods", Field::OF_PODS);
    assert!(listed.is_err() || !call.query.watch());
    let _ = Route::parse(call.path(), true).map(|route| route.check_method(&call.method));
}

/// What is printed means the number that was put in.
fn numbers(choices: &mut Choices<'_>) {
    let number = choices.number();
    let mut out = Vec::new();
    quantity::write_cpu(&mut out, number);
    assert_eq!(meaning(&out), u128::from(number));
    out.clear();
    quantity::write_memory(&mut out, number);
    assert_eq!(meaning(&out), u128::from(number) * 1_000_000_000);
    out.clear();
    write_rfc3339(&mut out, WallTime(number));
    assert!(out.len() == 20 && out.ends_with(b"Z"));
    out.clear();
    let length = Duration::from_nanos(number.min(i64::MAX as u64));
    write_duration(&mut out, length);
    let printed = String::from_utf8(out).unwrap();
    assert_eq!(parse_duration(&printed), Ok(Some(length).filter(|length| !length.is_zero())));
}

/// A quantity in billionths.
fn meaning(text: &[u8]) -> u128 {
    let text = std::str::from_utf8(text).unwrap();
    let (digits, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].iter().position(|&known| known == suffix);
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|&known| known == suffix);
    let unit = match (decimal, binary) {
        (Some(power), _) => 1000_u128.pow(power as u32),
        (None, Some(power)) => 1_000_000_000 * 1024_u128.pow(power as u32 + 1),
        (None, None) => panic!("{text}"),
    };
    digits.parse::<u128>().unwrap() * unit
}
