//! Bodies and headers of responses.

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;

use super::{
    call::{Call, Encoding},
    discovery,
    encode::json,
    status::ApiError,
};

/// Names the request in the client's and in our log.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A document that was encoded as compact JSON.
#[must_use]
pub fn encoded(code: StatusCode, encoding: Encoding, compact: Vec<u8>) -> Response {
    let Encoding::Json { pretty } = encoding;
    let body = if pretty { json::indent(&compact) } else { compact };
    respond(code, JSON, body)
}

/// A small document.
pub fn document<T: Serialize>(encoding: Encoding, value: &T) -> Result<Response, ApiError> {
    let compact = json::document(value).map_err(|_| ApiError::Internal("a document could not be encoded"))?;
    Ok(encoded(StatusCode::OK, encoding, compact))
}

/// A probe's answer.
#[must_use]
pub fn probe(healthy: bool) -> Response {
    let (code, text) =
        if healthy { (StatusCode::OK, "ok") } else { (StatusCode::INTERNAL_SERVER_ERROR, "not ready\n") };
    respond(code, TEXT, text.as_bytes().to_vec())
}

/// Any error: the list of paths where there is no such path, a Status everywhere else.
#[must_use]
pub fn error(encoding: Encoding, core: bool, error: &ApiError) -> Response {
    let compact = match error {
        ApiError::NoSuchPath => json::document(&discovery::paths(core)),
        other => json::document(&other.status()),
    };
    // A document of plain strings and numbers always encodes; an empty body still carries the code.
    let mut response = encoded(error.code(), encoding, compact.unwrap_or_default());
    if matches!(error, ApiError::Forbidden { .. }) {
        // The message repeats what the client sent.
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    response
}

fn respond(code: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

/// What every response has: an id for the logs, and that nobody may keep it. A HEAD has no body.
pub fn finish(call: &Call, response: &mut Response) {
    if call.method == http::Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(AUDIT_ID, audit_id(&call.headers));
}

/// Makes it the last response on its connection. Whoever gave no valid credentials has no claim to a place among
/// the open connections.
pub fn last(response: &mut Response) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// The client's own id, or a new one (a random UUID).
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get(AUDIT_ID) {
        return given.clone();
    }
    // Version 4, variant 1.
    let random = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{random:032x}");
    let part = |range| digits.get::<std::ops::Range<usize>>(range).unwrap_or_default();
    let id = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-");
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
}
