//! Client certificates: asked for, never required, and not judged here.
//!
//! A handshake succeeds with any certificate whose key the client holds. Whom it stands for is decided for each
//! request, by what is trusted at that moment: a trust that is withdrawn ends with the next
//! request, not with the connection.

use std::{fmt, sync::Arc};

use ::ring::digest::{Context, SHA256};
use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{Serving, TlsError};

/// The certificates a client showed in the handshake, its own first. Found in the extensions of each request of the
/// connection.
#[derive(Clone)]
pub struct PeerCertificates(Arc<Chain>);

struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    fingerprint: [u8; 32],
}

impl PeerCertificates {
    /// `None` when there are none.
    #[must_use]
    pub fn new(certificates: &[CertificateDer<'_>]) -> Option<Self> {
        if certificates.is_empty() {
            return None;
        }
        let certificates: Vec<_> = certificates.iter().map(|one| one.clone().into_owned()).collect();
        let fingerprint = fingerprint(&certificates);
        Some(Self(Arc::new(Chain { certificates, fingerprint })))
    }

    /// The client's own certificate, and those between it and an authority.
    #[must_use]
    pub fn split(&self) -> Option<(&CertificateDer<'static>, &[CertificateDer<'static>])> {
        self.0.certificates.split_first()
    }

    /// SHA-256 over the whole chain.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.0.fingerprint
    }
}

impl fmt::Debug for PeerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerCertificates").field(&self.0.certificates.len()).finish()
    }
}

/// Lengths are part of it, so that two chains never read the same.
fn fingerprint(certificates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in certificates {
        context.update(&u64::try_from(certificate.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(certificate);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// What new handshakes go by. Replaced while the server runs; open connections live on.
pub struct Settings {
    serving: Arc<Serving>,
    protocols: &'static [&'static [u8]],
    current: ArcSwap<ServerConfig>,
}

impl Settings {
    /// Settings that ask for no client certificate.
    pub fn new(serving: &Arc<Serving>, protocols: &'static [&'static [u8]]) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::new(serving.config(protocols, None)?);
        Ok(Arc::new(Self { serving: Arc::clone(serving), protocols, current }))
    }

    /// For one handshake.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// From now on, clients are asked for a certificate of one of `authorities`. They may show any other, or none.
    pub fn ask_for(&self, authorities: Vec<DistinguishedName>) -> Result<(), TlsError> {
        let ask = Ask { authorities, algorithms: ring::default_provider().signature_verification_algorithms };
        self.current.store(self.serving.config(self.protocols, Some(Arc::new(ask)))?);
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("protocols", &self.protocols.len()).finish_non_exhaustive()
    }
}

/// Asks, and checks only that the client holds the key.
#[derive(Debug)]
struct Ask {
    authorities: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Ask {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    /// Judged for each request instead.
    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
