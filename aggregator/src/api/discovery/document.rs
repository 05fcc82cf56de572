//! One small document in every representation: JSON, YAML and Kubernetes protobuf.

use axum::response::Response;
use http::StatusCode;
use prost::Message;
use serde::Serialize;

use crate::api::{
    call::Call,
    encode::{
        envelope,
        format::{Encoding, Text},
        json::{self, indent::indent},
        yaml,
    },
    reply,
    status::ApiError,
};

/// A document that was encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    json: Vec<u8>,
    yaml: Vec<u8>,
    protobuf: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Typed<'a, M> {
    kind: &'static str,
    api_version: &'static str,
    #[serde(flatten)]
    content: &'a M,
}

impl Document {
    /// Encodes `content` as an object of this kind.
    #[must_use]
    pub fn new<M: Message + Serialize>(api_version: &'static str, kind: &'static str, content: &M) -> Self {
        let typed = Typed { kind, api_version, content };
        let (json, value) = (json::document(&typed), serde_json::to_value(&typed));
        let why = "structs of text and lists always encode";
        Self {
            json: json.expect(why),
            yaml: yaml::document(&value.expect(why)),
            protobuf: envelope::envelope(api_version, kind, &content.encode_to_vec()),
        }
    }

    /// Compact JSON with a line feed at its end.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The bytes in an encoding.
    #[must_use]
    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Text(Text::Json { pretty: false }) => self.json.clone(),
            Encoding::Text(Text::Json { pretty: true }) => indent(&self.json),
            Encoding::Text(Text::Yaml) => self.yaml.clone(),
            Encoding::Protobuf => self.protobuf.clone(),
        }
    }

    /// Answers a request in the encoding that it accepts.
    pub fn answer(&self, call: &Call) -> Result<Response, ApiError> {
        let encoding = call.encoding()?;
        Ok(reply::encoded(StatusCode::OK, encoding, self.encode(encoding)))
    }
}
