//! Answers, as an API server forms them.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use serde_json::{Value, json};

/// A body that is whole, streamed, or passed on.
pub(crate) type Body = BoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply(pub(super) Response<Body>);

impl Reply {
    pub(super) fn json(status: StatusCode, document: &Value) -> Self {
        let mut reply = Self::bytes("application/json", format!("{document}\n"));
        *reply.0.status_mut() = status;
        reply
    }

    pub(super) fn ok(document: &Value) -> Self {
        Self::json(StatusCode::OK, document)
    }

    pub(super) fn bytes(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(whole(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self(response)
    }

    /// A `Status`.
    pub(super) fn failure(status: StatusCode, reason: &str, message: &str) -> Self {
        let document = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": status.as_u16()});
        Self::json(status, &document)
    }

    /// What the aggregation layer says by itself.
    pub(super) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Self {
        let mut reply = Self::bytes("text/plain; charset=utf-8", text);
        *reply.0.status_mut() = status;
        reply
    }
}

pub(super) fn not_found() -> Reply {
    let message = "the server could not find the requested resource";
    Reply::failure(StatusCode::NOT_FOUND, "NotFound", message)
}

pub(super) fn invalid(kind: &str, fault: &str) -> Reply {
    let message = format!("{kind} \"\" is invalid: {fault}");
    Reply::failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", &message)
}

pub(super) fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}
