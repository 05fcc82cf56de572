//! A cluster that answers what a test tells it to, and authorities that sign what a test asks for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tower::service_fn;

use crate::tls::clients::PeerCertificates;

/// What a call is answered with.
pub(crate) enum Answer {
    /// A document.
    Json(u16, Value),
    /// Text, which may be anything.
    Text(u16, String),
    /// A body that goes on.
    Stream(Body),
    /// A document after some time.
    Late(Duration, u16, Value),
    /// No connection.
    Unreachable,
    /// Nothing, ever.
    Hang,
}

type Rule = Box<dyn FnMut(&str, &Value) -> Answer + Send>;

/// The cluster.
pub(crate) struct FakeCluster {
    /// Path with query, and body, of every call.
    calls: Mutex<Vec<(String, Value)>>,
    rule: Mutex<Rule>,
}

impl FakeCluster {
    /// Answers by `rule`, which is given path and body.
    pub(crate) fn new(rule: impl FnMut(&str, &Value) -> Answer + Send + 'static) -> (Arc<Self>, Client) {
        let cluster = Arc::new(Self { calls: Mutex::default(), rule: Mutex::new(Box::new(rule)) });
        let served = Arc::clone(&cluster);
        let service = service_fn(move |request: Request<kube::client::Body>| {
            let cluster = Arc::clone(&served);
            async move { cluster.answer(request).await }
        });
        (cluster, Client::new(service, "default"))
    }

    pub(crate) fn set(&self, rule: impl FnMut(&str, &Value) -> Answer + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// What was asked so far, and forgets it.
    pub(crate) fn calls(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Result<Response<Body>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let uri = parts.uri.path_and_query().unwrap().to_string();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        let answer = (self.rule.lock().unwrap())(&uri, &body);
        self.calls.lock().unwrap().push((uri, body));
        let (code, body) = match answer {
            Answer::Json(code, value) => (code, Body::from(value.to_string())),
            Answer::Text(code, text) => (code, Body::from(text)),
            Answer::Stream(body) => (200, body),
            Answer::Late(pause, code, value) => {
                tokio::time::sleep(pause).await;
                (code, Body::from(value.to_string()))
            }
            Answer::Unreachable => return Err(std::io::ErrorKind::ConnectionRefused.into()),
            Answer::Hang => std::future::pending().await,
        };
        Ok(Response::builder().status(code).body(body).unwrap())
    }
}

/// An answer to a token review.
pub(crate) fn token_review(status: &Value) -> Answer {
    let review = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {}, "spec": {"token": "is repeated"}, "status": status});
    Answer::Json(201, review)
}

/// An answer to an access review.
pub(crate) fn access_review(status: &Value) -> Answer {
    let review = json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "metadata": {}, "spec": {}, "status": status});
    Answer::Json(201, review)
}

/// A Status.
pub(crate) fn failure(code: u16) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "told to fail", "reason": "InternalError", "code": code});
    Answer::Json(code, status)
}

/// An authority of client certificates.
pub(crate) struct Signer(CertifiedIssuer<'static, KeyPair>);

/// A certificate to be made.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) name: &'a str,
    /// At most two.
    pub(crate) organizations: &'a [&'a str],
    pub(crate) expired: bool,
    pub(crate) purpose: Purpose,
}

/// What a certificate is good for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Client,
    Server,
    Any,
}

/// A good client certificate.
pub(crate) const CLIENT: Wish<'static> =
    Wish { name: "alice", organizations: &[], expired: false, purpose: Purpose::Client };

impl Signer {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(Self::params(name), key).unwrap())
    }

    /// An authority whose own certificate is valid until then, in time since 1970.
    pub(crate) fn until(name: &str, end: Duration) -> Self {
        let mut params = Self::params(name);
        params.not_after = OffsetDateTime::UNIX_EPOCH + end;
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// An authority that this one has signed.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(Self::params(name), key, &self.0).unwrap())
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn issue(&self, wish: Wish<'_>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        // The library holds one value of a type; by its number it is another type.
        let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        for (kind, organization) in types.into_iter().zip(wish.organizations) {
            params.distinguished_name.push(kind, *organization);
        }
        if !wish.name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, wish.name);
        }
        params.extended_key_usages = match wish.purpose {
            Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Purpose::Any => Vec::new(),
        };
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::from_secs(7200);
        params.not_after =
            if wish.expired { now - Duration::from_secs(3600) } else { now + Duration::from_secs(3600) };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
    }

    /// As a client shows it.
    pub(crate) fn shown(&self, wish: Wish<'_>) -> PeerCertificates {
        PeerCertificates::new(&[self.issue(wish).0]).unwrap()
    }
}

/// The `ConfigMap`'s data with these authorities and `front-proxy-client` as the front proxy.
pub(crate) fn config_map(clients: &Signer, proxy: &Signer) -> BTreeMap<String, String> {
    let pairs = [
        ("client-ca-file", clients.pem()),
        ("requestheader-client-ca-file", proxy.pem()),
        ("requestheader-allowed-names", r#"["front-proxy-client"]"#.to_owned()),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#.to_owned()),
        ("requestheader-group-headers", r#"["X-Remote-Group"]"#.to_owned()),
        ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#.to_owned()),
        ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#.to_owned()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
