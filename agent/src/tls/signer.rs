//! Who signs our serving certificates at present, and when the one we have is to be replaced.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use super::{Authority, TlsError};

/// An authority that signs, and what clients are told to trust beside it.
#[derive(Debug, Clone)]
pub struct Signer {
    /// It signs.
    pub authority: Arc<Authority>,
    /// A certificate of another trusted authority is replaced from then on, not before: clients have to hear of this
    /// one first.
    pub from: SystemTime,
    /// Certificates of authorities that clients are told to trust.
    pub trusted: Vec<CertificateDer<'static>>,
}

impl Signer {
    /// One that is the only one.
    #[must_use]
    pub fn only(authority: Authority) -> Self {
        let trusted = vec![authority.certificate().clone()];
        Self { authority: Arc::new(authority), from: SystemTime::UNIX_EPOCH, trusted }
    }
}

/// Makes serving certificates, again and again.
pub struct Issuing {
    signer: Arc<ArcSwap<Signer>>,
    /// What the certificates are made out to.
    names: Vec<String>,
    /// How long each is valid.
    life: Duration,
    last: Option<Issued>,
}

/// The newest certificate.
struct Issued {
    by: CertificateDer<'static>,
    renew: SystemTime,
}

impl fmt::Debug for Issuing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuing")
            .field("names", &self.names)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Issuing {
    /// Certificates for `names`, each for `life`, by whoever signs when it is made.
    #[must_use]
    pub fn new(signer: Arc<ArcSwap<Signer>>, names: Vec<String>, life: Duration) -> Self {
        Self { signer, names, life, last: None }
    }

    /// How long one certificate lives.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// A new certificate, if there is to be one.
    pub(super) fn look(&mut self, now: SystemTime) -> Option<Result<CertifiedKey, TlsError>> {
        let signer = self.signer.load_full();
        if self.last.as_ref().is_some_and(|last| !last.is_over(&signer, now)) {
            return None;
        }
        Some(self.issue(&signer, now))
    }

    fn issue(&mut self, signer: &Signer, now: SystemTime) -> Result<CertifiedKey, TlsError> {
        let (key, until) = signer.authority.issue_for(&self.names, now, self.life)?;
        let by = signer.authority.certificate().clone();
        // At two thirds of its life; a third is left for whatever stands in the way.
        let renew = now + until.duration_since(now).unwrap_or_default() * 2 / 3;
        self.last = Some(Issued { by, renew });
        Ok(key)
    }
}

impl Issued {
    fn is_over(&self, signer: &Signer, now: SystemTime) -> bool {
        let is_of_another = self.by != *signer.authority.certificate();
        now >= self.renew || is_of_another && (now >= signer.from || !signer.trusted.contains(&self.by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(300);

    fn issuer(key: &CertifiedKey) -> String {
        let (_, parsed) = x509_parser::parse_x509_certificate(&key.cert[0]).unwrap();
        parsed.issuer().to_string()
    }

    fn subject(authority: &Authority) -> String {
        let (_, parsed) = x509_parser::parse_x509_certificate(authority.certificate()).unwrap();
        parsed.subject().to_string()
    }

    #[test]
    fn a_certificate_of_a_former_authority_is_replaced_when_clients_know_the_new_one() {
        let (now, second) = (SystemTime::now(), Duration::from_secs(1));
        let (old, new) = (Signer::only(Authority::generate().unwrap()), Authority::generate().unwrap());
        let former = old.authority.certificate().clone();
        let shared = Arc::new(ArcSwap::from_pointee(old));
        let mut issuing = Issuing::new(Arc::clone(&shared), Vec::new(), LIFE);
        assert!(issuing.look(now).unwrap().is_ok());
        assert!(issuing.look(now + second).is_none());

        let name = subject(&new);
        let mut signer = Signer::only(new);
        signer.trusted.push(former);
        signer.from = now + 10 * second;
        shared.store(Arc::new(signer));
        assert!(issuing.look(now + 9 * second).is_none());
        let key = issuing.look(now + 10 * second).unwrap().unwrap();
        assert_eq!(issuer(&key), name);
        assert!(issuing.look(now + 11 * second).is_none());
        assert!(issuing.look(now + 10 * second + LIFE * 2 / 3).is_some());
    }

    #[test]
    fn a_certificate_that_nobody_trusts_any_more_is_replaced_at_once() {
        let now = SystemTime::now();
        let shared = Arc::new(ArcSwap::from_pointee(Signer::only(Authority::generate().unwrap())));
        let mut issuing = Issuing::new(Arc::clone(&shared), Vec::new(), LIFE);
        assert!(issuing.look(now).is_some());
        let mut signer = Signer::only(Authority::generate().unwrap());
        signer.from = now + LIFE;
        shared.store(Arc::new(signer));
        assert!(issuing.look(now).is_some());
    }
}
