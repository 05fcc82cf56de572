//! OpenAPI documents as protobuf, in the messages of gnostic: the form that older kubectl and API servers ask for.
//!
//! A message is described by a table ([`v2`], [`v3`]) of which key becomes which field, and one encoder walks the
//! JSON document along it. Only what our documents use is in the tables; a key that is in none is an error, so that
//! nothing is lost unseen.
//! (<https://github.com/google/gnostic/tree/main/openapiv2>, <https://github.com/google/gnostic/tree/main/openapiv3>)

pub mod v2;
pub mod v3;

use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value;

/// A message type.
#[derive(Debug)]
pub struct Message {
    /// Key in JSON, field number, form.
    pub fields: &'static [(&'static str, u32, Form)],
    /// Where every other key goes, as a list of pairs: maps are such lists.
    pub entries: Option<(u32, Form)>,
    /// Where keys that begin with `x-` go, as pairs of a name and an [`Form::Any`].
    pub extensions: Option<u32>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// One text or a list of them, as a repeated field.
    Texts,
    /// A message.
    Message(&'static Message),
    /// A list, as a repeated field.
    Each(&'static Form),
    /// A message whose only field holds the value.
    Wrapped(u32, &'static Form),
    /// A message of which one field is set, and the value says which and how it is written.
    OneOf(fn(&Value) -> (u32, Form)),
    /// Any value, as YAML.
    Any,
}

/// What a document has and no table knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A key of an object.
    #[error("no field for key {0:?}")]
    Key(String),
    /// A value of another type than its key has.
    #[error("no field for value {0}")]
    Value(String),
}

/// Encodes a document.
pub fn encode(message: &Message, document: &Value) -> Result<Vec<u8>, Unknown> {
    let mut out = Vec::new();
    write_fields(&mut out, message, document)?;
    Ok(out)
}

fn write_fields(out: &mut Vec<u8>, message: &Message, value: &Value) -> Result<(), Unknown> {
    let object = value.as_object().ok_or_else(|| Unknown::Value(value.to_string()))?;
    for (key, value) in object {
        let field = message.fields.iter().find(|(name, ..)| name == key);
        let written = match (field, message.extensions, message.entries) {
            (Some(&(_, number, form)), ..) => write(out, number, form, value),
            (None, Some(number), _) if key.starts_with("x-") => {
                write_pair(out, number, key, Form::Any, value)
            }
            (None, _, Some((number, form))) => write_pair(out, number, key, form, value),
            (None, ..) => Err(Unknown::Key(key.clone())),
        };
        written?;
    }
    Ok(())
}

/// An entry of a map: 1 its key, 2 its value.
fn write_pair(out: &mut Vec<u8>, number: u32, key: &str, form: Form, value: &Value) -> Result<(), Unknown> {
    let mut pair = Vec::new();
    write_bytes(&mut pair, 1, key.as_bytes());
    write(&mut pair, 2, form, value)?;
    write_bytes(out, number, &pair);
    Ok(())
}

fn write(out: &mut Vec<u8>, number: u32, form: Form, value: &Value) -> Result<(), Unknown> {
    match (form, value) {
        (Form::Text | Form::Texts, Value::String(text)) => write_bytes(out, number, text.as_bytes()),
        (Form::Flag, Value::Bool(flag)) => {
            encode_key(number, WireType::Varint, out);
            encode_varint(u64::from(*flag), out);
        }
        (Form::Texts, Value::Array(items)) => {
            items.iter().try_for_each(|item| write(out, number, Form::Text, item))?;
        }
        (Form::Each(form), Value::Array(items)) => {
            items.iter().try_for_each(|item| write(out, number, *form, item))?;
        }
        (Form::Message(message), value) => write_bytes(out, number, &encode(message, value)?),
        (Form::Wrapped(inner, form), value) => write_wrapped(out, number, (inner, *form), value)?,
        (Form::OneOf(choose), value) => write_wrapped(out, number, choose(value), value)?,
        // JSON is YAML.
        (Form::Any, value) => {
            let mut any = Vec::new();
            write_bytes(&mut any, 2, value.to_string().as_bytes());
            write_bytes(out, number, &any);
        }
        (_, value) => return Err(Unknown::Value(value.to_string())),
    }
    Ok(())
}

/// A message with one field.
fn write_wrapped(out: &mut Vec<u8>, number: u32, field: (u32, Form), value: &Value) -> Result<(), Unknown> {
    let mut held = Vec::new();
    write(&mut held, field.0, field.1, value)?;
    write_bytes(out, number, &held);
    Ok(())
}

fn write_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    // Lossless: no target has more than 64 bits.
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static PAIR: Message = Message {
        fields: &[("text", 1, Form::Text), ("flag", 2, Form::Flag), ("texts", 3, Form::Texts)],
        entries: Some((4, Form::Message(&PAIR))),
        extensions: Some(5),
    };

    #[test]
    fn fields_entries_and_extensions_have_these_bytes() {
        let encoded = |value| encode(&PAIR, &value).unwrap();
        assert_eq!(encoded(json!({"text": "a", "flag": true})), b"\x10\x01\x0a\x01a");
        assert_eq!(encoded(json!({"texts": ["a", "b"]})), b"\x1a\x01a\x1a\x01b");
        assert_eq!(encoded(json!({"texts": "a"})), b"\x1a\x01a");
        // An entry of 8 bytes: its key, then its value of 3 bytes.
        assert_eq!(encoded(json!({"k": {"text": "a"}})), b"\x22\x08\x0a\x01k\x12\x03\x0a\x01a");
        // An extension: its key, then the YAML in field 2 of the value.
        assert_eq!(encoded(json!({"x-a": [1]})), b"\x2a\x0c\x0a\x03x-a\x12\x05\x12\x03[1]");
    }

    #[test]
    fn what_no_table_knows_is_an_error() {
        static NONE: Message =
            Message { fields: &[("text", 1, Form::Text)], entries: None, extensions: None };
        let refused = |value| encode(&NONE, &value).unwrap_err();
        assert_eq!(refused(json!({"other": 1})), Unknown::Key("other".to_owned()));
        assert_eq!(refused(json!({"x-a": 1})), Unknown::Key("x-a".to_owned()));
        assert_eq!(refused(json!({"text": 1})), Unknown::Value("1".to_owned()));
        assert_eq!(refused(json!([])), Unknown::Value("[]".to_owned()));
    }
}
