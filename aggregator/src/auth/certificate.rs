//! Whom a client certificate stands for, as Kubernetes reads its subject. Pure. Whether it is good is
//! [`crate::tls::pool`]'s business.

use std::{fmt, time::Duration};

use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    prelude::{FromDer as _, X509Name},
};

use super::user::UserInfo;
use crate::tls::clients::PeerCertificates;

/// The key under which a user's facts name its certificate.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What a client's own certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The last common name; `None` when there is none or it is empty.
    pub common_name: Option<String>,
    organizations: Vec<String>,
    credential_id: String,
    /// Until when all certificates of the chain are valid, in time since 1970.
    pub valid_until: Duration,
}

/// A certificate that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client certificate cannot be read")]
pub struct Unreadable;

impl Subject {
    /// Reads the first certificate, and the dates of all.
    pub fn of(chain: &PeerCertificates) -> Result<Self, Unreadable> {
        let (own, intermediates) = chain.split().ok_or(Unreadable)?;
        let mut valid_until = Duration::MAX;
        for certificate in std::iter::once(own).chain(intermediates) {
            valid_until = valid_until.min(not_after(&parse(certificate)?));
        }
        let certificate = parse(own)?;
        let subject = certificate.subject();
        Ok(Self {
            common_name: last_common_name(subject)?.filter(|name| !name.is_empty()),
            organizations: organizations(subject)?,
            credential_id: format!("X509SHA256={}", hexadecimal(digest(&SHA256, own).as_ref())),
            valid_until,
        })
    }

    /// The user a certificate of the client authority stands for; `None` when it names nobody.
    #[must_use]
    pub fn user(&self) -> Option<UserInfo> {
        let extra = [(CREDENTIAL_ID.to_owned(), vec![self.credential_id.clone()])];
        Some(UserInfo {
            name: self.common_name.clone()?,
            uid: None,
            groups: self.organizations.clone(),
            extra: extra.into(),
        })
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unreadable> {
    X509Certificate::from_der(certificate).map(|(_, parsed)| parsed).map_err(|_| Unreadable)
}

fn not_after(certificate: &X509Certificate<'_>) -> Duration {
    Duration::from_secs(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0))
}

fn last_common_name(subject: &X509Name<'_>) -> Result<Option<String>, Unreadable> {
    let name = subject.iter_common_name().last();
    name.map(|name| name.as_str().map(str::to_owned)).transpose().map_err(|_| Unreadable)
}

fn organizations(subject: &X509Name<'_>) -> Result<Vec<String>, Unreadable> {
    let names = subject.iter_organization().map(|name| name.as_str().map(str::to_owned));
    names.collect::<Result<_, _>>().map_err(|_| Unreadable)
}

fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
