//! Paths to routes. Pure: it knows which paths exist, not who may use them nor what is behind them.
//!
//! Paths are taken as sent: nothing is redirected or cleaned up. One trailing slash is allowed, an empty
//! segment inside is not, and an escaped slash is no separator.

use http::Method;
use percent_encoding::percent_decode_str;

use super::{health::Probe, openapi::Part, status::ApiError};

/// The API group that is served.
pub const GROUP: &str = "metrics.k8s.io";

/// A version of the group. Both have the same fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `v1`, since Kubernetes 1.37.
    V1,
    /// `v1beta1`, which older clients ask for.
    V1Beta1,
}

impl Version {
    /// In order of preference.
    pub const ALL: [Self; 2] = [Self::V1, Self::V1Beta1];

    /// `v1` or `v1beta1`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }

    /// With the group before it, as `apiVersion` has it.
    #[must_use]
    pub fn group_version(self) -> &'static str {
        match self {
            Self::V1 => "metrics.k8s.io/v1",
            Self::V1Beta1 => "metrics.k8s.io/v1beta1",
        }
    }
}

/// Which objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// All nodes.
    Nodes,
    /// One node.
    Node(String),
    /// The pods of one namespace, or of all.
    Pods(Option<String>),
    /// One pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Objects {
    /// The plural that stands in the path.
    #[must_use]
    pub fn resource(&self) -> &'static str {
        match self {
            Self::Nodes | Self::Node(_) => "nodes",
            Self::Pods(_) | Self::Pod { .. } => "pods",
        }
    }

    /// The namespace, when the path has one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Pods(namespace) => namespace.as_deref(),
            Self::Pod { namespace, .. } => Some(namespace),
            Self::Nodes | Self::Node(_) => None,
        }
    }

    /// The name, when it is about one object.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Node(name) | Self::Pod { name, .. } => Some(name),
            Self::Nodes | Self::Pods(_) => None,
        }
    }
}

/// A path that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`: the list of paths.
    Index,
    /// `/version`.
    Version,
    /// `/healthz`, `/livez`, `/readyz`.
    Probe(Probe),
    /// `/readyz/NAME`: one check of a probe.
    Check(Probe, String),
    /// `/metrics`: our own.
    OwnMetrics,
    /// `/openapi/v2`.
    OpenApi2,
    /// `/openapi/v3`: the list of documents.
    OpenApi3Index,
    /// `/openapi/v3/...`: one of them.
    OpenApi3(Part),
    /// `/apis`.
    Groups,
    /// `/apis/metrics.k8s.io`.
    Group,
    /// `/apis/metrics.k8s.io/VERSION`.
    Resources(Version),
    /// Numbers.
    Metrics(Version, Objects),
    /// `/api`, only in `standalone`, as all below it.
    CoreVersions,
    /// `/api/v1`.
    CoreResources,
    /// `/api/v1/namespaces`.
    Namespaces,
    /// Nodes and pods as the core API has them.
    Core(Objects),
}

impl Route {
    /// Finds the route of a raw path (without the query). `core` says whether the core API exists.
    pub fn parse(path: &str, core: bool) -> Result<Self, ApiError> {
        let segments = segments(path);
        let missing = || match segments.iter().map(Option::as_deref).collect::<Vec<_>>().as_slice() {
            [Some("apis"), Some(GROUP), _, ..] | [Some("openapi"), Some("v3"), _, ..] => {
                ApiError::NoSuchResource
            }
            [Some("api"), Some("v1"), _, ..] if core => ApiError::NoSuchResource,
            _ => ApiError::NoSuchPath,
        };
        let whole: Option<Vec<&str>> = segments.iter().map(Option::as_deref).collect();
        whole.and_then(|segments| find(&segments, core)).ok_or_else(missing)
    }

    /// Everything is read-only. Probes answer any method, because some probers POST.
    pub fn check_method(&self, method: &Method) -> Result<(), ApiError> {
        match (self, method) {
            (Self::Probe(_) | Self::Check(..), _) | (_, &(Method::GET | Method::HEAD)) => Ok(()),
            _ => Err(ApiError::MethodNotAllowed),
        }
    }
}

/// The decoded segments; `None` for one that no route can have.
fn segments(path: &str) -> Vec<Option<String>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Vec::new();
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(decode).collect()
}

fn decode(segment: &str) -> Option<String> {
    let decoded = percent_decode_str(segment).decode_utf8().ok()?;
    (!decoded.is_empty() && !decoded.contains('/')).then(|| decoded.into_owned())
}

fn find(segments: &[&str], core: bool) -> Option<Route> {
    let route = match segments {
        [] => Route::Index,
        ["version"] => Route::Version,
        [probe @ ("healthz" | "livez" | "readyz")] => Route::Probe(Probe::find(probe)?),
        [probe @ ("healthz" | "livez" | "readyz"), check] => {
            Route::Check(Probe::find(probe)?, (*check).to_owned())
        }
        ["metrics"] => Route::OwnMetrics,
        ["openapi", "v2"] => Route::OpenApi2,
        ["openapi", "v3"] => Route::OpenApi3Index,
        ["openapi", "v3", rest @ ..] => Route::OpenApi3(Part::find(&rest.join("/"))?),
        ["apis"] => Route::Groups,
        ["apis", GROUP] => Route::Group,
        ["apis", GROUP, version] => Route::Resources(find_version(version)?),
        ["apis", GROUP, version, rest @ ..] => Route::Metrics(find_version(version)?, find_objects(rest)?),
        ["api"] if core => Route::CoreVersions,
        ["api", "v1"] if core => Route::CoreResources,
        ["api", "v1", "namespaces"] if core => Route::Namespaces,
        ["api", "v1", rest @ ..] if core => Route::Core(find_objects(rest)?),
        _ => return None,
    };
    Some(route)
}

fn find_version(name: &str) -> Option<Version> {
    Version::ALL.into_iter().find(|version| version.name() == name)
}

fn find_objects(segments: &[&str]) -> Option<Objects> {
    let objects = match *segments {
        ["nodes"] => Objects::Nodes,
        ["nodes", name] => Objects::Node(name.to_owned()),
        ["pods"] => Objects::Pods(None),
        ["namespaces", namespace, "pods"] => Objects::Pods(Some(namespace.to_owned())),
        ["namespaces", namespace, "pods", name] => {
            Objects::Pod { namespace: namespace.to_owned(), name: name.to_owned() }
        }
        _ => return None,
    };
    Some(objects)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "/apis/metrics.k8s.io/v1beta1";

    fn metrics(rest: &str) -> Result<Objects, ApiError> {
        match Route::parse(&format!("{BASE}{rest}"), false)? {
            Route::Metrics(Version::V1Beta1, objects) => Ok(objects),
            other => unreachable!("{other:?}"),
        }
    }

    fn pod() -> Objects {
        Objects::Pod { namespace: "default".to_owned(), name: "web-1".to_owned() }
    }

    #[test]
    fn every_path_that_exists_is_found() {
        assert_eq!(metrics("/nodes"), Ok(Objects::Nodes));
        assert_eq!(metrics("/nodes/n1"), Ok(Objects::Node("n1".to_owned())));
        assert_eq!(metrics("/pods"), Ok(Objects::Pods(None)));
        assert_eq!(metrics("/namespaces/default/pods"), Ok(Objects::Pods(Some("default".to_owned()))));
        assert_eq!(metrics("/namespaces/default/pods/web-1"), Ok(pod()));
        let table = [
            ("/", Route::Index),
            ("/version", Route::Version),
            ("/readyz", Route::Probe(Probe::Ready)),
            ("/livez", Route::Probe(Probe::Live)),
            ("/healthz", Route::Probe(Probe::Health)),
            ("/livez/ping", Route::Check(Probe::Live, "ping".to_owned())),
            ("/metrics", Route::OwnMetrics),
            ("/openapi/v2", Route::OpenApi2),
            ("/openapi/v3", Route::OpenApi3Index),
            ("/openapi/v3/", Route::OpenApi3Index),
            ("/openapi/v3/apis", Route::OpenApi3(Part::Groups)),
            ("/openapi/v3/apis/metrics.k8s.io/v1beta1", Route::OpenApi3(Part::Version(Version::V1Beta1))),
            ("/apis", Route::Groups),
            ("/apis/metrics.k8s.io", Route::Group),
            ("/apis/metrics.k8s.io/v1", Route::Resources(Version::V1)),
            (BASE, Route::Resources(Version::V1Beta1)),
        ];
        for (path, route) in table {
            assert_eq!(Route::parse(path, false), Ok(route), "{path}");
        }
    }

    #[test]
    fn a_trailing_slash_and_escapes_change_nothing() {
        assert_eq!(metrics("/nodes/"), Ok(Objects::Nodes));
        assert_eq!(metrics("/nodes/n1/"), Ok(Objects::Node("n1".to_owned())));
        assert_eq!(metrics("/nodes/%6e1"), Ok(Objects::Node("n1".to_owned())));
        assert_eq!(Route::parse("/apis/", false), Ok(Route::Groups));
    }

    #[test]
    fn what_is_missing_below_the_group_is_a_missing_resource() {
        for rest in [
            "/foos",
            "/nodes/n1/status",
            "/nodes/a%2Fb",
            "/nodes/%ff",
            "/nodes//",
            "//nodes",
            "/namespaces",
            "/namespaces/default",
            "/namespaces/default/nodes",
            "/namespaces//pods",
            "/namespaces/default/pods/web-1/log",
            "/pods/web-1",
            "/watch/nodes",
            "/Nodes",
        ] {
            assert_eq!(metrics(rest), Err(ApiError::NoSuchResource), "{rest}");
        }
        // A Go server answers the latter with 200 and nothing (c026).
        for path in ["/apis/metrics.k8s.io/v2", "/openapi/v3/nope", "/openapi/v3/apis/metrics.k8s.io/v2"] {
            assert_eq!(Route::parse(path, false), Err(ApiError::NoSuchResource));
        }
    }

    #[test]
    fn anything_else_is_a_missing_path() {
        for path in [
            "/api",
            "/foo",
            "//",
            "//apis",
            "/apis/METRICS.k8s.io/v1",
            "/apis/apps",
            "*",
            "/metrics/x",
            "/livez/a/b",
        ] {
            assert_eq!(Route::parse(path, false), Err(ApiError::NoSuchPath), "{path}");
        }
    }

    #[test]
    fn the_core_api_exists_only_where_it_is_asked_for() {
        assert_eq!(Route::parse("/api", true), Ok(Route::CoreVersions));
        assert_eq!(Route::parse("/api/v1", true), Ok(Route::CoreResources));
        assert_eq!(Route::parse("/api/v1/namespaces", true), Ok(Route::Namespaces));
        assert_eq!(Route::parse("/api/v1/namespaces/default/pods/web-1", true), Ok(Route::Core(pod())));
        assert_eq!(Route::parse("/api/v1/secrets", true), Err(ApiError::NoSuchResource));
        assert_eq!(Route::parse("/api/v1/nodes", false), Err(ApiError::NoSuchPath));
    }

    #[test]
    fn only_reading_is_allowed() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Route::Groups.check_method(&method), Err(ApiError::MethodNotAllowed));
            assert_eq!(Route::Probe(Probe::Live).check_method(&method), Ok(()));
        }
        assert_eq!(Route::Groups.check_method(&Method::HEAD), Ok(()));
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic_and_no_name_has_a_slash(path in "(/|/apis|/metrics.k8s.io|/v1|/nodes|/pods|/namespaces|%2F|[a-z%]{1,3}){0,9}", core: bool) {
            if let Ok(Route::Metrics(_, objects)) = Route::parse(&path, core) {
                prop_assert!(objects.name().is_none_or(|name| !name.is_empty() && !name.contains('/')));
            }
        }
    }
}
