//! Which paths answer with which schemas: one table for both versions of OpenAPI.

use super::{Part, schemas};
use crate::api::route::{GROUP, Version};

/// What can be sent of every document and object.
pub const MEDIA_TYPES: [&str; 3] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// A GET on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// With placeholders in braces.
    pub path: String,
    /// Unique, in the form that code generators know.
    pub id: String,
    /// What it does.
    pub description: String,
    /// What it belongs to.
    pub tag: String,
    /// What it does to which kind; none for documents.
    pub action: Option<Action>,
    /// The name of the schema of what it returns.
    pub returns: String,
    /// What it can be told.
    pub parameters: Vec<&'static Parameter>,
    /// What it can send.
    pub media_types: &'static [&'static str],
}

/// What an operation does to which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// `get` or `list`.
    pub verb: &'static str,
    /// The version of the group.
    pub version: Version,
    /// The kind of the object, also for lists of them.
    pub kind: &'static str,
}

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// `path` or `query`.
    pub place: &'static str,
    /// `string`, `integer` or `boolean`.
    pub kind: &'static str,
    /// What it does.
    pub description: &'static str,
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "path", kind: "string", description }
}

const fn query(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: "query", kind, description }
}

static NODE: Parameter = path("name", "Name of the node.");
static POD: Parameter = path("name", "Name of the pod.");
static NAMESPACE: Parameter = path("namespace", "Namespace of the pods.");
static PRETTY: Parameter = query("pretty", "string", "Whether JSON is indented: true or false.");

/// What every list of Kubernetes can be told, and what comes of it here.
static LIST: [Parameter; 11] = [
    query("allowWatchBookmarks", "boolean", "Belongs to watches; ignored."),
    query("continue", "string", "Ignored: a list is always complete, in one page."),
    query(
        "fieldSelector",
        "string",
        "Only objects whose fields match: metadata.name and metadata.namespace, and spec.nodeName for pods.",
    ),
    query("labelSelector", "string", "Only objects whose labels match."),
    query("limit", "integer", "Ignored: a list is always complete, in one page."),
    PRETTY,
    query("resourceVersion", "string", "Ignored: numbers have no versions."),
    query("resourceVersionMatch", "string", "Refused without resourceVersion, otherwise ignored."),
    query("sendInitialEvents", "boolean", "Belongs to watches; refused."),
    query("timeoutSeconds", "integer", "Belongs to watches; ignored."),
    query("watch", "boolean", "Refused: numbers change all the time, so there are no events."),
];

/// The operations that a document of version 3 describes.
#[must_use]
pub fn of(part: Part) -> Vec<Operation> {
    let document = |path: &str, id: &str, tag: &str, description: &str, returns: String| Operation {
        path: path.to_owned(),
        id: id.to_owned(),
        description: description.to_owned(),
        tag: tag.to_owned(),
        action: None,
        returns,
        parameters: Vec::new(),
        media_types: &MEDIA_TYPES,
    };
    let meta = schemas::name_of_meta;
    match part {
        Part::Groups => {
            let about = "list the groups and their versions";
            vec![document("/apis/", "getAPIVersions", "apis", about, meta("APIGroupList"))]
        }
        Part::Group => {
            let path = format!("/apis/{GROUP}/");
            vec![document(
                &path,
                "getMetricsAPIGroup",
                "metrics",
                "read the versions of the group",
                meta("APIGroup"),
            )]
        }
        Part::Version(version) => {
            let path = format!("/apis/{GROUP}/{}/", version.name());
            let id = format!("getMetrics{}APIResources", title(version));
            let (tag, about) = (tag(version), "list the resources of this version");
            let mut all = vec![document(&path, &id, &tag, about, meta("APIResourceList"))];
            all.extend(objects(version));
            all
        }
        Part::Build => {
            let returns = "io.k8s.apimachinery.pkg.version.Info".to_owned();
            let about = "read the version of this server";
            let operation = document("/version/", "getCodeVersion", "version", about, returns);
            vec![Operation { media_types: &["application/json"], ..operation }]
        }
    }
}

/// The reads of numbers.
fn objects(version: Version) -> [Operation; 5] {
    let read =
        |rest: &str, verb: &'static str, kind: &'static str, infix: &str, own: &[&'static Parameter]| {
            let returns = if verb == "list" { format!("{kind}List") } else { kind.to_owned() };
            let (does, common): (_, Vec<_>) = match verb {
                "list" => ("list", LIST.iter().collect()),
                _ => ("read", vec![&PRETTY]),
            };
            Operation {
                path: format!("/apis/{GROUP}/{}/{rest}", version.name()),
                id: format!("{does}Metrics{}{infix}", title(version)),
                description: match does {
                    "list" => format!("list {kind} objects"),
                    _ => format!("read one {kind} object"),
                },
                tag: tag(version),
                action: Some(Action { verb, version, kind }),
                returns: schemas::name_of(version, &returns),
                parameters: own.iter().copied().chain(common).collect(),
                media_types: &MEDIA_TYPES,
            }
        };
    let pods = "namespaces/{namespace}/pods";
    let pod = "namespaces/{namespace}/pods/{name}";
    [
        read("nodes", "list", "NodeMetrics", "NodeMetrics", &[]),
        read("nodes/{name}", "get", "NodeMetrics", "NodeMetrics", &[&NODE]),
        read("pods", "list", "PodMetrics", "PodMetricsForAllNamespaces", &[]),
        read(pods, "list", "PodMetrics", "NamespacedPodMetrics", &[&NAMESPACE]),
        read(pod, "get", "PodMetrics", "NamespacedPodMetrics", &[&POD, &NAMESPACE]),
    ]
}

fn tag(version: Version) -> String {
    format!("metrics_{}", version.name())
}

/// The version as names have it.
fn title(version: Version) -> &'static str {
    match version {
        Version::V1 => "V1",
        Version::V1Beta1 => "V1beta1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::Route;

    #[test]
    fn every_operation_is_about_a_path_that_is_served() {
        for part in Part::ALL {
            for operation in of(part) {
                let path = operation.path.replace("{name}", "a").replace("{namespace}", "b");
                assert!(Route::parse(&path, false).is_ok(), "{path}");
            }
        }
    }

    #[test]
    fn ids_are_those_that_generated_clients_know() {
        let ids: Vec<String> =
            of(Part::Version(Version::V1Beta1)).into_iter().map(|operation| operation.id).collect();
        assert_eq!(
            ids,
            [
                "getMetricsV1beta1APIResources",
                "listMetricsV1beta1NodeMetrics",
                "readMetricsV1beta1NodeMetrics",
                "listMetricsV1beta1PodMetricsForAllNamespaces",
                "listMetricsV1beta1NamespacedPodMetrics",
                "readMetricsV1beta1NamespacedPodMetrics",
            ]
        );
    }
}
