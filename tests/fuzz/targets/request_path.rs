//! Request lines: which route a path is, and what a reviewer is asked about it. The first line is the method, the
//! second the target.
#![no_main]

use http::{Method, Uri};
use kubevitals_aggregator::{
    api::{
        query::Query,
        route::{GROUP, Objects, Route},
    },
    auth::attributes::Attributes,
};
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (method, target) = text.split_once('\n').unwrap_or(("GET", text));
    path(target);
    if let (Ok(method), Ok(uri)) = (Method::from_bytes(method.as_bytes()), target.parse::<Uri>()) {
        path(uri.path());
        reviewed(&method, &uri);
    }
});

/// The path of what has names in it, each escaped byte by byte.
fn printed(route: &Route) -> Option<String> {
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
        Route::Metrics(version, of) => Some(format!("/apis/{}{}", version.group_version(), objects(of))),
        Route::Core(of) => Some(format!("/api/v1{}", objects(of))),
        _ => None,
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
    if let Some(printed) = printed(&route) {
        assert_eq!(Route::parse(&printed, true).as_ref(), Ok(&route));
    }
    if !text.ends_with('/') {
        assert_eq!(Route::parse(&format!("{text}/"), true).as_ref(), Ok(&route), "a trailing slash");
    }
    assert_eq!(route.check_method(&Method::GET), Ok(()));
    if let Route::Metrics(_, objects) | Route::Core(objects) = &route {
        for name in [objects.name(), objects.namespace()].into_iter().flatten() {
            assert!(!name.is_empty() && !name.contains('/'));
        }
        for method in
            [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS, Method::TRACE]
        {
            assert!(route.check_method(&method).is_err(), "{method}");
        }
    }
}

/// What is served is what was reviewed, although the two read the path each by its own rules: no path may be judged as
/// one object and served as another.
fn reviewed(method: &Method, uri: &Uri) {
    let path = uri.path();
    // With its query too: selectors and `watch` add to the review, but must not break it.
    let _ = Attributes::new(method, path, &Query::new(uri.query()));
    let route = Route::parse(path, false);
    match (Attributes::new(method, path, &Query::new(None)), &route) {
        (Attributes::Resource(wanted), Ok(Route::Metrics(version, objects))) => {
            assert_eq!(wanted.group.as_deref(), Some(GROUP));
            assert_eq!(wanted.version.as_deref(), Some(version.name()));
            assert_eq!(wanted.resource.as_deref(), Some(objects.resource()));
            let given =
                |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
            assert_eq!(given(&wanted.namespace).as_deref(), objects.namespace());
            assert_eq!(given(&wanted.name).as_deref(), objects.name());
            assert_eq!(given(&wanted.subresource), None);
            let verb = wanted.verb.as_deref();
            if matches!(*method, Method::GET | Method::HEAD) {
                assert_eq!(verb, Some(if objects.name().is_some() { "get" } else { "list" }));
            } else {
                assert!(!matches!(verb, Some("get" | "list" | "watch")), "{method}");
            }
        }
        (Attributes::Path(wanted), route) => {
            let decoded: Vec<u8> = percent_decode_str(path).collect();
            assert_eq!(wanted.path.as_deref(), Some(&*String::from_utf8_lossy(&decoded)));
            assert!(!matches!(route, Ok(Route::Metrics(..))), "numbers served to whom a path was granted");
            let is_open = matches!(wanted.path.as_deref(), Some("/healthz" | "/livez" | "/readyz"));
            assert!(!is_open || matches!(route, Ok(Route::Probe(_)) | Err(_)), "{route:?} is open to everybody");
        }
        (Attributes::Resource(_), route) => assert!(route.is_err(), "{route:?} is no object"),
    }
}
