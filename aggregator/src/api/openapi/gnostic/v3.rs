//! The messages of `openapi.v3` that our documents of version 3 use.

use serde_json::Value;

use super::{Form, Message};

/// A document.
pub static DOCUMENT: Message = Message {
    fields: &[
        ("openapi", 1, Form::Text),
        ("info", 2, Form::Message(&INFO)),
        ("paths", 4, Form::Message(&PATHS)),
        ("components", 5, Form::Message(&COMPONENTS)),
    ],
    entries: None,
    extensions: Some(9),
};

static INFO: Message = Message {
    fields: &[("title", 1, Form::Text), ("description", 2, Form::Text), ("version", 6, Form::Text)],
    entries: None,
    extensions: Some(7),
};

static PATHS: Message =
    Message { fields: &[], entries: Some((1, Form::Message(&PATH_ITEM))), extensions: Some(2) };

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 4, Form::Message(&OPERATION)),
        // Each is wrapped, because it could be a reference.
        ("parameters", 13, Form::Each(&Form::Wrapped(1, &Form::Message(&PARAMETER)))),
    ],
    entries: None,
    extensions: Some(14),
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Texts),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("responses", 8, Form::Message(&RESPONSES)),
    ],
    entries: None,
    extensions: Some(13),
};

static PARAMETER: Message = Message {
    fields: &[
        ("name", 1, Form::Text),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 10, SCHEMA_OR_REFERENCE),
    ],
    entries: None,
    extensions: Some(14),
};

/// Each response is wrapped, because it could be a reference.
static RESPONSES: Message = Message {
    fields: &[],
    entries: Some((2, Form::Wrapped(1, &Form::Message(&RESPONSE)))),
    extensions: Some(3),
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Form::Text), ("content", 3, Form::Message(&CONTENT))],
    entries: None,
    extensions: Some(5),
};

static CONTENT: Message =
    Message { fields: &[], entries: Some((1, Form::Message(&MEDIA_TYPE))), extensions: None };

static MEDIA_TYPE: Message =
    Message { fields: &[("schema", 1, SCHEMA_OR_REFERENCE)], entries: None, extensions: Some(5) };

static COMPONENTS: Message =
    Message { fields: &[("schemas", 1, Form::Message(&SCHEMAS))], entries: None, extensions: Some(10) };

static SCHEMAS: Message = Message { fields: &[], entries: Some((1, SCHEMA_OR_REFERENCE)), extensions: None };

const SCHEMA_OR_REFERENCE: Form = Form::OneOf(schema_or_reference);

fn schema_or_reference(value: &Value) -> (u32, Form) {
    match value.get("$ref") {
        None => (1, Form::Message(&SCHEMA)),
        Some(_) => (2, Form::Message(&REFERENCE)),
    }
}

static REFERENCE: Message = Message { fields: &[("$ref", 1, Form::Text)], entries: None, extensions: None };

static SCHEMA: Message = Message {
    fields: &[
        ("uniqueItems", 20, Form::Flag),
        ("required", 23, Form::Texts),
        ("type", 25, Form::Text),
        ("allOf", 26, Form::Each(&SCHEMA_OR_REFERENCE)),
        ("oneOf", 27, Form::Each(&SCHEMA_OR_REFERENCE)),
        ("items", 30, Form::Wrapped(1, &SCHEMA_OR_REFERENCE)),
        ("properties", 31, Form::Message(&SCHEMAS)),
        ("additionalProperties", 32, Form::Wrapped(1, &SCHEMA_OR_REFERENCE)),
        ("description", 34, Form::Text),
        ("format", 35, Form::Text),
    ],
    entries: None,
    extensions: Some(36),
};
