//! What a request wants to do, and whether its sender may.
//!
//! Everybody with a name may read everything; without one only the probes answer. The attributes are those that
//! a `SubjectAccessReview` asks for.

use http::Method;

use super::Identity;
use crate::api::{
    route::{GROUP, Objects, Route},
    status::{About, ApiError},
};

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// To do something with API objects.
    Resource {
        /// `get`, `list`, `watch`, ...
        verb: &'static str,
        /// API group; empty for core.
        group: &'static str,
        /// Plural.
        resource: &'static str,
        /// The namespace, when the path has one.
        namespace: Option<&'a str>,
        /// The object's name, when it is about one.
        name: Option<&'a str>,
    },
    /// To do something with a path that is not about API objects.
    Path {
        /// The method in lower case.
        verb: String,
        /// As sent.
        path: &'a str,
    },
}

impl<'a> Attributes<'a> {
    /// From the route, and from the bare path when there is none: a path without a route is about no object.
    #[must_use]
    pub fn new(method: &Method, path: &'a str, route: Option<&'a Route>, watch: bool) -> Self {
        match route {
            Some(Route::Metrics(_, objects)) => Self::of_objects(method, GROUP, objects, watch),
            Some(Route::Core(objects)) => Self::of_objects(method, "", objects, watch),
            Some(Route::Namespaces) => Self::Resource {
                verb: verb(method, false, watch),
                group: "",
                resource: "namespaces",
                namespace: None,
                name: None,
            },
            _ => Self::Path { verb: method.as_str().to_ascii_lowercase(), path },
        }
    }

    fn of_objects(method: &Method, group: &'static str, objects: &'a Objects, watch: bool) -> Self {
        let name = objects.name();
        Self::Resource {
            verb: verb(method, name.is_some(), watch),
            group,
            resource: objects.resource(),
            namespace: objects.namespace(),
            name,
        }
    }
}

/// The verb of a request on objects. A method that Kubernetes does not know has none.
fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) if watch => "watch",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "",
    }
}

/// Decides.
pub fn check(identity: &Identity, route: Option<&Route>, wanted: &Attributes<'_>) -> Result<(), ApiError> {
    let allowed = matches!(identity, Identity::User(_)) || matches!(route, Some(Route::Probe(_)));
    if allowed { Ok(()) } else { Err(forbidden(identity, wanted)) }
}

fn forbidden(identity: &Identity, wanted: &Attributes<'_>) -> ApiError {
    let user = identity.name();
    match wanted {
        Attributes::Path { verb, path } => ApiError::Forbidden {
            message: format!("forbidden: User {user:?} cannot {verb} path {path:?}"),
            about: None,
        },
        Attributes::Resource { verb, group, resource, namespace, name } => {
            let scope = match namespace {
                Some(namespace) => format!("in the namespace {namespace:?}"),
                None => "at the cluster scope".to_owned(),
            };
            let separator = if group.is_empty() { "" } else { "." };
            let object = name.map(|name| format!(" {name:?}")).unwrap_or_default();
            let message = format!(
                "{resource}{separator}{group}{object} is forbidden: User {user:?} cannot {verb} resource {resource:?} \
                 in API group {group:?} {scope}"
            );
            let name = name.unwrap_or_default().to_owned();
            ApiError::Forbidden { message, about: Some(About { group, resource, name }) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(identity: &Identity, method: &Method, path: &str, watch: bool) -> Option<String> {
        let route = Route::parse(path, true).ok();
        let wanted = Attributes::new(method, path, route.as_ref(), watch);
        check(identity, route.as_ref(), &wanted).err().map(|error| error.to_string())
    }

    fn anonymous(path: &str) -> Option<String> {
        message(&Identity::Anonymous, &Method::GET, path, false)
    }

    #[test]
    fn c077_without_credentials_objects_are_forbidden() {
        assert_eq!(
            anonymous("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/web-1").as_deref(),
            Some(
                "pods.metrics.k8s.io \"web-1\" is forbidden: User \"system:anonymous\" cannot get resource \"pods\" \
                 in API group \"metrics.k8s.io\" in the namespace \"default\""
            )
        );
        assert_eq!(
            anonymous("/api/v1/nodes").as_deref(),
            Some(
                "nodes is forbidden: User \"system:anonymous\" cannot list resource \"nodes\" in API group \"\" \
                 at the cluster scope"
            )
        );
    }

    #[test]
    fn c078_probes_need_no_credentials() {
        for path in ["/healthz", "/livez", "/readyz", "/readyz/"] {
            assert_eq!(anonymous(path), None, "{path}");
        }
    }

    #[test]
    fn c079_without_credentials_paths_are_forbidden_whether_they_exist_or_not() {
        for path in ["/metrics", "/version", "/openapi/v2", "/apis", "/", "/readyz/ping"] {
            let expected = format!("forbidden: User \"system:anonymous\" cannot get path {path:?}");
            assert_eq!(anonymous(path), Some(expected));
        }
    }

    #[test]
    fn c069_a_watch_is_asked_for_as_a_watch() {
        let path = "/apis/metrics.k8s.io/v1/nodes";
        let text = message(&Identity::Anonymous, &Method::GET, path, true).unwrap();
        assert!(text.contains("cannot watch resource \"nodes\""), "{text}");
        let text = message(&Identity::Anonymous, &Method::DELETE, path, false).unwrap();
        assert!(text.contains("cannot deletecollection resource"), "{text}");
    }

    #[test]
    fn whoever_has_a_name_may_read_everything() {
        let user = Identity::User("admin".to_owned());
        assert_eq!(message(&user, &Method::GET, "/apis/metrics.k8s.io/v1/pods", false), None);
    }
}
