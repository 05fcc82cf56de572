//! A certificate authority: made here, or read from PEM, and what it signs.
//!
//! When one follows another is the aggregator's business.

use std::{
    fmt::{self, Write as _},
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _,
};
use rustls::{crypto::ring, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;

use super::{TlsError, subject_names};

/// Life of an authority whose key never leaves this process: ten years, because whoever trusts it (a kubeconfig, a file
/// that was copied) has to be told of a new one by hand.
const PRIVATE_LIFE: Duration = Duration::from_hours(3650 * 24);

/// Life of the serving certificates of such an authority: a year. A new one costs no client anything; some platforms
/// accept at most 398 days.
pub const SERVING_LIFE: Duration = Duration::from_hours(365 * 24);

/// Certificates are valid from an hour earlier, for those whose clocks are behind ours: replicas and nodes may be minutes
/// apart in either direction.
pub const BACKDATE: Duration = Duration::from_hours(1);

/// Why something is not an authority that can sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// There is no certificate.
    #[error("there is no certificate")]
    NoCertificate,
    /// What is there is none.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// It may not sign others.
    #[error("the certificate is not one of an authority")]
    NoAuthority,
    /// There is no key.
    #[error("there is no key")]
    NoKey,
    /// What is there is none that we can sign with.
    #[error("the key cannot be used (PKCS #8 is expected): {0}")]
    Key(String),
    /// They are not a pair.
    #[error("the key is not that of the certificate")]
    Mismatch,
}

/// A certificate authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    valid: Range<SystemTime>,
}

impl fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("valid", &self.valid).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority with an ECDSA P-256 key, for this process alone.
    pub fn generate() -> Result<Self, TlsError> {
        Self::generate_for(SystemTime::now(), PRIVATE_LIFE)
    }

    /// A new authority that is good from `now` on for `life`.
    pub fn generate_for(now: SystemTime, life: Duration) -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // Names differ, so that verifiers that look authorities up by name find the right one of two.
        let digits: String = fingerprint(&key.subject_public_key_info()).chars().take(8).collect();
        let mut params = params(&format!("kubevitals-ca-{digits}"), now, now + life);
        // It signs serving certificates and no further authorities.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        let valid = params.not_before.into()..params.not_after.into();
        Ok(Self { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), valid })
    }

    /// An authority from PEM: the first certificate, and its key. Whether it is still valid is not judged.
    pub fn from_pem(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, AuthorityError> {
        let first = CertificateDer::pem_slice_iter(certificate_pem).next();
        let certificate = first
            .ok_or(AuthorityError::NoCertificate)?
            .map_err(|error| AuthorityError::Certificate(error.to_string()))?;
        let valid = validity(&certificate)?;
        let key = std::str::from_utf8(key_pem).map_err(|error| AuthorityError::Key(error.to_string()))?;
        if key.trim().is_empty() {
            return Err(AuthorityError::NoKey);
        }
        let key = KeyPair::from_pem(key).map_err(|error| AuthorityError::Key(error.to_string()))?;
        let issuer = pair(&certificate, key)?;
        Ok(Self { issuer, certificate, valid })
    }

    /// The certificate that clients trust, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        certificate_pem(&self.certificate)
    }

    /// The key, PKCS #8 in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The certificate that clients trust.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// From when until when the certificate says that it is valid.
    #[must_use]
    pub fn valid(&self) -> &Range<SystemTime> {
        &self.valid
    }

    /// A new key with a certificate for `names` (DNS names and IP addresses) and for this machine's local names.
    pub fn issue(&self, names: &[String]) -> Result<CertifiedKey, TlsError> {
        self.issue_for(names, SystemTime::now(), SERVING_LIFE).map(|(key, _)| key)
    }

    /// The same for `life` from `now` on, and until when it is valid: at most as long as the authority.
    pub fn issue_for(
        &self,
        names: &[String],
        now: SystemTime,
        life: Duration,
    ) -> Result<(CertifiedKey, SystemTime), TlsError> {
        let until = (now + life).min(self.valid.end);
        if until <= now {
            return Err(TlsError::Expired);
        }
        let mut params = params("kubevitals", now, until);
        params.subject_alt_names = subject_names(names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], key, &ring::default_provider())?;
        Ok((key, until))
    }
}

fn params(common_name: &str, now: SystemTime, until: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = OffsetDateTime::from(now - BACKDATE);
    params.not_after = OffsetDateTime::from(until);
    params
}

/// SHA-256 in hexadecimal digits.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> String {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, AuthorityError> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    let (_, parsed) = parsed.map_err(|error| AuthorityError::Certificate(error.to_string()))?;
    Ok(parsed)
}

/// From when until when a certificate that may sign others is valid.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<Range<SystemTime>, AuthorityError> {
    let parsed = parse(certificate)?;
    let may_sign = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    if !parsed.is_ca() || !may_sign {
        return Err(AuthorityError::NoAuthority);
    }
    let time = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(seconds)
    };
    Ok(time(parsed.validity().not_before)..time(parsed.validity().not_after))
}

fn pair(certificate: &CertificateDer<'_>, key: KeyPair) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
    if parse(certificate)?.public_key().raw != key.subject_public_key_info() {
        return Err(AuthorityError::Mismatch);
    }
    Issuer::from_ca_cert_der(certificate, key).map_err(|error| AuthorityError::Certificate(error.to_string()))
}

/// A certificate in PEM.
#[must_use]
pub fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    let block = pem::Pem::new("CERTIFICATE", certificate.as_ref());
    pem::encode_config(&block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_hours(24);

    #[test]
    fn an_authority_read_back_signs_for_whoever_trusts_it() {
        let made = Authority::generate_for(SystemTime::now(), LIFE).unwrap();
        let read = Authority::from_pem(made.ca_pem().as_bytes(), made.key_pem().as_bytes()).unwrap();
        assert_eq!(read.certificate(), made.certificate());
        let seconds = |time: &SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds(&read.valid().end), seconds(&made.valid().end));
        let key = read.issue(&["metrics.svc".to_owned()]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.certificate().clone()).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            roots.into(),
            ring::default_provider().into(),
        );
        let verifier = verifier.build().unwrap();
        let name = rustls_pki_types::ServerName::try_from("metrics.svc").unwrap();
        let now = rustls_pki_types::UnixTime::now();
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            &key.cert[0],
            &[],
            &name,
            &[],
            now,
        )
        .unwrap();
    }

    #[test]
    fn what_is_no_authority_says_what_it_lacks() {
        let (one, other) = (Authority::generate().unwrap(), Authority::generate().unwrap());
        let leaf = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let fault = |certificate: &str, key: &str| {
            Authority::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(fault("", &one.key_pem()), "there is no certificate");
        assert_eq!(fault(&one.ca_pem(), ""), "there is no key");
        assert_eq!(fault(&one.ca_pem(), &other.key_pem()), "the key is not that of the certificate");
        let (certificate, key) = (leaf.cert.pem(), leaf.signing_key.serialize_pem());
        assert_eq!(fault(&certificate, &key), "the certificate is not one of an authority");
        assert!(
            fault(&one.ca_pem(), "garbage").starts_with("the key cannot be used (PKCS #8 is expected): ")
        );
        let half = one.ca_pem().replace('M', "-");
        assert!(fault(&half, &one.key_pem()).starts_with("the certificate cannot be read: "));
    }

    #[test]
    fn nothing_outlives_its_authority() {
        let now = SystemTime::now();
        let authority = Authority::generate_for(now, LIFE).unwrap();
        let (_, until) = authority.issue_for(&[], now, SERVING_LIFE).unwrap();
        assert_eq!(until, authority.valid().end);
        let fault = authority.issue_for(&[], until, LIFE).unwrap_err();
        assert!(matches!(fault, TlsError::Expired), "{fault}");
    }
}
