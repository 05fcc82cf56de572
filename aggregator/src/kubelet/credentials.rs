//! What we show to kubelets, and whose certificates we believe of them; read again when files change.
//!
//! Without flags that is what a pod is given: its service account's token and the cluster's authority. A token is
//! shown to every node's kubelet, and whoever has taken over one of them could use it; so when there is a client
//! certificate, which cannot be taken that way, no token is sent.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use kube::{Config, config::AuthInfo};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use super::insecure::AcceptAny;
use crate::config::kubelet::{KubeletConfig, KubeletTrust};

/// Where a pod finds its token and the cluster's authority.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How often files are looked at, by content: a Secret's or a token's symlinks are swapped.
const LOOK: Duration = Duration::from_secs(5);

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A file.
    #[error("{}: {fault}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// What a kubeconfig holds, or the whole.
    #[error("credentials for kubelets: {0}")]
    Other(String),
}

/// Where bytes come from.
#[derive(Debug, Clone)]
enum Bytes {
    File(PathBuf),
    Given(Vec<u8>),
}

impl Bytes {
    fn read(&self) -> Result<Vec<u8>, CredentialsError> {
        match self {
            Self::File(path) => fs::read(path).map_err(|error| self.fault(&error)),
            Self::Given(bytes) => Ok(bytes.clone()),
        }
    }

    fn fault(&self, fault: &dyn std::fmt::Display) -> CredentialsError {
        match self {
            Self::File(path) => CredentialsError::File { path: path.clone(), fault: fault.to_string() },
            Self::Given(_) => CredentialsError::Other(fault.to_string()),
        }
    }
}

/// Whose certificates are believed.
#[derive(Debug, Clone)]
enum Authorities {
    /// PEM.
    In(Bytes),
    /// As a kubeconfig gave them.
    Given(Vec<CertificateDer<'static>>),
    /// Anybody's.
    Any,
}

/// Where credentials come from.
#[derive(Debug, Clone)]
pub struct Sources {
    token: Option<Bytes>,
    authorities: Authorities,
    /// Certificate chain and key, PEM.
    client: Option<(Bytes, Bytes)>,
}

/// What was read, as it was.
#[derive(Clone, PartialEq, Eq)]
struct Material {
    token: Option<Vec<u8>>,
    authorities: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Sources {
    /// What the flags say, and for the rest what the cluster gives: to a pod, or by `kubeconfig`.
    #[must_use]
    pub fn new(config: &KubeletConfig, kubeconfig: Option<&Config>) -> Self {
        let of_cluster = match kubeconfig {
            Some(kubeconfig) => Self::of_kubeconfig(kubeconfig),
            None => Self::of_pod(),
        };
        let authorities = match &config.trust {
            KubeletTrust::Cluster => of_cluster.authorities,
            KubeletTrust::Authority(file) => Authorities::In(Bytes::File(file.clone())),
            KubeletTrust::Nobody => Authorities::Any,
        };
        let client = match &config.client {
            Some((cert, key)) => Some((Bytes::File(cert.clone()), Bytes::File(key.clone()))),
            None => of_cluster.client,
        };
        let token = of_cluster.token.filter(|_| client.is_none());
        Self { token, authorities, client }
    }

    fn of_pod() -> Self {
        let file = |name| Bytes::File(Path::new(SERVICE_ACCOUNT).join(name));
        Self { token: Some(file("token")), authorities: Authorities::In(file("ca.crt")), client: None }
    }

    fn of_kubeconfig(config: &Config) -> Self {
        let auth: &AuthInfo = &config.auth_info;
        let file = |path: &Option<String>| path.as_ref().map(|path| Bytes::File(path.into()));
        let data = |text: &str| decoded(text).map(Bytes::Given);
        let token = auth.token.as_ref().map(|token| Bytes::Given(token.expose_secret().as_bytes().to_vec()));
        let certificate = auth.client_certificate_data.as_deref().and_then(data);
        let key = auth.client_key_data.as_ref().and_then(|key| data(key.expose_secret()));
        let authorities = match (&config.root_cert, &config.root_cert_file) {
            (None, Some(path)) => Authorities::In(Bytes::File(path.clone())),
            (given, _) => Authorities::Given(
                given.iter().flatten().map(|der| CertificateDer::from(der.clone())).collect(),
            ),
        };
        Self {
            token: token.or_else(|| file(&auth.token_file)),
            authorities,
            client: certificate
                .or_else(|| file(&auth.client_certificate))
                .zip(key.or_else(|| file(&auth.client_key))),
        }
    }

    fn read(&self) -> Result<Material, CredentialsError> {
        let read = |bytes: &Option<Bytes>| bytes.as_ref().map(Bytes::read).transpose();
        let client = match &self.client {
            Some((certificate, key)) => Some((certificate.read()?, key.read()?)),
            None => None,
        };
        let authorities = match &self.authorities {
            Authorities::In(bytes) => Some(bytes.read()?),
            Authorities::Given(_) | Authorities::Any => None,
        };
        Ok(Material { token: read(&self.token)?, authorities, client })
    }

    fn bearer(&self, material: &Material) -> Result<Option<HeaderValue>, CredentialsError> {
        let (Some(source), Some(token)) = (&self.token, &material.token) else { return Ok(None) };
        let token = token.trim_ascii();
        if token.is_empty() {
            return Err(source.fault(&"holds no token"));
        }
        let mut bearer = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
            .map_err(|_| source.fault(&"holds a token with characters that no token has"))?;
        bearer.set_sensitive(true);
        Ok(Some(bearer))
    }

    fn tls(&self, material: &Material) -> Result<Arc<ClientConfig>, CredentialsError> {
        let other = |error: rustls::Error| CredentialsError::Other(error.to_string());
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(other)?;
        let builder = match &self.authorities {
            Authorities::In(source) => {
                let pem = material.authorities.as_deref().unwrap_or_default();
                builder.with_root_certificates(roots(source, certificates(source, pem)?)?)
            }
            Authorities::Given(given) => {
                let source = Bytes::Given(Vec::new());
                builder.with_root_certificates(roots(&source, given.clone())?)
            }
            Authorities::Any => builder.dangerous().with_custom_certificate_verifier(any(&provider)),
        };
        let mut config = match (&self.client, &material.client) {
            (Some((certificate, key)), Some((certificate_pem, key_pem))) => {
                let chain = certificates(certificate, certificate_pem)?;
                let fault = |error: &dyn std::fmt::Display| key.fault(error);
                let der =
                    PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| fault(&"holds no key in PEM"))?;
                builder.with_client_auth_cert(chain, der).map_err(|error| fault(&error))?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Connections are kept; tickets of thousands of nodes are not worth their memory.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn any(provider: &Arc<CryptoProvider>) -> Arc<AcceptAny> {
    Arc::new(AcceptAny::new(provider.signature_verification_algorithms))
}

fn roots(source: &Bytes, given: Vec<CertificateDer<'static>>) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(given);
    if added == 0 { Err(source.fault(&"no certificate of an authority that can be used")) } else { Ok(roots) }
}

fn certificates(source: &Bytes, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(source.fault(&"holds no certificate in PEM")),
        Err(error) => Err(source.fault(&error)),
    }
}

/// What a kubeconfig holds is base64 of PEM.
fn decoded(text: &str) -> Option<Vec<u8>> {
    // PEM is base64 between two lines, so its reader reads this too.
    let wrapped = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", text.trim());
    CertificateDer::from_pem_slice(wrapped.as_bytes()).ok().map(|der| der.to_vec())
}

/// The credentials of the moment.
#[derive(Debug)]
pub struct Current {
    /// Changes with certificates and authorities: connections of an earlier generation are not used any more.
    pub generation: u64,
    /// For new connections.
    pub tls: Arc<ClientConfig>,
    /// For each request; none with a client certificate.
    pub bearer: Option<HeaderValue>,
}

/// Credentials that follow their files.
#[derive(Debug)]
pub struct Credentials {
    sources: Sources,
    current: ArcSwap<Current>,
}

impl Credentials {
    /// Reads them for the first time.
    pub fn read(sources: Sources) -> Result<Self, CredentialsError> {
        let material = sources.read()?;
        let current =
            Current { generation: 1, tls: sources.tls(&material)?, bearer: sources.bearer(&material)? };
        Ok(Self { sources, current: ArcSwap::from_pointee(current) })
    }

    /// Those of the moment.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Follows the files until `shutdown`. What cannot be used is logged, and the credentials before it stay.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut held: Option<Material> = None;
        let mut trouble: Option<CredentialsError> = None;
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            let sources = self.sources.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || sources.read()).await else { continue };
            let looked = read.and_then(|material| {
                if held.as_ref() != Some(&material) {
                    self.replace(held.as_ref(), &material)?;
                    held = Some(material);
                }
                Ok(())
            });
            let now = looked.err();
            if let Some(error) = now.as_ref().filter(|&error| trouble.as_ref() != Some(error)) {
                tracing::warn!(%error, "new credentials for kubelets cannot be used; the former ones stay");
            }
            trouble = now;
        }
    }

    fn replace(&self, before: Option<&Material>, now: &Material) -> Result<(), CredentialsError> {
        let current = self.current();
        let is_same = before
            .is_some_and(|before| (&before.authorities, &before.client) == (&now.authorities, &now.client));
        let bearer = self.sources.bearer(now)?;
        // What was read at the start is read again at the first look, and then compared.
        let (generation, tls) = if is_same {
            (current.generation, Arc::clone(&current.tls))
        } else {
            (current.generation + u64::from(before.is_some()), self.sources.tls(now)?)
        };
        self.current.store(Arc::new(Current { generation, tls, bearer }));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
