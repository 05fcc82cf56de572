//! Client certificates: who they make a caller, and what the handshake says of them.

use std::sync::{Arc, Mutex};

use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};
use serde_json::json;

use crate::{
    apiserver::pki::{Authority, Wanted},
    rig::{BASES, Rig, Who},
};

#[tokio::test(flavor = "multi_thread")]
async fn c094_a_client_certificate_is_a_user_with_groups() {
    let rig = Rig::start();
    let pki = &rig.api.pki;
    let path = format!("{}/nodes", BASES[0]);
    let alice = pki.user("alice", &["readers", "dev"]);
    let answer = rig.get(&Who::certificate(alice.clone()), &path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let spec = rig.api.cluster.reviews.of_access.last();
    assert_eq!(spec["user"], "alice");
    assert_eq!(spec["groups"], json!(["readers", "dev", "system:authenticated"]));
    let credential = spec["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    let digits = credential.strip_prefix("X509SHA256=").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{credential}");

    let readers = Wanted { organizations: &["readers"], ..Wanted::client("bob") };
    let server = Wanted { organizations: &["readers"], ..Wanted::server("bob", &[]) };
    let unlimited = Wanted { usage: None, ..readers.clone() };
    let nameless = Wanted { organizations: &["readers"], ..Wanted::client("") };
    for (what, identity, status) in [
        ("out of date", pki.client.issue(&readers.clone().expired()), 401),
        ("for servers only", pki.client.issue(&server), 401),
        ("of a stranger", pki.stranger.issue(&readers), 401),
        ("of the serving authority", pki.serving.issue(&readers), 401),
        ("without a name", pki.client.issue(&nameless), 401),
        ("of a namesake", Authority::new("stand-in-client-ca").issue(&readers), 401),
        ("through an intermediate", pki.client.subordinate("intermediate").issue(&readers), 200),
        ("right", pki.client.issue(&readers), 200),
        // As Go has it: no usage at all is every usage.
        ("without a usage", pki.client.issue(&unlimited), 200),
    ] {
        let answer = rig.get(&Who::certificate(identity), &path).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
}

/// Shows no certificate, and keeps the names of the authorities that were asked for.
#[derive(Debug, Default)]
struct Hints(Mutex<Option<Vec<Vec<u8>>>>);

impl ResolvesClientCert for Hints {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = Some(authorities.iter().map(|name| name.to_vec()).collect());
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The authorities that a handshake asks a certificate of.
pub(crate) async fn hints(rig: &Rig) -> Vec<Vec<u8>> {
    let hints = Arc::new(Hints::default());
    let mut tls = rig.target().tls(None, b"h2");
    tls.client_auth_cert_resolver = Arc::<Hints>::clone(&hints);
    rig.target().connect(tls).await.expect("no certificate is needed");
    hints.0.lock().unwrap().take().expect("a certificate is asked for")
}

/// Whether one of the names is this authority's.
pub(crate) fn names(hints: &[Vec<u8>], name: &str) -> bool {
    hints.iter().any(|hint| hint.windows(name.len()).any(|part| part == name.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn c105_a_handshake_names_both_authorities_and_needs_no_certificate() {
    let rig = Rig::start();
    let hints = hints(&rig).await;
    assert_eq!(hints.len(), 2);
    assert!(names(&hints, "stand-in-client-ca") && names(&hints, "stand-in-front-proxy-ca"));
    assert_eq!(rig.get(&Who::nobody(), "/livez").await.status, 200);
}
