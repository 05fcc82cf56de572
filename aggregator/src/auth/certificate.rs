//! Client certificates against the authorities that are trusted now. Pure.
//!
//! A certificate counts when it leads to an authority of the pool through what the client sent, is valid at the
//! moment of the request as is the authority, and is not limited to other uses than client authentication. Revocation lists are not
//! looked at, as in Kubernetes.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use ring::digest::{SHA256, digest};
use rustls::{
    DistinguishedName, RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use x509_parser::{
    certificate::X509Certificate,
    prelude::{FromDer as _, X509Name},
};

use super::user::UserInfo;
use crate::tls::clients::PeerCertificates;

/// The key under which a user's facts name its certificate.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Trusted authorities.
pub struct Pool {
    authorities: Vec<Authority>,
    subjects: Vec<DistinguishedName>,
    certificates: BTreeSet<Vec<u8>>,
}

/// One of them. The library takes an authority for good whatever its dates say, so these are looked at here.
struct Authority {
    verifier: Arc<dyn ClientCertVerifier>,
    /// When its own certificate is valid, in time since 1970.
    valid: RangeInclusive<Duration>,
}

impl Authority {
    fn new(certificate: CertificateDer<'static>) -> Result<(Self, Vec<DistinguishedName>), String> {
        let valid = parse(&certificate).map(|parsed| not_before(&parsed)..=not_after(&parsed));
        let valid = valid.map_err(|_| "a certificate cannot be read".to_owned())?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(|error| error.to_string())?;
        let subjects = roots.subjects();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok((Self { verifier: verifier.map_err(|error| error.to_string())?, valid }, subjects))
    }

    fn trusts(&self, own: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: Duration) -> bool {
        let at = UnixTime::since_unix_epoch(now);
        self.valid.contains(&now) && self.verifier.verify_client_cert(own, between, at).is_ok()
    }
}

impl Pool {
    /// From PEM. All of it must be good, and there must be at least one certificate.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let found = found.map_err(|error| error.to_string())?;
        if found.is_empty() {
            return Err("holds no certificate".to_owned());
        }
        let certificates = found.iter().map(|certificate| certificate.to_vec()).collect();
        let (mut authorities, mut subjects) = (Vec::new(), Vec::new());
        for certificate in found {
            let (authority, names) = Authority::new(certificate)?;
            authorities.push(authority);
            subjects.extend(names);
        }
        Ok(Self { authorities, subjects, certificates })
    }

    /// The authorities' names, for the handshake.
    #[must_use]
    pub fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    /// Whether an authority is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.certificates.is_disjoint(&other.certificates)
    }

    /// Until when the authority of the chain is valid, if the chain is good at `now`; both in time since 1970.
    #[must_use]
    pub fn trusts(&self, chain: &PeerCertificates, now: Duration) -> Option<Duration> {
        let (own, between) = chain.split()?;
        let good = self.authorities.iter().filter(|authority| authority.trusts(own, between, now));
        good.map(|authority| *authority.valid.end()).max()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("authorities", &self.certificates.len()).finish_non_exhaustive()
    }
}

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

fn not_before(certificate: &X509Certificate<'_>) -> Duration {
    Duration::from_secs(u64::try_from(certificate.validity().not_before.timestamp()).unwrap_or(0))
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
