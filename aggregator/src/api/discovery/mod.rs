//! The documents that say what is served: groups, versions, resources, paths, and the program's own version.
//!
//! [`messages`] has their shapes, [`document`] their bytes, [`aggregated`] the one that holds everything; this file
//! what they say. Names, plurals and verbs are chosen with care: `singularName` and short names stay empty so that
//! they shadow nothing of the core API, and verbs stay with reading so that the controllers for deletion leave us
//! alone. Addresses for clients (`serverAddressByClientCIDRs`) are left out: nobody dials this server but through
//! the API server, and it would have to guess its own.

pub mod aggregated;
pub mod document;
pub mod messages;

use std::{env::consts, sync::LazyLock};

use serde::Serialize;

use super::{
    health::Health,
    route::{GROUP, Version},
};
use aggregated::Groups;
use document::Document;
use messages::{Group, GroupList, GroupVersion, Resource, ResourceList, Verbs};

/// `/apis`, plain and aggregated.
#[must_use]
pub fn groups() -> &'static Groups {
    static GROUPS: LazyLock<Groups> = LazyLock::new(|| {
        let plain = Document::new("v1", "APIGroupList", &GroupList { groups: vec![the_group()] });
        Groups::new(plain, GROUP, Version::ALL.map(|version| (version.name(), both())).to_vec())
    });
    &GROUPS
}

/// `/apis/metrics.k8s.io`.
#[must_use]
pub fn group() -> Document {
    Document::new("v1", "APIGroup", &the_group())
}

/// The resources of a version of the group.
#[must_use]
pub fn resources(version: Version) -> Document {
    resource_list(version.group_version(), both())
}

/// A resource list of any group version.
#[must_use]
pub fn resource_list(group_version: &str, resources: Vec<Resource>) -> Document {
    let list = ResourceList { group_version: group_version.to_owned(), resources };
    Document::new("v1", "APIResourceList", &list)
}

/// A resource that can be read.
#[must_use]
pub fn resource(name: &str, singular_name: &str, namespaced: bool, kind: &str) -> Resource {
    Resource {
        name: name.to_owned(),
        singular_name: singular_name.to_owned(),
        namespaced,
        kind: kind.to_owned(),
        verbs: Some(Verbs { items: vec!["get".to_owned(), "list".to_owned()] }),
    }
}

/// `v1` is preferred.
fn the_group() -> Group {
    let version = |version: Version| GroupVersion {
        group_version: version.group_version().to_owned(),
        version: version.name().to_owned(),
    };
    Group {
        name: GROUP.to_owned(),
        versions: Version::ALL.map(version).to_vec(),
        preferred_version: Some(version(Version::V1)),
    }
}

/// The resources of either version.
fn both() -> Vec<Resource> {
    vec![resource("nodes", "", false, "NodeMetrics"), resource("pods", "", true, "PodMetrics")]
}

/// `/version`. Clients require every field; what does not apply is empty.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildVersion {
    major: &'static str,
    minor: &'static str,
    git_version: String,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: String,
}

/// This program's version, in the form of a Kubernetes server's.
#[must_use]
pub fn version() -> BuildVersion {
    BuildVersion {
        major: env!("CARGO_PKG_VERSION_MAJOR"),
        minor: env!("CARGO_PKG_VERSION_MINOR"),
        git_version: format!("v{}", env!("CARGO_PKG_VERSION")),
        git_commit: kubevitals::COMMIT,
        git_tree_state: "",
        build_date: "",
        go_version: "",
        compiler: "rustc",
        platform: format!("{}/{}", consts::OS, architecture()),
    }
}

/// By the name that Kubernetes has for it.
fn architecture() -> &'static str {
    match consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/`, and the body of a 404 for a path that nothing is below.
#[derive(Debug, Serialize)]
pub struct Paths {
    paths: Vec<String>,
}

/// Every path that is served but those of objects, sorted; `core` adds the core API's.
#[must_use]
pub fn paths(core: bool, health: &Health) -> Paths {
    const CORE: [&str; 2] = ["/api", "/api/v1"];
    const ALWAYS: [&str; 12] = [
        "/apis",
        "/apis/metrics.k8s.io",
        "/apis/metrics.k8s.io/v1",
        "/apis/metrics.k8s.io/v1beta1",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/apis",
        "/openapi/v3/apis/metrics.k8s.io",
        "/openapi/v3/apis/metrics.k8s.io/v1",
        "/openapi/v3/apis/metrics.k8s.io/v1beta1",
        "/version",
    ];
    let fixed = CORE.into_iter().filter(|_| core).chain(ALWAYS).map(str::to_owned);
    let mut paths: Vec<String> = fixed.chain(health.paths()).collect();
    paths.sort_unstable();
    Paths { paths }
}

#[cfg(test)]
mod tests;
