use std::{fs, path::Path};

use http::header::AUTHORIZATION;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use tempfile::TempDir;

use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// An authority of client certificates.
struct Signer(CertifiedIssuer<'static, KeyPair>);

impl Signer {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate that ends so many hours from now.
    fn client(&self, hours: i64) -> PeerCertificates {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - Duration::from_secs(48 * 3600);
        params.not_after = now + time::Duration::hours(hours);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        PeerCertificates::new(&[certificate.der().clone()]).unwrap()
    }
}

struct World {
    files: TempDir,
    signer: Signer,
    access: Access,
}

impl World {
    fn new() -> Self {
        let (files, signer) = (tempfile::tempdir().unwrap(), Signer::new("scrapers"));
        fs::write(files.path().join("tokens"), "first\n\n second\r\n").unwrap();
        fs::write(files.path().join("ca"), signer.0.pem()).unwrap();
        let access = Access::read(&wanted(files.path()), None, &Counter::default()).unwrap();
        Self { files, signer, access }
    }

    fn write(&self, name: &str, text: &str) -> bool {
        fs::write(self.files.path().join(name), text).unwrap();
        self.access.look()
    }

    async fn by_token(&self, token: &str) -> Result<Means, Denial> {
        self.access.check(&authorization(&format!("Bearer {token}")), None, PEER).await
    }

    async fn by_certificate(&self, shown: &PeerCertificates) -> Result<Means, Denial> {
        self.access.check(&HeaderMap::new(), Some(shown), PEER).await
    }
}

fn wanted(files: &Path) -> Credentials {
    Credentials {
        token_file: Some(files.join("tokens")),
        client_ca_file: Some(files.join("ca")),
        ..Credentials::default()
    }
}

fn authorization(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
}

#[tokio::test]
async fn each_token_of_the_file_lets_in_and_nothing_else_does() {
    let world = World::new();
    for good in ["first", "second"] {
        assert_eq!(world.by_token(good).await, Ok(Means::Token), "{good}");
    }
    for wrong in ["", "third", "firs", "first\u{e9}"] {
        assert_eq!(world.by_token(wrong).await, Err(Denial::Unauthenticated), "{wrong:?}");
    }
    let nothing = world.access.check(&HeaderMap::new(), None, PEER).await;
    assert_eq!(nothing, Err(Denial::Unauthenticated));
    let basic = world.access.check(&authorization("Basic first"), None, PEER).await;
    assert_eq!(basic, Err(Denial::Unauthenticated));
}

#[tokio::test]
async fn a_certificate_of_the_authority_lets_in_until_it_ends() {
    let world = World::new();
    assert_eq!(world.by_certificate(&world.signer.client(1)).await, Ok(Means::Certificate));
    assert_eq!(world.by_certificate(&world.signer.client(-1)).await, Err(Denial::Unauthenticated));
    let stranger = Signer::new("scrapers").client(1);
    assert_eq!(world.by_certificate(&stranger).await, Err(Denial::Unauthenticated));
    let with_token = world.access.check(&authorization("Bearer first"), Some(&stranger), PEER).await;
    assert_eq!(with_token, Ok(Means::Token), "a certificate of others does no harm");
}

#[tokio::test]
async fn files_that_change_count_and_broken_ones_do_not() {
    let world = World::new();
    assert!(!world.write("tokens", "third"), "only authorities are named in handshakes");
    assert_eq!(world.by_token("first").await, Err(Denial::Unauthenticated));
    assert_eq!(world.by_token("third").await, Ok(Means::Token));
    world.write("tokens", "two words");
    assert_eq!(world.by_token("third").await, Ok(Means::Token));
    world.write("tokens", "\n");
    assert_eq!(world.by_token("third").await, Err(Denial::Unauthenticated), "all were taken back");

    let (old, new) = (world.signer.client(1), Signer::new("others"));
    assert!(!world.write("ca", "no certificate"));
    assert_eq!(world.by_certificate(&old).await, Ok(Means::Certificate));
    assert!(world.write("ca", &new.0.pem()));
    assert_eq!(world.by_certificate(&old).await, Err(Denial::Unauthenticated));
    assert_eq!(world.by_certificate(&new.client(1)).await, Ok(Means::Certificate));
}

#[test]
fn every_file_that_cannot_be_used_at_the_start_is_named() {
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("tokens"), "\n\n").unwrap();
    let faults = Access::read(&wanted(files.path()), None, &Counter::default()).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[0], "--exporter-token-file: holds no token");
    assert!(faults[1].starts_with("--exporter-client-ca-file: ") && faults[1].contains("/ca: No such file"));
    fs::write(files.path().join("tokens"), "good\nnot good\n").unwrap();
    let faults = Access::read(&wanted(files.path()), None, &Counter::default()).unwrap_err();
    assert!(faults[0].ends_with("tokens: line 2 is not usable as a bearer token"), "{faults:?}");
}
