//! A document as bytes, and how it is sent: whole, compressed, or not at all because the client has it.

use std::time::SystemTime;

use axum::response::Response;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, LAST_MODIFIED, VARY},
};

use crate::api::{call::Call, etag, gzip, negotiate::Offer, reply};

/// One document in one encoding.
#[derive(Debug)]
pub struct Representation {
    content_type: &'static str,
    plain: Bytes,
    gzipped: Bytes,
    hash: String,
    etag: HeaderValue,
}

/// A media type of a document.
pub const fn offer<R>(media_type: &'static str, representation: R) -> Offer<R> {
    Offer { media_type, transform: None, representation }
}

impl Representation {
    /// Compresses and hashes; `etag` replaces the ETag of these bytes.
    #[must_use]
    pub fn new(content_type: &'static str, plain: Vec<u8>, etag: Option<HeaderValue>) -> Self {
        let hash = etag::sha512(&plain);
        let etag = etag.unwrap_or_else(|| etag::quoted(&hash));
        Self { content_type, gzipped: gzip::whole(&plain).into(), plain: plain.into(), hash, etag }
    }

    /// SHA-512 in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What the client may come back with.
    #[must_use]
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// Sends it, unless the client has it. It may be kept but must be asked for again each time.
    #[must_use]
    pub fn answer(&self, call: &Call, made: SystemTime) -> Response {
        let known = call.headers.get_all(IF_NONE_MATCH);
        let mut response = if known.iter().any(|known| etag::matches(known, &self.etag)) {
            reply::empty(StatusCode::NOT_MODIFIED)
        } else {
            self.send(&call.headers, made)
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn send(&self, wanted: &HeaderMap, made: SystemTime) -> Response {
        let gzipped = gzip::is_accepted(wanted);
        let body = if gzipped { &self.gzipped } else { &self.plain };
        let content_type = HeaderValue::from_static(self.content_type);
        let mut response = reply::respond(StatusCode::OK, content_type, body.clone());
        response.headers_mut().insert(LAST_MODIFIED, date(made));
        if gzipped {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// A time as headers have it.
#[must_use]
pub fn date(time: SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is plain text")
}
