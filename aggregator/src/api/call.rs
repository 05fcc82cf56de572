//! One request as the API sees it: method, path, query and the few headers that matter. Bodies are never read.

use http::{HeaderMap, Method, Uri, header, request::Parts};

use super::{
    negotiate::{Offer, negotiate},
    query::{ListOptions, Query},
    select::Field,
    status::{About, ApiError},
};

/// How bodies can be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON, indented for people or compact.
    Json {
        /// Whether to indent.
        pretty: bool,
    },
}

/// What objects, lists, discovery and errors are offered in.
const OFFERS: [Offer<Representation>; 1] =
    [Offer { media_type: "application/json", transform: None, representation: Representation::Json }];

#[derive(Clone, Copy, Debug)]
enum Representation {
    Json,
}

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

    /// What the client accepts.
    pub fn encoding(&self) -> Result<Encoding, ApiError> {
        // A header that is not text names nothing that is on offer.
        let accept = self.headers.get(header::ACCEPT).map(|value| value.to_str().unwrap_or("unreadable"));
        let chosen = negotiate(accept, &OFFERS).map_err(|refusal| ApiError::NotAcceptable(refusal.0))?;
        match chosen.representation {
            Representation::Json => Ok(Encoding::Json { pretty: chosen.pretty || self.pretty() }),
        }
    }

    /// The parameters of a list. A watch is refused: numbers change all the time, so there are no events.
    pub fn list_options(
        &self,
        group: &'static str,
        resource: &'static str,
        fields: &[Field],
    ) -> Result<ListOptions, ApiError> {
        let options = ListOptions::new(&self.query, fields)?;
        if self.query.watch() {
            return Err(ApiError::WatchNotSupported(About { group, resource, name: String::new() }));
        }
        Ok(options)
    }

    /// For errors: what the client accepts, and JSON when it accepts nothing.
    #[must_use]
    pub fn encoding_of_errors(&self) -> Encoding {
        self.encoding().unwrap_or(Encoding::Json { pretty: self.pretty() })
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
