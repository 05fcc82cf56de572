//! Client certificates against the authorities that are trusted now. Pure.
//!
//! A certificate counts when it leads to an authority of the pool through what the client sent, is valid at the
//! moment of the request as is the authority, and is not limited to other uses than client authentication. Revocation
//! lists are not looked at, as in Kubernetes.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use rustls::{
    DistinguishedName, RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use super::clients::PeerCertificates;

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
        let valid = validity(&certificate).ok_or_else(|| "a certificate cannot be read".to_owned())?;
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

/// When a certificate is valid, in time since 1970.
fn validity(certificate: &CertificateDer<'_>) -> Option<RangeInclusive<Duration>> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let since_1970 = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let validity = parsed.validity();
    Some(since_1970(validity.not_before.timestamp())..=since_1970(validity.not_after.timestamp()))
}
