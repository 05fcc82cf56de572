//! Handshakes that ask for a client certificate, with certificates of every kind.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, ClientConnection, DistinguishedName, Error, RootCertStore, ServerConnection,
    SignatureScheme, SupportedProtocolVersion, client::ResolvesClientCert, crypto::ring, sign::CertifiedKey,
    version,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};

use super::fake::{CLIENT, Purpose, Signer, Wish};
use crate::tls::{
    Authority, Serving,
    clients::{PeerCertificates, Settings},
};

type Own = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// Shows what it has, and notes which authorities were named.
#[derive(Debug)]
struct Shows {
    key: Option<Arc<CertifiedKey>>,
    named: Mutex<Option<Vec<Vec<u8>>>>,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.named.lock().unwrap() = Some(authorities.iter().map(|name| name.to_vec()).collect());
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

struct World {
    authority: Authority,
    settings: Arc<Settings>,
}

/// The authorities that were named, if a certificate was asked for, and the certificates that arrived.
type Shaken = (Option<Vec<Vec<u8>>>, usize);

impl World {
    fn new() -> Self {
        let authority = Authority::generate().unwrap();
        let settings = Serving::new(authority.issue(&[]).unwrap()).api_config().unwrap();
        Self { authority, settings }
    }

    /// Shakes hands with a client that has this certificate.
    fn shake(&self, own: Option<Own>, version: &'static SupportedProtocolVersion) -> Result<Shaken, Error> {
        let provider = ring::default_provider();
        let key =
            own.map(|(certificate, key)| CertifiedKey::from_der(vec![certificate], key, &provider).unwrap());
        self.shake_with(key.map(Arc::new), version)
    }

    /// Shakes hands in memory.
    fn shake_with(
        &self,
        key: Option<Arc<CertifiedKey>>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Shaken, Error> {
        let provider = Arc::new(ring::default_provider());
        let shows = Arc::new(Shows { key, named: Mutex::default() });
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.ca_pem().as_bytes()).unwrap()).unwrap();
        let resolver: Arc<dyn ResolvesClientCert> = Arc::<Shows>::clone(&shows);
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(resolver);
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(self.settings.current()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            pass(&bytes, |from| server.read_tls(from))?;
            server.process_new_packets()?;
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            pass(&bytes, |from| client.read_tls(from))?;
            client.process_new_packets()?;
        }
        client.writer().flush().unwrap();
        let named = shows.named.lock().unwrap().clone();
        Ok((named, server.peer_certificates().map_or(0, <[_]>::len)))
    }
}

fn pass(
    mut bytes: &[u8],
    mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>,
) -> Result<(), Error> {
    while !bytes.is_empty() {
        read(&mut bytes).map_err(|error| Error::General(error.to_string()))?;
    }
    Ok(())
}

fn subject(signer: &Signer) -> DistinguishedName {
    let mut roots = RootCertStore::empty();
    roots.add(signer.der()).unwrap();
    roots.subjects().remove(0)
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[test]
fn c105_both_authorities_are_named_and_no_certificate_is_required() {
    let (world, clients, proxy) = (World::new(), Signer::new("clients"), Signer::new("proxy"));
    let named = [&clients, &proxy].map(subject);
    world.settings.ask_for(named.to_vec()).unwrap();
    let expected: Vec<Vec<u8>> = named.iter().map(|name| name.as_ref().to_vec()).collect();
    for version in VERSIONS {
        assert_eq!(world.shake(None, version), Ok((Some(expected.clone()), 0)), "{version:?}");
        assert_eq!(world.shake(Some(clients.issue(CLIENT)), version), Ok((Some(expected.clone()), 1)));
    }
}

#[test]
fn any_certificate_completes_the_handshake_and_is_judged_later() {
    let world = World::new();
    world.settings.ask_for(vec![subject(&Signer::new("clients"))]).unwrap();
    let unknown = Signer::new("unknown");
    for version in VERSIONS {
        for wish in [CLIENT, Wish { expired: true, ..CLIENT }, Wish { purpose: Purpose::Server, ..CLIENT }] {
            assert_eq!(world.shake(Some(unknown.issue(wish)), version).unwrap().1, 1);
        }
    }
}

#[test]
fn whoever_does_not_hold_the_key_of_a_certificate_does_not_get_in() {
    let (world, signer) = (World::new(), Signer::new("clients"));
    world.settings.ask_for(vec![subject(&signer)]).unwrap();
    let provider = ring::default_provider();
    let (certificate, _) = signer.issue(CLIENT);
    let (_, other) = signer.issue(CLIENT);
    assert!(CertifiedKey::from_der(vec![certificate.clone()], other.clone_key(), &provider).is_err());
    // A client that sends somebody's certificate all the same.
    let key = provider.key_provider.load_private_key(other).unwrap();
    let stolen = Arc::new(CertifiedKey::new(vec![certificate], key));
    for version in VERSIONS {
        assert!(world.shake_with(Some(Arc::clone(&stolen)), version).is_err(), "{version:?}");
    }
}

#[test]
fn who_does_not_ask_gets_no_certificate() {
    let (world, signer) = (World::new(), Signer::new("clients"));
    for version in VERSIONS {
        assert_eq!(world.shake(Some(signer.issue(CLIENT)), version), Ok((None, 0)));
    }
}

#[test]
fn chains_that_differ_in_any_way_have_other_fingerprints() {
    let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
    let of = |chain: &[CertificateDer<'_>]| *PeerCertificates::new(chain).unwrap().fingerprint();
    let one = of(&[der(b"ab"), der(b"c")]);
    assert_eq!(one, of(&[der(b"ab"), der(b"c")]));
    for other in [vec![der(b"a"), der(b"bc")], vec![der(b"abc")], vec![der(b"c"), der(b"ab")]] {
        assert_ne!(one, of(&other));
    }
    assert!(PeerCertificates::new(&[]).is_none());
}
