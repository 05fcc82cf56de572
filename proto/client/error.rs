//! What can go wrong, and what to do about it.

use std::{error::Error as _, time::Duration};

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use crate::transport::ConnectError;

/// Why there is no answer. Each says what to do; those that pass by themselves were tried again until the time was over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options make no sense. Correct them.
    #[error("options: {0}")]
    Options(String),
    /// No connection. Look at the address, the authority's file, the token's file, and whether an aggregator runs.
    #[error("no connection to {endpoint}: {source}")]
    Connect {
        /// Where.
        endpoint: String,
        /// Why.
        source: ConnectError,
    },
    /// A name could not be resolved. Look at the endpoint's name and at the name server.
    #[error("{host} cannot be resolved: {why}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// The aggregator stops, is starting, or cannot find out whether the caller may. Ask again.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The watch was open and nothing came, no heartbeat either. It begins anew by itself.
    #[error("nothing was heard for {} s", .0.as_secs())]
    Silent(Duration),
    /// No answer within the time of [`Options::timeout`](super::Options::timeout). Ask again, for less, or wait longer.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// The aggregator does not know who calls, with what the files hold now. Look at the token: whether it has expired,
    /// and for whom it is made out (`--api-audiences`).
    #[error("not authenticated: {0}")]
    Unauthenticated(String),
    /// The caller may not. Grant `get`, `list` or `watch` on `pods` or `nodes` of the group metrics.k8s.io.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The request makes no sense. Correct the field.
    #[error("invalid request: {field}: {message}")]
    Invalid {
        /// Its path in the request, for example `selection.label_selector`; empty when the aggregator names none.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no such thing.
    #[error("not found: {0}")]
    NotFound(String),
    /// A limit of the aggregator is reached. Ask later, or for less.
    #[error("over a limit: {0}")]
    Limit(String),
    /// The answer breaks the contract, or the aggregator failed. Look at its log and at both versions.
    #[error("{code:?}: {message}")]
    Failed {
        /// As it was told.
        code: Code,
        /// In its words.
        message: String,
    },
}

impl Error {
    /// Whether to try again, at this or another aggregator, is of use.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Resolve { .. }
            | Self::Unavailable(_)
            | Self::Silent(_)
            | Self::TimedOut(_)
            | Self::Limit(_) => true,
            Self::Options(_)
            | Self::Unauthenticated(_)
            | Self::Forbidden(_)
            | Self::Invalid { .. }
            | Self::NotFound(_)
            | Self::Failed { .. } => false,
        }
    }

    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self::Failed { code: Code::DataLoss, message: message.into() }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unavailable => Self::Unavailable(message),
            // The deadline of a call, kept by the library on either side, comes as Cancelled.
            Code::DeadlineExceeded => Self::TimedOut(message),
            Code::Cancelled if is_deadline(&status) => Self::TimedOut(message),
            // A connection that broke off comes with a cause; an aggregator's word has none.
            Code::Unknown | Code::Internal | Code::Cancelled if status.source().is_some() => {
                Self::Unavailable(message)
            }
            Code::Unauthenticated => Self::Unauthenticated(message),
            Code::PermissionDenied => Self::Forbidden(message),
            Code::InvalidArgument => invalid(&status),
            Code::NotFound => Self::NotFound(message),
            Code::ResourceExhausted => Self::Limit(message),
            code => Self::Failed { code, message },
        }
    }
}

fn is_deadline(status: &Status) -> bool {
    let mut cause = status.source();
    let is_word = cause.is_none();
    while let Some(found) = cause.filter(|cause| !cause.is::<TimeoutExpired>()) {
        cause = found.source();
    }
    is_word || cause.is_some()
}

/// With the field that the details name first.
fn invalid(status: &Status) -> Error {
    let details = status.get_details_bad_request();
    let first = details.and_then(|details| details.field_violations.into_iter().next());
    match first {
        Some(first) => Error::Invalid { field: first.field, message: first.description },
        None => Error::Invalid { field: String::new(), message: status.message().to_owned() },
    }
}
