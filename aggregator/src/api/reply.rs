//! Bodies and headers of responses.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body::Frame;
use kubevitals_agent::exposition;
use prometheus_client::registry::Registry;
use serde::Serialize;

use super::{
    call::Call,
    discovery::Paths,
    encode::{
        envelope,
        format::{Encoding, Text},
        json::{self, indent::indent},
        protobuf, yaml,
    },
    status::{ApiError, Status},
    stream::List,
};

/// Names the request in the client's and in our log.
pub(super) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// A body that was encoded.
#[must_use]
pub fn encoded(code: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    respond(code, HeaderValue::from_static(encoding.content_type()), body)
}

/// A list, whole or as it is made.
#[must_use]
pub fn list(encoding: Encoding, list: List) -> Response {
    let mut response = Response::new(list.body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    if let Some(length) = list.length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if list.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

/// A small document that has no protobuf form.
pub fn document<T: Serialize>(text: Text, value: &T) -> Result<Response, ApiError> {
    let body = write(text, value).map_err(|_| ApiError::Internal("a document could not be encoded"))?;
    Ok(encoded(StatusCode::OK, text.into(), body))
}

/// A document as text.
fn write<T: Serialize>(form: Text, value: &T) -> Result<Vec<u8>, serde_json::Error> {
    match form {
        Text::Json { pretty: false } => json::document(value),
        Text::Json { pretty: true } => json::document(value).map(|compact| indent(&compact)),
        Text::Yaml => serde_json::to_value(value).map(|value| yaml::document(&value)),
    }
}

/// Any error: the `index` of paths where there is no such path, which is always indented JSON, and a Status everywhere
/// else.
#[must_use]
pub fn error(encoding: Encoding, index: impl FnOnce() -> Paths, error: &ApiError) -> Response {
    let paths = Text::Json { pretty: true };
    // Documents of plain strings and numbers always encode; an empty body still carries the code.
    let mut response = match error {
        ApiError::NoSuchPath => {
            encoded(error.code(), paths.into(), write(paths, &index()).unwrap_or_default())
        }
        other => encoded(error.code(), encoding, status(encoding, &other.status()).unwrap_or_default()),
    };
    if matches!(error, ApiError::Forbidden { .. }) {
        // The message repeats what the client sent.
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}

fn status(encoding: Encoding, status: &Status) -> Result<Vec<u8>, serde_json::Error> {
    match encoding {
        Encoding::Text(text) => write(text, status),
        Encoding::Protobuf => {
            Ok(envelope::envelope(status.api_version, status.kind, &protobuf::status::message(status)))
        }
    }
}

/// A body of known length.
#[must_use]
pub fn respond(code: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let body = body.into();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

/// For a client that should come back after so many seconds, because of `why`. Text, as Kubernetes' own servers send
/// it: there may not be the time to find out what the client accepts.
fn busy(why: &'static str, seconds: u16) -> Response {
    let mut response = respond(
        StatusCode::TOO_MANY_REQUESTS,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        why.as_bytes(),
    );
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// All places are taken.
#[must_use]
pub fn too_many() -> Response {
    busy("Too many requests, please try again later.", 1)
}

/// Nothing new is begun before the end. Another replica should be asked, over another connection.
#[must_use]
pub fn shutting_down(call: &Call) -> Response {
    let mut response = busy("Shutting down, please try again later.", 5);
    finish(call, &mut response);
    last(&mut response);
    response
}

/// Our own metrics.
#[must_use]
pub fn metrics(registry: &Registry, headers: &HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    match exposition::exposition(registry, accept) {
        Ok((kind, text)) => respond(StatusCode::OK, HeaderValue::from_static(kind), text),
        Err(error) => respond(
            StatusCode::INTERNAL_SERVER_ERROR,
            HeaderValue::from_static("text/plain; charset=utf-8"),
            error.to_string(),
        ),
    }
}

/// No body.
#[must_use]
pub fn empty(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

/// What every response has: an id for the logs, and, unless it says otherwise, that nobody may keep it. A HEAD has no body.
pub fn finish(call: &Call, response: &mut Response) {
    if call.method == http::Method::HEAD || response.status() == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::new(LeftOut);
    }
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    headers.insert(AUDIT_ID, audit_id(&call.headers));
}

/// Makes it the last response on its connection. Whoever gave no valid credentials has no claim to a place among
/// the open connections.
pub fn last(response: &mut Response) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// The body that a GET would have had. It is over at once, but not empty: of an empty one the layers below would say
/// `Content-Length: 0`, which would be wrong (RFC 9110, 8.6).
struct LeftOut;

impl http_body::Body for LeftOut {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// The client's own id, or a new one (a random UUID).
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get(AUDIT_ID).filter(|given| !given.is_empty()) {
        return given.clone();
    }
    // Version 4, variant 1.
    let random = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{random:032x}");
    let part = |range| digits.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    let id = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-");
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests;
