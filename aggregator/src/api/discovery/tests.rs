use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::api::encode::{envelope::envelope, format::Encoding};
use crate::api::health::Health;

fn text(document: &Document) -> String {
    String::from_utf8(document.encode(Encoding::JSON)).unwrap()
}

#[test]
fn c001_the_group_list_names_both_versions_and_prefers_v1() {
    let list = Document::new("v1", "APIGroupList", &GroupList { groups: vec![the_group()] });
    assert_eq!(
        text(&list),
        concat!(
            r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"metrics.k8s.io","versions":["#,
            r#"{"groupVersion":"metrics.k8s.io/v1","version":"v1"},"#,
            r#"{"groupVersion":"metrics.k8s.io/v1beta1","version":"v1beta1"}],"#,
            r#""preferredVersion":{"groupVersion":"metrics.k8s.io/v1","version":"v1"}}]}"#,
            "\n"
        )
    );
}

#[test]
fn c011_resources_can_be_read_and_have_no_singular_name() {
    assert_eq!(
        text(&resources(Version::V1Beta1)),
        concat!(
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":["#,
            r#"{"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]},"#,
            r#"{"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}]}"#,
            "\n"
        )
    );
}

#[test]
fn resources_as_protobuf_have_these_bytes() {
    let message = [
        // 1: the group version.
        b"\x0a\x16metrics.k8s.io/v1beta1".as_slice(),
        // 2: a resource with 1 name, 3 kind (2, namespaced, is false) and 4 verbs, themselves a message.
        b"\x12\x21\x0a\x05nodes\x1a\x0bNodeMetrics\x22\x0b\x0a\x03get\x0a\x04list",
        b"\x12\x21\x0a\x04pods\x10\x01\x1a\x0aPodMetrics\x22\x0b\x0a\x03get\x0a\x04list",
    ];
    let document = resources(Version::V1Beta1);
    assert_eq!(document.encode(Encoding::Protobuf), envelope("v1", "APIResourceList", &message.concat()));
}

#[test]
fn documents_as_yaml_hold_the_same() {
    let yaml = String::from_utf8(resources(Version::V1).encode(Encoding::YAML)).unwrap();
    assert!(
        yaml.starts_with("apiVersion: v1\ngroupVersion: metrics.k8s.io/v1\nkind: APIResourceList\n"),
        "{yaml}"
    );
}

#[test]
fn the_version_has_every_field_that_clients_require() {
    let Value::Object(version) = serde_json::to_value(version()).unwrap() else { unreachable!() };
    let info: k8s_openapi::apimachinery::pkg::version::Info = serde_json::from_value(version.into()).unwrap();
    assert_eq!(info.git_version, concat!("v", env!("CARGO_PKG_VERSION")));
    assert_eq!(info.platform.split('/').count(), 2);
}

#[test]
fn a_protobuf_group_reads_back_as_itself() {
    let group = the_group();
    assert_eq!(Group::decode(group.encode_to_vec().as_slice()).unwrap(), group);
}

#[test]
fn every_path_that_is_named_is_served() {
    use crate::api::route::Route;
    for core in [false, true] {
        let named = serde_json::to_value(paths(core, &Health::default())).unwrap();
        let named: Vec<&str> = named["paths"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(named.is_sorted());
        for path in &named {
            assert!(Route::parse(path, core).is_ok(), "{path}");
        }
        assert_eq!(named.contains(&"/api"), core);
    }
    assert_ne!(serde_json::to_value(paths(false, &Health::default())).unwrap(), json!({"paths": []}));
}
