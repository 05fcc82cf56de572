use proptest::prelude::*;

use super::*;
use crate::api::route::{Objects, Route};

fn attributes(method: &Method, target: &str) -> Attributes {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Attributes::new(method, path, &Query::new(query))
}

fn wanted(method: &Method, target: &str) -> ResourceAttributes {
    match attributes(method, target) {
        Attributes::Resource(wanted) => *wanted,
        path @ Attributes::Path(_) => panic!("{path:?}"),
    }
}

/// Verb, group, version, resource, subresource, namespace and name, with `-` for what is not there.
fn words(method: &Method, target: &str) -> String {
    let wanted = wanted(method, target);
    let parts = [
        wanted.verb,
        wanted.group,
        wanted.version,
        wanted.resource,
        wanted.subresource,
        wanted.namespace,
        wanted.name,
    ];
    parts.map(|part| part.filter(|part| !part.is_empty()).unwrap_or_else(|| "-".to_owned())).join(" ")
}

#[test]
fn c098_a_pod_is_asked_for_by_verb_namespace_name_and_version() {
    let base = "/apis/metrics.k8s.io";
    let table = [
        ("/v1/namespaces/default/pods/web-1", "get metrics.k8s.io v1 pods - default web-1"),
        ("/v1beta1/namespaces/default/pods", "list metrics.k8s.io v1beta1 pods - default -"),
        ("/v1/pods", "list metrics.k8s.io v1 pods - - -"),
        ("/v1/nodes/%6e1/", "get metrics.k8s.io v1 nodes - - n1"),
        ("/v1/nodes?watch=1", "watch metrics.k8s.io v1 nodes - - -"),
        ("/v1/nodes/n1?watch=1", "get metrics.k8s.io v1 nodes - - n1"),
        ("/v1/watch/nodes", "watch metrics.k8s.io v1 nodes - - -"),
        ("/v1/nodes/n1/status", "get metrics.k8s.io v1 nodes status - n1"),
        ("/v1/foos", "list metrics.k8s.io v1 foos - - -"),
    ];
    for (path, expected) in table {
        assert_eq!(words(&Method::GET, &format!("{base}{path}")), expected, "{path}");
    }
    assert_eq!(words(&Method::GET, "/api/v1/nodes"), "list - v1 nodes - - -");
    assert_eq!(words(&Method::GET, "/api/v1/namespaces"), "list - v1 namespaces - - -");
}

#[test]
fn every_method_has_the_verb_that_roles_are_written_for() {
    let table = [
        ("HEAD", "list", "get"),
        ("POST", "create", "create"),
        ("PUT", "update", "update"),
        ("PATCH", "patch", "patch"),
        ("DELETE", "deletecollection", "delete"),
        ("FOO", "", ""),
    ];
    for (method, of_all, of_one) in table {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let verb = |path| wanted(&method, path).verb.unwrap();
        assert_eq!(verb("/apis/metrics.k8s.io/v1/nodes"), of_all, "{method}");
        assert_eq!(verb("/apis/metrics.k8s.io/v1/nodes/n1"), of_one, "{method}");
    }
}

#[test]
fn what_is_about_no_object_is_a_path_as_it_reads() {
    for path in ["/", "/metrics", "/apis", "/apis/metrics.k8s.io", "/apis/metrics.k8s.io/v1/", "/readyz/ping"]
    {
        let Attributes::Path(wanted) = attributes(&Method::POST, path) else { panic!("{path}") };
        assert_eq!((wanted.path.as_deref(), wanted.verb.as_deref()), (Some(path), Some("post")));
    }
    assert_eq!(attributes(&Method::GET, "/%6detrics?a=b").path(), Some("/metrics"));
}

#[test]
fn c097_selectors_of_a_list_are_told_and_a_name_asked_for_is_the_name() {
    let path = "/apis/metrics.k8s.io/v1/namespaces/default/pods";
    let query =
        "fieldSelector=metadata.name%3Dweb-1,metadata.namespace!%3Dx&labelSelector=a%3Db,c+notin+(d,e),!f,g";
    let list = wanted(&Method::GET, &format!("{path}?{query}"));
    assert_eq!(list.name.as_deref(), Some("web-1"));
    let json = |value| serde_json::to_value(value).unwrap();
    assert_eq!(
        json(list.field_selector),
        serde_json::json!({"requirements": [
            {"key": "metadata.name", "operator": "In", "values": ["web-1"]},
            {"key": "metadata.namespace", "operator": "NotIn", "values": ["x"]},
        ]})
    );
    let json = |value| serde_json::to_value(value).unwrap();
    assert_eq!(
        json(list.label_selector),
        serde_json::json!({"requirements": [
            {"key": "a", "operator": "In", "values": ["b"]},
            {"key": "c", "operator": "NotIn", "values": ["d", "e"]},
            {"key": "f", "operator": "DoesNotExist"},
            {"key": "g", "operator": "Exists"},
        ]})
    );
}

#[test]
fn c097_selectors_that_select_nothing_or_mean_nothing_are_not_told() {
    let path = "/apis/metrics.k8s.io/v1/pods";
    for query in [
        "labelSelector=&fieldSelector=",
        "labelSelector=a%3Db%3Dc&fieldSelector=status%3Dx",
        "labelSelector=a>1",
    ] {
        let list = wanted(&Method::GET, &format!("{path}?{query}"));
        assert_eq!((list.name, list.field_selector, list.label_selector), (None, None, None), "{query}");
    }
    // A single object is served whatever the selectors say.
    let one = wanted(&Method::GET, "/apis/metrics.k8s.io/v1/nodes/n1?fieldSelector=metadata.name%3Dn2");
    assert_eq!((one.name.as_deref(), one.field_selector), (Some("n1"), None));
    for name in ["..", "a/b", "a%25b", ""] {
        let list = wanted(&Method::GET, &format!("{path}?fieldSelector=metadata.name%3D{name}"));
        assert_eq!(list.name, None, "{name}");
    }
}

proptest! {
    /// What is allowed is what is served.
    #[test]
    fn objects_that_are_served_are_the_objects_that_are_asked_about(
        path in "/apis/metrics.k8s.io/v1(/|/nodes|/pods|/namespaces|/watch|/proxy|/status|%2F|[a-z%.]{1,3}){0,6}",
        core: bool,
    ) {
        let path = if core { path.replacen("/apis/metrics.k8s.io", "/api", 1) } else { path };
        let told = attributes(&Method::GET, &path);
        match Route::parse(&path, core) {
            Ok(Route::Metrics(_, objects) | Route::Core(objects)) => {
                let Attributes::Resource(told) = told else { panic!("{told:?}") };
                prop_assert_eq!(told.resource.as_deref(), Some(objects.resource()));
                prop_assert_eq!(told.namespace.as_deref(), objects.namespace());
                prop_assert_eq!(told.name.as_deref(), objects.name());
                prop_assert_eq!(told.subresource, None);
                let single = matches!(objects, Objects::Node(_) | Objects::Pod { .. });
                prop_assert_eq!(told.verb.as_deref(), Some(if single { "get" } else { "list" }));
            }
            Ok(Route::Namespaces) => prop_assert!(matches!(told, Attributes::Resource(_))),
            Ok(_) => prop_assert!(matches!(told, Attributes::Path(_)), "{:?}", told),
            Err(_) => {}
        }
    }
}

#[test]
fn c097_of_a_selector_that_is_too_long_nothing_is_told() {
    let told = |query: &str| match Attributes::new(
        &Method::GET,
        "/apis/metrics.k8s.io/v1/pods",
        &Query::new(Some(query)),
    ) {
        Attributes::Resource(wanted) => (wanted.name, wanted.field_selector, wanted.label_selector),
        Attributes::Path(wanted) => unreachable!("{wanted:?}"),
    };
    let labels = |count| format!("labelSelector={}", vec!["!a"; count].join(","));
    assert!(told(&labels(TOLD)).2.is_some());
    assert_eq!(told(&labels(TOLD + 1)).2, None);
    let values: Vec<String> = (0..TOLD).map(|value| value.to_string()).collect();
    assert_eq!(told(&format!("labelSelector=a+in+({})", values.join(","))).2, None);
    let fields = format!("metadata.name=n{}", ",metadata.name!=a".repeat(TOLD));
    let (name, fields, _) = told(&format!("fieldSelector={fields}"));
    assert_eq!((name.as_deref(), fields), (Some("n"), None));
}
