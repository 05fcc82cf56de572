//! The certificates of a cluster, and any wrong one that a test wants.
//!
//! Three authorities as a real control plane has them: one for what the API server serves, one for client
//! certificates, one for the front proxy. A fourth is trusted by nobody.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// Object identifier of an organization in a subject, for those after the first.
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// Who signs what in a cluster.
#[derive(Debug)]
pub(crate) struct Pki {
    /// Of the API server's own certificate.
    pub(crate) serving: Authority,
    /// Of people and components that call the API server: `client-ca-file`.
    pub(crate) client: Authority,
    /// Of the front proxy: `requestheader-client-ca-file`.
    pub(crate) front_proxy: Authority,
    /// Trusted by nobody.
    pub(crate) stranger: Authority,
}

impl Pki {
    pub(crate) fn generate() -> Self {
        Self {
            serving: Authority::new("stand-in-serving-ca"),
            client: Authority::new("stand-in-client-ca"),
            front_proxy: Authority::new("stand-in-front-proxy-ca"),
            stranger: Authority::new("stand-in-stranger-ca"),
        }
    }

    /// The certificate that the API server shows to the servers behind it.
    pub(crate) fn proxy(&self) -> Identity {
        self.front_proxy.issue(&Wanted::client("front-proxy-client"))
    }

    /// A certificate of a person or component.
    pub(crate) fn user(&self, name: &str, groups: &[&str]) -> Identity {
        self.client.issue(&Wanted { organizations: groups, ..Wanted::client(name) })
    }
}

/// A certificate authority and the certificates between it and its root.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// From this one's own up to, not including, the root's.
    above: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(Self::params(name), key()).expect("a valid authority");
        Self { issuer, above: Vec::new() }
    }

    /// One that this one vouches for.
    pub(crate) fn subordinate(&self, name: &str) -> Self {
        let issuer = CertifiedIssuer::signed_by(Self::params(name), key(), &self.issuer);
        let issuer = issuer.expect("a valid authority");
        let above = [vec![issuer.der().clone()], self.above.clone()].concat();
        Self { issuer, above }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = params(name, Duration::days(1));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    /// A key with a certificate as wanted.
    pub(crate) fn issue(&self, wanted: &Wanted<'_>) -> Identity {
        let mut params = params(wanted.name, wanted.life);
        for (index, organization) in wanted.organizations.iter().enumerate() {
            // The library holds one value for each type, so further ones go under the bare identifier.
            let kind = match index {
                0 => DnType::OrganizationName,
                _ => DnType::CustomDnType(ORGANIZATION.to_vec()),
            };
            params.distinguished_name.push(kind, *organization);
        }
        let names: Vec<String> = wanted.serves.iter().map(|&name| name.to_owned()).collect();
        params.subject_alt_names = CertificateParams::new(names).expect("valid names").subject_alt_names;
        params.extended_key_usages.extend(wanted.usage.clone());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.custom_extensions = wanted.extensions.to_vec();
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a valid certificate");
        let chain = [vec![certificate.der().clone()], self.above.clone()].concat();
        Identity { pem: certificate.pem(), chain, key_pem: key.serialize_pem(), key_der: key.serialize_der() }
    }
}

/// What a certificate shall say.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    /// At most two.
    pub(crate) organizations: &'a [&'a str],
    pub(crate) usage: Option<ExtendedKeyUsagePurpose>,
    /// From now on; negative when it has ended already.
    pub(crate) life: Duration,
    /// DNS names and addresses.
    pub(crate) serves: &'a [&'a str],
    pub(crate) extensions: &'a [CustomExtension],
}

impl<'a> Wanted<'a> {
    /// A good certificate of a client.
    pub(crate) fn client(name: &'a str) -> Self {
        let usage = Some(ExtendedKeyUsagePurpose::ClientAuth);
        Self { name, organizations: &[], usage, life: Duration::hours(1), serves: &[], extensions: &[] }
    }

    /// A good certificate of a server.
    pub(crate) fn server(name: &'a str, serves: &'a [&'a str]) -> Self {
        let usage = Some(ExtendedKeyUsagePurpose::ServerAuth);
        Self { usage, serves, ..Self::client(name) }
    }

    /// The same, out of date since a minute.
    pub(crate) fn expired(self) -> Self {
        Self { life: Duration::minutes(-1), ..self }
    }
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The first certificate of the chain.
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key_der: Vec<u8>,
}

impl Identity {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key_der.clone()))
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn params(name: &str, life: Duration) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - Duration::hours(1);
    params.not_after = now + life;
    params.use_authority_key_identifier_extension = true;
    params
}
