//! Why a poll failed, in words that say what to do.

use std::{io, time::Duration};

use rustls::CertificateError;

use super::endpoint::{Endpoint, EndpointError};

/// Why a poll failed. Its text is the same for the same fault, so that only a change is logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// The node does not say where its kubelet is.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No connection.
    #[error("connect to {url}: {fault}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        fault: String,
    },
    /// No TLS on that connection.
    #[error("tls with {url}: {fault}")]
    Tls {
        /// Where.
        url: String,
        /// Why, and what to do.
        fault: String,
    },
    /// It took too long.
    #[error("{stage} within {}", humantime::format_duration(*limit))]
    Timeout {
        /// What was waited for.
        stage: Stage,
        /// For how long.
        limit: Duration,
    },
    /// The connection ended, or what came is no HTTP.
    #[error("answer broke off: {0}")]
    Broken(String),
    /// An answer, but not with numbers.
    #[error("kubelet answered {status}{}", hint(*.status))]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// An answer of another form.
    #[error("answer is {0}, not the text format of prometheus")]
    Content(String),
    /// More than a kubelet writes.
    #[error("answer is larger than {0} bytes")]
    TooLarge(usize),
    /// More than a kubelet runs.
    #[error("answer names more containers than a kubelet can run")]
    TooManyContainers,
    /// Half a page: nothing of it is taken.
    #[error("answer ends within a line")]
    Unfinished,
    /// The kubelet says that it could not read its own numbers.
    #[error("kubelet could not read its own counters (resource_scrape_error is 1)")]
    ScrapeError,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// TCP.
    Connection,
    /// TLS.
    Handshake,
    /// The head of the answer.
    Answer,
    /// The end of the answer.
    Page,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connection => "no connection",
            Self::Handshake => "no tls handshake",
            Self::Answer => "no answer",
            Self::Page => "no whole answer",
        })
    }
}

/// Every outcome of a poll, as metric labels. The first is success.
pub const OUTCOMES: [&str; 12] = [
    "ok",
    "no_address",
    "connect",
    "tls",
    "timeout",
    "broken",
    "unauthorized",
    "forbidden",
    "status",
    "content",
    "unfinished",
    "scrape_error",
];

impl PollError {
    /// As a metric label.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "no_address",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::Broken(_) => "broken",
            Self::Status { status: 401 } => "unauthorized",
            Self::Status { status: 403 } => "forbidden",
            Self::Status { .. } => "status",
            Self::Content(_) | Self::TooLarge(_) | Self::TooManyContainers => "content",
            Self::Unfinished => "unfinished",
            Self::ScrapeError => "scrape_error",
        }
    }

    pub(super) fn connect(endpoint: &Endpoint, error: &io::Error) -> Self {
        Self::Connect { url: endpoint.to_string(), fault: error.to_string() }
    }

    pub(super) fn tls(endpoint: &Endpoint, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let fault = match inner {
            Some(rustls::Error::InvalidCertificate(fault)) => certificate(endpoint, fault),
            _ => error.to_string(),
        };
        Self::Tls { url: endpoint.to_string(), fault }
    }
}

/// What is wrong with a kubelet's certificate, and the ways out.
fn certificate(endpoint: &Endpoint, fault: &CertificateError) -> String {
    const BOOTSTRAP: &str = "give the kubelet a certificate of the cluster (serverTLSBootstrap: true, and approve its \
        kubelet-serving request)";
    let host = &endpoint.host;
    match fault {
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = if presented.is_empty() { "no name at all".to_owned() } else { presented.join(", ") };
            format!(
                "certificate is not made out to {host} but to {names}: {BOOTSTRAP}, or put an address type that it \
                 names first in --kubelet-preferred-address-types"
            )
        }
        CertificateError::NotValidForName => {
            format!("certificate is not made out to {host}: {BOOTSTRAP}")
        }
        CertificateError::UnknownIssuer => format!(
            "certificate is not of a known authority: {BOOTSTRAP}, or name its authority with \
             --kubelet-certificate-authority"
        ),
        other => format!("certificate: {other}"),
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => ": a redirect is not followed",
        401 => {
            ": it does not know our credentials (its webhook authentication is off, or it trusts another authority)"
        }
        403 => ": the service account needs the verb get on nodes/metrics",
        404 => ": it has no such page (annotation metrics.k8s.io/resource-metrics-path names another one)",
        _ => "",
    }
}
