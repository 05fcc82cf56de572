//! The document of version 2 (Swagger): everything in one.

use serde_json::{Map, Value, json};

use super::{
    Part,
    operations::{self, Operation, Parameter},
    schemas::{Definitions, GROUP_VERSION_KIND, PREFIX},
};
use crate::api::route::GROUP;

/// Puts it together.
#[must_use]
pub fn document(definitions: &Definitions) -> Value {
    let operations = Part::ALL.into_iter().flat_map(operations::of);
    let paths = operations.map(|operation| (operation.path.clone(), path_item(&operation)));
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubevitals", "version": concat!("v", env!("CARGO_PKG_VERSION"))},
        "paths": paths.collect::<Map<_, _>>(),
        "definitions": definitions,
    })
}

fn path_item(operation: &Operation) -> Value {
    let parameters: Vec<Value> =
        operation.parameters.iter().map(|&&parameter| self::parameter(parameter)).collect();
    let mut item = json!({"get": self::operation(operation)});
    if let Value::Object(item) = &mut item
        && !parameters.is_empty()
    {
        item.insert("parameters".to_owned(), parameters.into());
    }
    item
}

fn operation(operation: &Operation) -> Value {
    let mut fields = Map::from_iter([
        ("description".to_owned(), json!(operation.description)),
        ("consumes".to_owned(), json!(["*/*"])),
        ("produces".to_owned(), json!(operation.media_types)),
        ("schemes".to_owned(), json!(["https"])),
        ("tags".to_owned(), json!([operation.tag])),
        ("operationId".to_owned(), json!(operation.id)),
        ("responses".to_owned(), responses(operation)),
    ]);
    fields.extend(extensions(operation));
    fields.into()
}

fn responses(operation: &Operation) -> Value {
    json!({
        "200": {"description": "OK", "schema": {"$ref": format!("{PREFIX}{}", operation.returns)}},
        "401": {"description": "Unauthorized"},
    })
}

/// What both versions say about an operation beyond OpenAPI.
pub(super) fn extensions(operation: &Operation) -> Vec<(String, Value)> {
    let Some(action) = operation.action else { return Vec::new() };
    let kind = json!({"group": GROUP, "version": action.version.name(), "kind": action.kind});
    vec![("x-kubernetes-action".to_owned(), json!(action.verb)), (GROUP_VERSION_KIND.to_owned(), kind)]
}

fn parameter(parameter: Parameter) -> Value {
    let Parameter { name, place, kind, description } = parameter;
    let mut value = json!({
        "name": name,
        "in": place,
        "description": description,
        "type": kind,
        "uniqueItems": true,
    });
    if let Value::Object(fields) = &mut value
        && place == "path"
    {
        fields.insert("required".to_owned(), true.into());
    }
    value
}
