//! What objects look like: the definitions of OpenAPI, by the names that every Kubernetes server has for them.
//!
//! What we share with Kubernetes (metadata, times, discovery) comes from the `k8s-openapi` crate, texts included: API
//! servers merge definitions of one name and rename those that differ. It leaves out a few extensions, which
//! `EXTENSIONS` adds again. The types of `metrics.k8s.io` are described here, in our own words.
//!
//! References are in the form of version 2 (`#/definitions/NAME`).

use k8s_openapi::{
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{APIGroup, APIGroupList, APIResourceList, ListMeta, ObjectMeta, Time},
        version::Info,
    },
    schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings},
};
use serde_json::{Map, Value, json};

use crate::api::route::{GROUP, Version};

/// Definitions by name.
pub type Definitions = Map<String, Value>;

/// What `$ref`s begin with here.
pub const PREFIX: &str = "#/definitions/";

/// The name of the type of amounts.
pub const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Every definition that any document refers to.
#[must_use]
pub fn definitions() -> Definitions {
    let mut definitions = shared();
    amend(&mut definitions);
    definitions.insert(format!("{META}.Duration"), duration());
    for version in Version::ALL {
        definitions.extend(metrics(version));
    }
    definitions
}

/// The name of a type of `metrics.k8s.io`.
#[must_use]
pub fn name_of(version: Version, kind: &str) -> String {
    format!("io.k8s.metrics.pkg.apis.metrics.{}.{kind}", version.name())
}

/// The name of a type of `meta.k8s.io/v1`.
#[must_use]
pub fn name_of_meta(kind: &str) -> String {
    format!("{META}.{kind}")
}

/// What is not ours.
fn shared() -> Definitions {
    let settings =
        SchemaSettings::default().with(|settings| settings.definitions_path = "/definitions".into());
    let mut generator = settings.into_generator();
    refer_to::<ObjectMeta>(&mut generator);
    refer_to::<ListMeta>(&mut generator);
    refer_to::<Time>(&mut generator);
    refer_to::<Quantity>(&mut generator);
    refer_to::<APIGroup>(&mut generator);
    refer_to::<APIGroupList>(&mut generator);
    refer_to::<APIResourceList>(&mut generator);
    refer_to::<Info>(&mut generator);
    generator.take_definitions(false)
}

/// Makes the generator describe a type and all that it holds.
fn refer_to<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _reference = generator.subschema_for::<T>();
}

/// What the crate leaves out: definition, property (empty for the definition itself), extension, value as JSON.
const EXTENSIONS: [(&str, &str, &str, &str); 13] = [
    ("APIGroup", "serverAddressByClientCIDRs", "x-kubernetes-list-type", r#""atomic""#),
    ("APIGroup", "versions", "x-kubernetes-list-type", r#""atomic""#),
    ("APIGroupList", "groups", "x-kubernetes-list-type", r#""atomic""#),
    ("APIResource", "categories", "x-kubernetes-list-type", r#""atomic""#),
    ("APIResource", "shortNames", "x-kubernetes-list-type", r#""atomic""#),
    ("APIResourceList", "resources", "x-kubernetes-list-type", r#""atomic""#),
    ("ObjectMeta", "finalizers", "x-kubernetes-list-type", r#""set""#),
    ("ObjectMeta", "finalizers", "x-kubernetes-patch-strategy", r#""merge""#),
    ("ObjectMeta", "managedFields", "x-kubernetes-list-type", r#""atomic""#),
    ("ObjectMeta", "ownerReferences", "x-kubernetes-list-map-keys", r#"["uid"]"#),
    ("ObjectMeta", "ownerReferences", "x-kubernetes-list-type", r#""map""#),
    ("ObjectMeta", "ownerReferences", "x-kubernetes-patch-merge-key", r#""uid""#),
    ("ObjectMeta", "ownerReferences", "x-kubernetes-patch-strategy", r#""merge""#),
];

fn amend(definitions: &mut Definitions) {
    for (kind, property, extension, value) in EXTENSIONS {
        let properties =
            definitions.get_mut(&name_of_meta(kind)).and_then(|found| found.get_mut("properties"));
        let Some(Value::Object(found)) = properties.and_then(|found| found.get_mut(property)) else {
            continue;
        };
        found.insert(extension.to_owned(), serde_json::from_str(value).unwrap_or_default());
    }
    for kind in ["APIGroup", "APIGroupList", "APIResourceList"] {
        if let Some(Value::Object(found)) = definitions.get_mut(&name_of_meta(kind)) {
            found
                .insert(GROUP_VERSION_KIND.to_owned(), json!([{"group": "", "version": "v1", "kind": kind}]));
        }
    }
    if let Some(Value::Object(quantity)) = definitions.get_mut(QUANTITY) {
        // The crate describes what may be written into a custom resource; what is read is always text.
        quantity.remove("x-kubernetes-int-or-string");
        quantity.insert("type".to_owned(), "string".into());
    }
}

/// How clients find the schema of a kind.
pub const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";

fn duration() -> Value {
    json!({"description": "A length of time in the notation of Go, such as 15.2s or 1m30s.", "type": "string"})
}

fn reference(name: &str, description: &str) -> Value {
    json!({"$ref": format!("{PREFIX}{name}"), "description": description})
}

/// The five types of a version of `metrics.k8s.io`.
fn metrics(version: Version) -> [(String, Value); 5] {
    let containers = json!({
        "description": "The containers of the pod that run, all measured over the same window.",
        "type": "array",
        "items": {"$ref": format!("{PREFIX}{}", name_of(version, "ContainerMetrics"))},
        "x-kubernetes-list-type": "atomic",
    });
    [
        (name_of(version, "ContainerMetrics"), container()),
        object(version, "NodeMetrics", "What a node uses.", ("usage", usage("the node"))),
        list(version, "NodeMetrics", "What nodes use."),
        object(version, "PodMetrics", "What the containers of a pod use.", ("containers", containers)),
        list(version, "PodMetrics", "What pods use."),
    ]
}

fn usage(of: &str) -> Value {
    json!({
        "description": format!(
            "What {of} uses: cpu is the mean over the window in cores, memory the working set at its end in bytes."
        ),
        "type": "object",
        "additionalProperties": {"$ref": format!("{PREFIX}{QUANTITY}")},
    })
}

fn container() -> Value {
    json!({
        "description": "What a container uses.",
        "type": "object",
        "required": ["name", "usage"],
        "properties": {
            "name": {"description": "The name of the container in the pod's specification.", "type": "string"},
            "usage": usage("the container"),
        },
    })
}

/// An object with numbers; `numbers` is the property that holds them.
fn object(version: Version, kind: &str, description: &str, numbers: (&str, Value)) -> (String, Value) {
    let mut properties = type_meta();
    let metadata = "Name, namespace and labels are those of the object that was measured.";
    properties.insert("metadata".to_owned(), reference(&name_of_meta("ObjectMeta"), metadata));
    let timestamp = reference(&name_of_meta("Time"), "When the window ended.");
    properties.insert("timestamp".to_owned(), timestamp);
    let window = reference(&name_of_meta("Duration"), "How long the window was.");
    properties.insert("window".to_owned(), window);
    let (name, schema) = numbers;
    properties.insert(name.to_owned(), schema);
    let schema = json!({
        "description": description,
        "type": "object",
        "required": ["timestamp", "window", name],
        "properties": properties,
        GROUP_VERSION_KIND: [{"group": GROUP, "version": version.name(), "kind": kind}],
    });
    (name_of(version, kind), schema)
}

fn list(version: Version, kind: &str, description: &str) -> (String, Value) {
    let mut properties = type_meta();
    let metadata = "Empty: a list is always complete and cannot be watched.";
    properties.insert("metadata".to_owned(), reference(&name_of_meta("ListMeta"), metadata));
    let items = json!({
        "description": "The objects, sorted by namespace and name.",
        "type": "array",
        "items": {"$ref": format!("{PREFIX}{}", name_of(version, kind))},
    });
    properties.insert("items".to_owned(), items);
    let kind = format!("{kind}List");
    let schema = json!({
        "description": description,
        "type": "object",
        "required": ["items"],
        "properties": properties,
        GROUP_VERSION_KIND: [{"group": GROUP, "version": version.name(), "kind": kind}],
    });
    (name_of(version, &kind), schema)
}

fn type_meta() -> Map<String, Value> {
    let text = |description: &str| json!({"description": description, "type": "string"});
    Map::from_iter([
        ("apiVersion".to_owned(), text("The group and version of this object.")),
        ("kind".to_owned(), text("The type of this object.")),
    ])
}

/// The names that a value refers to, also through other definitions.
#[must_use]
pub fn reachable(definitions: &Definitions, from: &Value) -> Definitions {
    let mut found = Definitions::new();
    let mut open = references(from);
    while let Some(name) = open.pop() {
        if let Some(schema) = definitions.get(&name)
            && found.insert(name, schema.clone()).is_none()
        {
            open.extend(references(schema));
        }
    }
    found
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(PREFIX));
            own.map(str::to_owned).into_iter().chain(map.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c027_objects_and_lists_name_their_group_version_and_kind() {
        let definitions = definitions();
        for version in Version::ALL {
            for kind in ["NodeMetrics", "PodMetrics", "NodeMetricsList", "PodMetricsList"] {
                let expected = json!([{"group": "metrics.k8s.io", "version": version.name(), "kind": kind}]);
                assert_eq!(definitions[&name_of(version, kind)][GROUP_VERSION_KIND], expected);
            }
        }
    }

    #[test]
    fn measured_objects_require_their_numbers_and_times() {
        let definitions = definitions();
        let required = |kind| definitions[&name_of(Version::V1, kind)]["required"].clone();
        assert_eq!(required("NodeMetrics"), json!(["timestamp", "window", "usage"]));
        assert_eq!(required("PodMetrics"), json!(["timestamp", "window", "containers"]));
        assert_eq!(required("ContainerMetrics"), json!(["name", "usage"]));
        assert_eq!(required("PodMetricsList"), json!(["items"]));
    }

    #[test]
    fn every_reference_has_its_definition_and_every_definition_a_description() {
        let definitions = definitions();
        for (name, schema) in &definitions {
            assert!(schema["description"].is_string(), "{name}");
            for referred in references(schema) {
                assert!(definitions.contains_key(&referred), "{name} refers to {referred}");
            }
        }
    }

    #[test]
    fn what_the_crate_leaves_out_is_added() {
        let definitions = definitions();
        for (kind, property, extension, value) in EXTENSIONS {
            let schema = &definitions[&name_of_meta(kind)]["properties"][property];
            assert_eq!(schema[extension].to_string(), value, "{kind}.{property}");
        }
        assert_eq!(definitions[QUANTITY]["type"], "string");
    }

    #[test]
    fn only_what_is_referred_to_is_reachable() {
        let definitions = definitions();
        let from = json!({"$ref": format!("{PREFIX}{}", name_of(Version::V1, "PodMetricsList"))});
        let found = reachable(&definitions, &from);
        assert!(found.contains_key(&name_of(Version::V1, "ContainerMetrics")));
        assert!(found.contains_key(&name_of_meta("ManagedFieldsEntry")));
        assert!(!found.keys().any(|name| name.contains("v1beta1") || name.contains("NodeMetrics")));
        assert!(!found.contains_key(&name_of_meta("APIGroup")));
    }
}
