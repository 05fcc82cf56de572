//! A serving certificate from two PEM files, tried again when their contents change.
//!
//! With the file of its authorities beside them, as cert-manager mounts it, a certificate is not taken into service as soon
//! as it is there when the authorities have changed as well: clients are told of those first.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use rustls::sign::CertifiedKey;

use super::{TlsError, parse, read, reload::expiry, reload::unix_seconds};

/// Two files, and what they held when they were last tried.
#[derive(Debug)]
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
    authorities: Option<Authorities>,
    tried: Option<Contents>,
    /// When the certificate that was taken last expires, in seconds since 1970.
    until: i64,
}

/// Contents of both files, of which one is a key.
#[derive(PartialEq, Eq)]
struct Contents(Vec<u8>, Vec<u8>);

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contents")
    }
}

/// The file of the authorities, and how long they have been as they are.
#[derive(Debug)]
struct Authorities {
    file: PathBuf,
    overlap: Duration,
    held: Option<Vec<u8>>,
    /// `None` since the start.
    since: Option<Instant>,
}

impl Authorities {
    /// Whether clients have had time to hear of them.
    fn are_known(&mut self) -> Result<bool, TlsError> {
        let now = read(&self.file)?;
        if self.held.as_ref() != Some(&now) {
            self.since = self.held.replace(now).map(|_| Instant::now());
        }
        Ok(self.since.is_none_or(|since| since.elapsed() >= self.overlap))
    }
}

impl Files {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key, authorities: None, tried: None, until: i64::MAX }
    }

    /// With the file of the authorities, which clients hear of within `overlap`.
    #[must_use]
    pub fn with_authorities(self, file: PathBuf, overlap: Duration) -> Self {
        Self { authorities: Some(Authorities { file, overlap, held: None, since: None }), ..self }
    }

    /// Both paths.
    pub(super) fn paths(&self) -> [&PathBuf; 2] {
        [&self.certificate, &self.key]
    }

    /// A certificate that has not been served yet; `None` when there is nothing new, or not for now. A fault of the same
    /// files is told once.
    pub(super) fn look(&mut self, now: SystemTime) -> Option<Result<CertifiedKey, TlsError>> {
        let contents = match (read(&self.certificate), read(&self.key)) {
            (Ok(certificate), Ok(key)) => Contents(certificate, key),
            (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
        };
        // Read after the certificate: all are swapped at once, so these are as new at least.
        let are_known = match self.authorities.as_mut().map(Authorities::are_known).transpose() {
            Ok(known) => known.unwrap_or(true),
            Err(error) => return Some(Err(error)),
        };
        let must = unix_seconds(now) >= self.until;
        if self.tried.as_ref() == Some(&contents) || !are_known && !must {
            return None;
        }
        let Contents(certificate_pem, key_pem) = self.tried.insert(contents);
        let parsed = parse(&self.certificate, certificate_pem, &self.key, key_pem);
        if let Some(until) = parsed.as_ref().ok().and_then(|key| expiry(key).ok()) {
            self.until = until;
        }
        Some(parsed)
    }
}
