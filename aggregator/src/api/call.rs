//! One request as the API sees it: method, path, query and the few headers that matter. Bodies are never read.

use http::{HeaderMap, Method, Uri, header, request::Parts};

use super::{
    encode::format::{ENCODINGS, Encoding, FORMATS, Format, TEXTS, Text},
    negotiate::{Offer, negotiate},
    query::{ListOptions, Query},
    select::Field,
    status::{About, ApiError},
};

/// One request.
#[derive(Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path and query as sent.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The decoded query.
    pub query: Query,
}

impl From<Parts> for Call {
    fn from(parts: Parts) -> Self {
        let query = Query::new(parts.uri.query());
        Self { method: parts.method, uri: parts.uri, headers: parts.headers, query }
    }
}

impl Call {
    /// The path as sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// How the client wants objects.
    pub fn format(&self) -> Result<Format, ApiError> {
        self.choose(&FORMATS).map(|(format, pretty)| format.indented(pretty))
    }

    /// How the client wants a document that has a protobuf form.
    pub fn encoding(&self) -> Result<Encoding, ApiError> {
        self.choose(&ENCODINGS).map(|(encoding, pretty)| encoding.indented(pretty))
    }

    /// How the client wants a document that has none.
    pub fn text(&self) -> Result<Text, ApiError> {
        self.choose(&TEXTS).map(|(text, pretty)| text.indented(pretty))
    }

    /// What of `offers` the client accepts, and whether it wants JSON indented.
    pub fn choose<R: Copy>(&self, offers: &[Offer<R>]) -> Result<(R, bool), ApiError> {
        // A header that is not text names nothing that is on offer.
        let accept = self.headers.get(header::ACCEPT).map(|value| value.to_str().unwrap_or("unreadable"));
        let chosen = negotiate(accept, offers)?;
        Ok((chosen.representation, chosen.pretty || self.pretty()))
    }

    /// The parameters of a list. A watch is refused: numbers change all the time, so there are no events.
    pub fn list_options(
        &self,
        group: &'static str,
        resource: &'static str,
        fields: &[Field],
    ) -> Result<ListOptions, ApiError> {
        let options = ListOptions::new(&self.query, fields)?;
        self.refuse_watch(group, resource)?;
        Ok(options)
    }

    /// An error when a watch is asked for.
    pub fn refuse_watch(&self, group: &'static str, resource: &'static str) -> Result<(), ApiError> {
        if !self.query.watch() {
            return Ok(());
        }
        Err(ApiError::WatchNotSupported(About { group, resource, name: String::new() }))
    }

    /// How the client gets errors: as it wants documents, and when that cannot be (it asks for a table, say), as
    /// indented JSON. The code of an error never changes because of its form.
    #[must_use]
    pub fn encoding_of_errors(&self) -> Encoding {
        self.encoding().unwrap_or(Encoding::JSON.indented(true))
    }

    /// `?pretty=` decides; without it, tools that people read from get indented text.
    fn pretty(&self) -> bool {
        let reader = || self.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        self.query.pretty().unwrap_or_else(|| {
            reader()
                .is_some_and(|name| ["curl", "Wget", "Mozilla/5.0"].iter().any(|tool| name.starts_with(tool)))
        })
    }
}
