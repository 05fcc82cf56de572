//! The messages of `openapi.v2` that our document of version 2 uses.

use serde_json::Value;

use super::{Form, Message};

/// The document.
pub static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::Message(&INFO)),
        ("paths", 8, Form::Message(&PATHS)),
        ("definitions", 9, Form::Message(&SCHEMAS)),
    ],
    entries: None,
    extensions: Some(16),
};

static INFO: Message = Message {
    fields: &[("title", 1, Form::Text), ("version", 2, Form::Text), ("description", 3, Form::Text)],
    entries: None,
    extensions: Some(7),
};

static PATHS: Message =
    Message { fields: &[], entries: Some((2, Form::Message(&PATH_ITEM))), extensions: Some(1) };

static PATH_ITEM: Message = Message {
    fields: &[("get", 2, Form::Message(&OPERATION)), ("parameters", 9, Form::Each(&PARAMETERS_ITEM))],
    entries: None,
    extensions: Some(10),
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Texts),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("responses", 9, Form::Message(&RESPONSES)),
        ("schemes", 10, Form::Texts),
    ],
    entries: None,
    extensions: Some(13),
};

/// Parameter, in it one that is no body, in it one of the query or of the path.
static PARAMETERS_ITEM: Form = Form::Wrapped(1, &Form::Wrapped(2, &Form::OneOf(parameter)));

fn parameter(value: &Value) -> (u32, Form) {
    match value.get("in").and_then(Value::as_str) {
        Some("path") => (4, Form::Message(&PATH_PARAMETER)),
        _ => (3, Form::Message(&QUERY_PARAMETER)),
    }
}

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 6, Form::Text),
        ("format", 7, Form::Text),
        ("uniqueItems", 20, Form::Flag),
    ],
    entries: None,
    extensions: Some(23),
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("format", 6, Form::Text),
        ("uniqueItems", 19, Form::Flag),
    ],
    entries: None,
    extensions: Some(22),
};

/// Each response is wrapped, because it could be a reference.
static RESPONSES: Message = Message {
    fields: &[],
    entries: Some((1, Form::Wrapped(1, &Form::Message(&RESPONSE)))),
    extensions: Some(2),
};

static RESPONSE: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        // Wrapped, because it could be the schema of a file.
        ("schema", 2, Form::Wrapped(1, &Form::Message(&SCHEMA))),
    ],
    entries: None,
    extensions: Some(5),
};

static SCHEMAS: Message =
    Message { fields: &[], entries: Some((1, Form::Message(&SCHEMA))), extensions: None };

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("description", 4, Form::Text),
        ("required", 19, Form::Texts),
        ("additionalProperties", 21, Form::Wrapped(1, &Form::Message(&SCHEMA))),
        ("type", 22, Form::Wrapped(1, &Form::Texts)),
        ("items", 23, Form::Wrapped(1, &Form::Message(&SCHEMA))),
        ("properties", 25, Form::Message(&SCHEMAS)),
    ],
    entries: None,
    extensions: Some(31),
};
