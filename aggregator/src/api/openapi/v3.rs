//! The documents of version 3: each about a few paths, with only the schemas that they need.

use serde_json::{Map, Value, json};

use super::{
    Part,
    operations::{self, Operation, Parameter},
    schemas::{self, Definitions, PREFIX, QUANTITY},
    v2,
};

/// What `$ref`s begin with in version 3.
const V3_PREFIX: &str = "#/components/schemas/";

/// Puts one together.
#[must_use]
pub fn document(part: Part, definitions: &Definitions) -> Value {
    let operations = operations::of(part);
    let paths: Map<String, Value> =
        operations.iter().map(|operation| (operation.path.clone(), path_item(operation))).collect();
    let roots = operations.iter().map(|operation| json!({"$ref": format!("{PREFIX}{}", operation.returns)}));
    let needed = schemas::reachable(definitions, &roots.collect());
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubevitals", "version": concat!("v", env!("CARGO_PKG_VERSION"))},
        "paths": paths,
        "components": {"schemas": schemas(needed)},
    })
}

/// All schemas in the form of version 3.
fn schemas(needed: Definitions) -> Value {
    let mut schemas = schema(Value::Object(needed));
    if let Some(Value::Object(quantity)) = schemas.get_mut(QUANTITY) {
        // As Kubernetes has it there: without a type of its own, explanations name it instead.
        quantity.remove("type");
        quantity.insert("oneOf".to_owned(), json!([{"type": "string"}, {"type": "number"}]));
    }
    schemas
}

/// From the form of version 2: another prefix, and nothing beside a reference, which may only stand alone.
fn schema(value: Value) -> Value {
    match value {
        Value::Object(map) => match (map.get("$ref").and_then(Value::as_str), map.len()) {
            (Some(path), 1) => json!({"$ref": moved(path)}),
            (Some(path), _) => {
                let wrapped = json!([{"$ref": moved(path)}]);
                let others = map.into_iter().filter(|(key, _)| key != "$ref");
                others.chain([("allOf".to_owned(), wrapped)]).collect()
            }
            (None, _) => map.into_iter().map(|(key, value)| (key, schema(value))).collect(),
        },
        Value::Array(items) => items.into_iter().map(schema).collect(),
        other => other,
    }
}

fn moved(path: &str) -> String {
    path.replacen(PREFIX, V3_PREFIX, 1)
}

fn path_item(operation: &Operation) -> Value {
    let mut item = Map::from_iter([("get".to_owned(), self::operation(operation))]);
    if !operation.parameters.is_empty() {
        let parameters = operation.parameters.iter().map(|&&parameter| self::parameter(parameter));
        item.insert("parameters".to_owned(), parameters.collect());
    }
    item.into()
}

fn operation(operation: &Operation) -> Value {
    let schema = json!({"schema": {"$ref": format!("{V3_PREFIX}{}", operation.returns)}});
    let content: Map<String, Value> =
        operation.media_types.iter().map(|&media_type| (media_type.to_owned(), schema.clone())).collect();
    let responses = json!({
        "200": {"description": "OK", "content": content},
        "401": {"description": "Unauthorized"},
    });
    let mut fields = Map::from_iter([
        ("tags".to_owned(), json!([operation.tag])),
        ("description".to_owned(), json!(operation.description)),
        ("operationId".to_owned(), json!(operation.id)),
        ("responses".to_owned(), responses),
    ]);
    fields.extend(v2::extensions(operation));
    fields.into()
}

fn parameter(parameter: Parameter) -> Value {
    let Parameter { name, place, kind, description } = parameter;
    let mut fields = Map::from_iter([
        ("name".to_owned(), json!(name)),
        ("in".to_owned(), json!(place)),
        ("description".to_owned(), json!(description)),
        ("schema".to_owned(), json!({"type": kind, "uniqueItems": true})),
    ]);
    if place == "path" {
        fields.insert("required".to_owned(), true.into());
    }
    fields.into()
}
