//! The documents that say what is served: groups, versions, resources, paths, and the program's own version.
//!
//! Names, plurals and verbs are chosen with care: `singularName` and short names stay empty so that they shadow
//! nothing of the core API, and verbs stay with reading so that the controllers for deletion leave us alone.

use serde::Serialize;

use super::route::{GROUP, Version};

/// `/apis`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    kind: &'static str,
    api_version: &'static str,
    groups: [Group; 1],
}

/// `/apis/metrics.k8s.io`, and an element of `/apis`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'static str,
    versions: [GroupVersion; 2],
    preferred_version: GroupVersion,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: &'static str,
    version: &'static str,
}

/// The resources of one version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    kind: &'static str,
    api_version: &'static str,
    group_version: &'static str,
    resources: Vec<Resource>,
}

/// One resource: its plural, scope and kind. Its verbs are get and list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    name: &'static str,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    verbs: [&'static str; 2],
}

impl Resource {
    /// A read-only resource.
    #[must_use]
    pub fn new(
        name: &'static str,
        singular_name: &'static str,
        namespaced: bool,
        kind: &'static str,
    ) -> Self {
        Self { name, singular_name, namespaced, kind, verbs: ["get", "list"] }
    }
}

/// `/version`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildVersion {
    major: &'static str,
    minor: &'static str,
    git_version: String,
    platform: String,
}

/// `/`, and the body of a 404 for a path that nothing is below.
#[derive(Debug, Serialize)]
pub struct Paths {
    paths: Vec<&'static str>,
}

/// All groups.
#[must_use]
pub fn groups() -> GroupList {
    let element = Group { kind: None, api_version: None, ..group() };
    GroupList { kind: "APIGroupList", api_version: "v1", groups: [element] }
}

/// The group; `v1` is preferred.
#[must_use]
pub fn group() -> Group {
    let version =
        |version: Version| GroupVersion { group_version: version.group_version(), version: version.name() };
    Group {
        kind: Some("APIGroup"),
        api_version: Some("v1"),
        name: GROUP,
        versions: Version::ALL.map(version),
        preferred_version: version(Version::V1),
    }
}

/// The resources of a version of the group.
#[must_use]
pub fn resources(version: Version) -> ResourceList {
    let nodes = Resource::new("nodes", "", false, "NodeMetrics");
    let pods = Resource::new("pods", "", true, "PodMetrics");
    resource_list(version.group_version(), vec![nodes, pods])
}

/// A resource list of any group version.
#[must_use]
pub fn resource_list(group_version: &'static str, resources: Vec<Resource>) -> ResourceList {
    ResourceList { kind: "APIResourceList", api_version: "v1", group_version, resources }
}

/// This program's version, in the form of a Kubernetes server's.
#[must_use]
pub fn version() -> BuildVersion {
    BuildVersion {
        major: env!("CARGO_PKG_VERSION_MAJOR"),
        minor: env!("CARGO_PKG_VERSION_MINOR"),
        git_version: format!("v{}", env!("CARGO_PKG_VERSION")),
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// Every path that is not below another one; `core` adds the core API's.
#[must_use]
pub fn paths(core: bool) -> Paths {
    const CORE: [&str; 2] = ["/api", "/api/v1"];
    const ALWAYS: [&str; 8] = [
        "/apis",
        "/apis/metrics.k8s.io",
        "/apis/metrics.k8s.io/v1",
        "/apis/metrics.k8s.io/v1beta1",
        "/healthz",
        "/livez",
        "/readyz",
        "/version",
    ];
    Paths { paths: CORE.into_iter().filter(|_| core).chain(ALWAYS).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c001_the_group_list_names_both_versions_and_prefers_v1() {
        assert_eq!(
            serde_json::to_string(&groups()).unwrap(),
            concat!(
                r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"metrics.k8s.io","versions":["#,
                r#"{"groupVersion":"metrics.k8s.io/v1","version":"v1"},"#,
                r#"{"groupVersion":"metrics.k8s.io/v1beta1","version":"v1beta1"}],"#,
                r#""preferredVersion":{"groupVersion":"metrics.k8s.io/v1","version":"v1"}}]}"#
            )
        );
    }

    #[test]
    fn c011_resources_can_be_read_and_have_no_singular_name() {
        assert_eq!(
            serde_json::to_string(&resources(Version::V1Beta1)).unwrap(),
            concat!(
                r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":["#,
                r#"{"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]},"#,
                r#"{"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}]}"#
            )
        );
    }
}
