//! What can go wrong with a request, and the `Status` object that tells the client.
//!
//! The reasons, messages and details are those of the Kubernetes API conventions
//! (<https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#response-status-kind>),
//! because clients branch on them. Encoding is elsewhere.

use http::StatusCode;
use serde::Serialize;

use super::{negotiate::NotAcceptable, query::InvalidOption, route::GROUP, select::SelectorError};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A parameter is not understood.
    #[error("{0}")]
    BadRequest(String),
    /// Parameters that are understood but not allowed together.
    #[error("{}", invalid_message(.0))]
    Invalid(Vec<InvalidOption>),
    /// Credentials were sent and are not valid.
    #[error("Unauthorized")]
    Unauthorized,
    /// The caller may not do this.
    #[error("{message}")]
    Forbidden {
        /// Who may not do what.
        message: String,
        /// What it is about, when it is an API object.
        about: Option<About>,
    },
    /// There is no such object, or it has no numbers.
    #[error("{} not found", about_text(.0))]
    NotFound(About),
    /// No such path below a group that exists.
    #[error("the server could not find the requested resource")]
    NoSuchResource,
    /// No such path at all; answered by a list of those that exist.
    #[error("no such path")]
    NoSuchPath,
    /// The path exists, the method does not.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// There is nothing to watch: numbers change all the time.
    #[error("watch is not supported on resources of kind \"{}\"", qualified(.0))]
    WatchNotSupported(About),
    /// No representation that the client accepts.
    #[error(transparent)]
    NotAcceptable(#[from] NotAcceptable),
    /// The time that the client set is over.
    #[error("request did not complete within requested timeout - context deadline exceeded")]
    Timeout,
    /// A fault of this program.
    #[error("Internal error occurred: {0}")]
    Internal(&'static str),
}

/// What kind of object an error is about, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// API group; empty for core.
    pub group: &'static str,
    /// Plural resource, or what stands for it.
    pub resource: &'static str,
    /// The object's name; empty when it is about all of them.
    pub name: String,
}

impl From<SelectorError> for ApiError {
    fn from(error: SelectorError) -> Self {
        Self::BadRequest(error.0)
    }
}

impl ApiError {
    /// A node or pod that nobody knows.
    #[must_use]
    pub fn unknown(resource: &'static str, name: &str) -> Self {
        Self::NotFound(About { group: "", resource, name: name.to_owned() })
    }

    /// A node or pod that is known and has no numbers to serve.
    #[must_use]
    pub fn no_sample(resource: &'static str, name: String) -> Self {
        Self::NotFound(About { group: GROUP, resource, name })
    }

    /// The status code of the response.
    #[must_use]
    pub fn code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::NoSuchResource | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed | Self::WatchNotSupported(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The word that clients branch on.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "BadRequest",
            Self::Invalid(_) => "Invalid",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotFound(_) | Self::NoSuchResource | Self::NoSuchPath => "NotFound",
            Self::MethodNotAllowed | Self::WatchNotSupported(_) => "MethodNotAllowed",
            Self::NotAcceptable(_) => "NotAcceptable",
            Self::Timeout => "Timeout",
            Self::Internal(_) => "InternalError",
        }
    }

    /// The object for the body.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            kind: "Status",
            api_version: "v1",
            metadata: NoMetadata {},
            outcome: "Failure",
            message: self.to_string(),
            reason: self.reason(),
            details: self.details(),
            code: self.code().as_u16(),
        }
    }

    fn details(&self) -> Option<Details> {
        match self {
            // The first stage of negotiation is another part of a Kubernetes server than the rest.
            Self::NotAcceptable(NotAcceptable::MediaType(_)) => Some(Details::default()),
            Self::BadRequest(_) | Self::Unauthorized | Self::NotAcceptable(_) => None,
            Self::NotFound(about) | Self::WatchNotSupported(about) => Some(Details::about(about)),
            Self::Forbidden { about, .. } => Some(about.as_ref().map(Details::about).unwrap_or_default()),
            Self::NoSuchResource | Self::NoSuchPath | Self::MethodNotAllowed | Self::Timeout => {
                Some(Details::default())
            }
            Self::Internal(what) => Some(Details {
                causes: vec![Cause { reason: None, message: (*what).to_owned(), field: None }],
                ..Details::default()
            }),
            Self::Invalid(faults) => Some(Details {
                group: "meta.k8s.io",
                kind: "ListOptions",
                causes: faults.iter().map(Cause::of).collect(),
                ..Details::default()
            }),
        }
    }
}

fn qualified(about: &About) -> String {
    let separator = if about.group.is_empty() { "" } else { "." };
    format!("{}{separator}{}", about.resource, about.group)
}

fn about_text(about: &About) -> String {
    format!("{} {:?}", qualified(about), about.name)
}

fn invalid_message(faults: &[InvalidOption]) -> String {
    let texts: Vec<String> = faults.iter().map(|fault| format!("{}: {fault}", fault.field())).collect();
    match texts.as_slice() {
        [one] => format!("ListOptions.meta.k8s.io \"\" is invalid: {one}"),
        many => format!("ListOptions.meta.k8s.io \"\" is invalid: [{}]", many.join(", ")),
    }
}

/// The `Status` object of `meta/v1`, fields in the order Kubernetes writes them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    metadata: NoMetadata,
    #[serde(rename = "status")]
    pub(super) outcome: &'static str,
    pub(super) message: String,
    pub(super) reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<Details>,
    pub(super) code: u16,
}

/// `{}`.
#[derive(Debug, Serialize)]
struct NoMetadata {}

/// What the error is about.
#[derive(Debug, Default, Serialize)]
pub(super) struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) group: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) causes: Vec<Cause>,
}

impl Details {
    fn about(about: &About) -> Self {
        Self { name: about.name.clone(), group: about.group, kind: about.resource, causes: Vec::new() }
    }
}

/// One of several things that are wrong.
#[derive(Debug, Serialize)]
pub(super) struct Cause {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<&'static str>,
}

impl Cause {
    fn of(fault: &InvalidOption) -> Self {
        Self { reason: Some(fault.reason()), message: fault.to_string(), field: Some(fault.field()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(error: &ApiError) -> String {
        serde_json::to_string(&error.status()).unwrap()
    }

    #[test]
    fn a_missing_object_is_named_in_message_and_details() {
        assert_eq!(
            json(&ApiError::no_sample("nodemetrics", "n3".to_owned())),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"nodemetrics.metrics.k8s.io \"n3\" not found","reason":"NotFound","details":{"name":"n3","group":"metrics.k8s.io","kind":"nodemetrics"},"code":404}"#
        );
        assert!(json(&ApiError::unknown("pods", "x")).contains(r#""details":{"name":"x","kind":"pods"}"#));
    }

    #[test]
    fn errors_about_no_object_have_empty_or_no_details() {
        assert!(json(&ApiError::MethodNotAllowed).contains(r#""details":{},"code":405"#));
        assert!(!json(&ApiError::Unauthorized).contains("details"));
        assert!(!json(&ApiError::BadRequest("x".to_owned())).contains("details"));
    }

    #[test]
    fn each_invalid_option_is_a_cause() {
        let text = json(&ApiError::Invalid(vec![
            InvalidOption::MatchWithoutVersion,
            InvalidOption::UnknownMatch("Near".to_owned()),
        ]));
        assert!(text.contains(r#""reason":"FieldValueForbidden""#), "{text}");
        assert!(text.contains(r#""field":"resourceVersionMatch""#), "{text}");
        assert!(text.contains("is invalid: [resourceVersionMatch: Forbidden: "), "{text}");
        assert!(text.contains(r#""code":422"#), "{text}");
    }
}
