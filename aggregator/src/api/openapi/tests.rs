use prost::Message as _;

use super::*;
use crate::api::openapi::{operations, schemas};

/// As much of gnostic's messages as it takes to find a schema by its group, version and kind, written down a second
/// time.
mod read {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Extension {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<Any>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Any {
        #[prost(string, tag = "2")]
        pub(super) yaml: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Document2 {
        #[prost(string, tag = "1")]
        pub(super) swagger: String,
        #[prost(message, optional, tag = "8")]
        pub(super) paths: Option<Paths2>,
        #[prost(message, optional, tag = "9")]
        pub(super) definitions: Option<Schemas2>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Paths2 {
        #[prost(message, repeated, tag = "2")]
        pub(super) path: Vec<Named>,
    }

    /// An entry whose value does not matter.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Named {
        #[prost(string, tag = "1")]
        pub(super) name: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Schemas2 {
        #[prost(message, repeated, tag = "1")]
        pub(super) entries: Vec<NamedSchema2>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NamedSchema2 {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<Schema2>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Schema2 {
        #[prost(string, tag = "1")]
        pub(super) reference: String,
        #[prost(string, repeated, tag = "19")]
        pub(super) required: Vec<String>,
        #[prost(message, optional, tag = "25")]
        pub(super) properties: Option<Schemas2>,
        #[prost(message, repeated, tag = "31")]
        pub(super) extensions: Vec<Extension>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Document3 {
        #[prost(string, tag = "1")]
        pub(super) openapi: String,
        #[prost(message, optional, tag = "5")]
        pub(super) components: Option<Components>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Components {
        #[prost(message, optional, tag = "1")]
        pub(super) schemas: Option<Schemas3>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Schemas3 {
        #[prost(message, repeated, tag = "1")]
        pub(super) entries: Vec<NamedSchema3>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NamedSchema3 {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<SchemaOrReference>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct SchemaOrReference {
        #[prost(message, optional, tag = "1")]
        pub(super) schema: Option<Schema3>,
        #[prost(message, optional, tag = "2")]
        pub(super) reference: Option<Named>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Schema3 {
        #[prost(string, repeated, tag = "23")]
        pub(super) required: Vec<String>,
        #[prost(message, repeated, tag = "26")]
        pub(super) all_of: Vec<SchemaOrReference>,
        #[prost(message, optional, tag = "31")]
        pub(super) properties: Option<Schemas3>,
        #[prost(message, repeated, tag = "36")]
        pub(super) extensions: Vec<Extension>,
    }
}

fn kinds(extensions: &[read::Extension]) -> serde_json::Value {
    let found = extensions.iter().find(|extension| extension.name == schemas::GROUP_VERSION_KIND).unwrap();
    serde_json::from_str(&found.value.as_ref().unwrap().yaml).unwrap()
}

const NODE: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics";

fn node_kinds() -> serde_json::Value {
    json!([{"group": "metrics.k8s.io", "version": "v1beta1", "kind": "NodeMetrics"}])
}

#[test]
fn c019_the_protobuf_of_version_2_holds_schemas_with_their_kinds() {
    let document = v2::document(&schemas::definitions());
    let encoded = gnostic::encode(&gnostic::v2::DOCUMENT, &document).unwrap();
    let read = read::Document2::decode(encoded.as_slice()).unwrap();
    assert_eq!(read.swagger, "2.0");
    let paths: Vec<String> = read.paths.unwrap().path.into_iter().map(|path| path.name).collect();
    assert_eq!(paths.len(), document["paths"].as_object().unwrap().len());
    let definitions = read.definitions.unwrap().entries;
    let node = definitions.iter().find(|entry| entry.name == NODE).unwrap().value.as_ref().unwrap();
    assert_eq!(node.required, ["timestamp", "window", "usage"]);
    assert_eq!(kinds(&node.extensions), node_kinds());
    let properties = &node.properties.as_ref().unwrap().entries;
    let timestamp =
        properties.iter().find(|entry| entry.name == "timestamp").unwrap().value.as_ref().unwrap();
    assert_eq!(timestamp.reference, "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Time");
}

#[test]
fn c025_the_protobuf_of_version_3_holds_schemas_with_their_kinds() {
    let document = v3::document(Part::Version(Version::V1Beta1), &schemas::definitions());
    let encoded = gnostic::encode(&gnostic::v3::DOCUMENT, &document).unwrap();
    let read = read::Document3::decode(encoded.as_slice()).unwrap();
    assert_eq!(read.openapi, "3.0.0");
    let schemas = read.components.unwrap().schemas.unwrap().entries;
    let node =
        schemas.iter().find(|entry| entry.name == NODE).unwrap().value.clone().unwrap().schema.unwrap();
    assert_eq!(node.required, ["timestamp", "window", "usage"]);
    assert_eq!(kinds(&node.extensions), node_kinds());
    let properties = &node.properties.as_ref().unwrap().entries;
    let timestamp =
        properties.iter().find(|entry| entry.name == "timestamp").unwrap().value.as_ref().unwrap();
    let [reference] = timestamp.schema.as_ref().unwrap().all_of.as_slice() else { panic!("one reference") };
    let path = &reference.reference.as_ref().unwrap().name;
    assert_eq!(path, "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Time");
}

#[test]
fn every_document_has_a_protobuf_form() {
    let definitions = schemas::definitions();
    for part in Part::ALL {
        let document = v3::document(part, &definitions);
        assert!(gnostic::encode(&gnostic::v3::DOCUMENT, &document).is_ok(), "{part:?}");
    }
}

#[test]
fn every_document_of_version_3_is_complete_in_itself() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                assert!(!map.contains_key("$ref") || map.len() == 1, "a reference stands alone: {map:?}");
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let definitions = schemas::definitions();
    for part in Part::ALL {
        let document = v3::document(part, &definitions);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for path in found {
            assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{part:?}: {path}");
        }
    }
}

#[test]
fn both_versions_describe_the_same_paths() {
    let definitions = schemas::definitions();
    let v2 = v2::document(&definitions);
    let all: Vec<String> =
        Part::ALL.into_iter().flat_map(operations::of).map(|operation| operation.path).collect();
    assert_eq!(v2["paths"].as_object().unwrap().len(), all.len());
    for part in Part::ALL {
        let v3 = v3::document(part, &definitions);
        for path in v3["paths"].as_object().unwrap().keys() {
            let id = |document: &Value| document["paths"][path]["get"]["operationId"].clone();
            assert_eq!(id(&v2), id(&v3), "{path}");
        }
    }
}

#[test]
fn operations_on_objects_name_action_and_kind() {
    let document = v2::document(&schemas::definitions());
    let get = &document["paths"]["/apis/metrics.k8s.io/v1/namespaces/{namespace}/pods"];
    assert_eq!(get["get"]["x-kubernetes-action"], "list");
    assert_eq!(
        get["get"][schemas::GROUP_VERSION_KIND],
        json!({"group": "metrics.k8s.io", "version": "v1", "kind": "PodMetrics"})
    );
    let names: Vec<&str> = get["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    for expected in ["namespace", "labelSelector", "fieldSelector", "limit", "watch", "pretty"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    assert_eq!(get["parameters"][0]["required"], true);
}

#[test]
fn amounts_have_the_type_that_each_version_gives_them_everywhere() {
    let definitions = schemas::definitions();
    assert_eq!(v2::document(&definitions)["definitions"][schemas::QUANTITY]["type"], "string");
    let v3 = v3::document(Part::Version(Version::V1), &definitions);
    let quantity = &v3["components"]["schemas"][schemas::QUANTITY];
    assert_eq!(quantity["oneOf"], json!([{"type": "string"}, {"type": "number"}]));
    assert_eq!(quantity.get("type"), None);
}
