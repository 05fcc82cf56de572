//! Serving certificates: our own authority, or PEM files, and the rustls settings made from them.
//!
//! Who signs them is [`authority`]'s business, how they are kept fresh that of [`reload`], how clients are asked for
//! certificates that of [`clients`], and which of those are good that of [`pool`]. The aggregator has all of this too,
//! and looks after an authority that its replicas share by itself.

pub mod authority;
pub mod clients;
pub mod counted;
pub mod files;
pub mod pool;
pub mod reload;
pub mod signer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rcgen::CertificateParams;
use rustls::{
    ServerConfig,
    client::verify_server_name,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

pub use self::authority::Authority;
use self::clients::Settings;

/// What every serving certificate is good for, besides the names that were asked for.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not the PEM it should be.
    #[error("{}: {what}: {fault}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What was found instead.
        fault: String,
    },
    /// A certificate and a key that do not belong together, or that cannot be used.
    #[error("{} and {}: {fault}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why they cannot serve.
        fault: rustls::Error,
    },
    /// A name or address that a certificate cannot hold.
    #[error("serving name {name:?}: not a DNS name or IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// A certificate that does not say until when it is valid.
    #[error("certificate cannot be read: {0}")]
    Certificate(String),
    /// An authority that has come to its end signs nothing.
    #[error("the authority has expired, so it signs no certificate")]
    Expired,
    /// Our own certificate could not be made.
    #[error("certificate cannot be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// The TLS library refused.
    #[error("tls settings: {0}")]
    Settings(#[from] rustls::Error),
}

/// Whether a certificate can be made out to it: a DNS name or an IP address.
#[must_use]
pub fn is_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

fn subject_names(names: &[String]) -> Result<Vec<rcgen::SanType>, TlsError> {
    let mut subjects = Vec::new();
    for name in names.iter().map(String::as_str).chain(LOCAL_NAMES) {
        // The library takes an IP address where it can and a DNS name otherwise.
        let parsed = CertificateParams::new([name.to_owned()]).ok().filter(|_| is_name(name));
        let found = parsed.ok_or_else(|| TlsError::Name { name: name.to_owned() })?.subject_alt_names;
        subjects.extend(found.into_iter().filter(|subject| !subjects.contains(subject)).collect::<Vec<_>>());
    }
    Ok(subjects)
}

/// A certificate chain and its key from the contents of two PEM files; the chain begins with the serving certificate.
fn parse(
    certificate: &Path,
    certificate_pem: &[u8],
    key: &Path,
    key_pem: &[u8],
) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificate_pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| pem_fault(certificate, "certificates", error))?;
    if chain.is_empty() {
        return Err(pem_fault(certificate, "certificates", "there is none"));
    }
    let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => pem_fault(key, "private key", "there is none"),
        error => pem_fault(key, "private key", error),
    })?;
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|fault| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        fault,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn pem_fault(path: &Path, what: &'static str, fault: impl fmt::Display) -> TlsError {
    TlsError::Pem { path: path.to_owned(), what, fault: fault.to_string() }
}

/// The certificate that new handshakes get. It can be replaced while the server runs; open connections live on.
#[derive(Debug)]
pub struct Serving(ArcSwap<CertifiedKey>);

impl Serving {
    /// Begins with `key`.
    #[must_use]
    pub fn new(key: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(key)))
    }

    /// What new handshakes get.
    #[must_use]
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }

    /// Whether the certificate that new handshakes get is made out to `name`.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let (current, name) = (self.current(), ServerName::try_from(name));
        let certificate = current.end_entity_cert().and_then(ParsedCertificate::try_from);
        certificate
            .is_ok_and(|certificate| name.is_ok_and(|name| verify_server_name(&certificate, &name).is_ok()))
    }

    /// From now on, new handshakes get `key`.
    pub fn replace(&self, key: CertifiedKey) {
        self.0.store(Arc::new(key));
    }

    /// Settings for the API: TLS 1.2 and 1.3, HTTP/2 preferred over HTTP/1.1.
    pub fn api_config(self: &Arc<Self>) -> Result<Arc<Settings>, TlsError> {
        Settings::new(self, &[b"h2", b"http/1.1"])
    }

    /// Settings for gRPC: the same with HTTP/2 alone.
    pub fn grpc_config(self: &Arc<Self>) -> Result<Arc<Settings>, TlsError> {
        Settings::new(self, &[b"h2"])
    }

    fn config(
        self: &Arc<Self>,
        protocols: &[&[u8]],
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        // Named here, so that no choice made elsewhere in the process changes it.
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// PEM of a certificate and its key.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_named() {
        let authority = Authority::generate().unwrap();
        assert!(authority.issue(&["metrics.kube-system.svc".to_owned(), "10.0.0.1".to_owned()]).is_ok());
        let error = authority.issue(&["not a name".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "serving name \"not a name\": not a DNS name or IP address");
    }

    #[test]
    fn a_certificate_is_for_the_names_it_carries() {
        let key = Authority::generate().unwrap().issue(&["ours.kube-system.svc".to_owned()]).unwrap();
        let serving = Serving::new(key);
        assert!(serving.is_for("ours.kube-system.svc") && serving.is_for("localhost"));
        assert!(!serving.is_for("metrics-server.kube-system.svc") && !serving.is_for("no name"));
    }

    #[test]
    fn names_that_are_given_twice_are_held_once() {
        let names = subject_names(&["localhost".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        assert_eq!(names.len(), 4);
    }

    fn from_files(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
        let mut source = reload::Source::files(certificate.to_owned(), key.to_owned());
        source.look(std::time::SystemTime::now()).unwrap()
    }

    #[test]
    fn files_that_belong_together_serve() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        let certificate = file(&directory, "tls.crt", &certificate);
        assert!(from_files(&certificate, &file(&directory, "tls.key", &key)).is_ok());
    }

    #[test]
    fn a_faulty_file_is_named_with_its_fault() {
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = pair();
        let (certificate, key) =
            (file(&directory, "tls.crt", &certificate), file(&directory, "tls.key", &key));
        let (empty, missing) = (file(&directory, "empty", "no pem"), directory.path().join("missing"));
        let other = file(&directory, "other.key", &pair().1);
        let error = |certificate: &Path, key: &Path| from_files(certificate, key).unwrap_err().to_string();
        assert!(
            error(&missing, &key)
                .ends_with("missing: cannot be read: No such file or directory (os error 2)")
        );
        assert!(error(&empty, &key).ends_with("empty: certificates: there is none"));
        assert!(error(&certificate, &empty).ends_with("empty: private key: there is none"));
        assert!(error(&certificate, &other).contains("tls.crt and "), "{}", error(&certificate, &other));
    }
}
