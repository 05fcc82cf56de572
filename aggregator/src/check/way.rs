//! Ways to a listener of an aggregator's pod, and the two questions asked there: an HTTP GET, and which certificate is
//! shown.
//!
//! From inside the pod, and where an address is given, the way is a TCP connection. From anywhere else it is
//! kube-apiserver's port forwarding, which also reaches a listener on the pod's loopback.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::asked::{Asked, no_answer};
use crate::causes::with_causes;

/// Longest answer that is read: an explanation is bounded far below.
const ANSWER: usize = 4 << 20;

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a listener is reached.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// `HOST:PORT`.
    Address(String),
    /// Port forwarding to a pod.
    Forward { namespace: String, pod: String, port: u16 },
}

impl Way {
    async fn connect(&self, client: Option<&Client>) -> Result<Box<dyn Stream>, String> {
        match self {
            Self::Address(address) => {
                let stream = TcpStream::connect(address).await;
                Ok(Box::new(stream.map_err(|error| format!("{address}: {error}"))?))
            }
            Self::Forward { namespace, pod, port } => {
                let client = client.ok_or("no API server to forward ports")?.clone();
                let pods = Api::<Pod>::namespaced(client, namespace);
                let forwarded = pods.portforward(pod, &[*port]).await;
                let mut forwarded = forwarded.map_err(|error| with_causes(&error))?;
                let stream = forwarded.take_stream(*port);
                Ok(Box::new(stream.ok_or("no stream of the forwarded port")?))
            }
        }
    }
}

/// The JSON that a plain listener answers.
pub(super) async fn get<T: serde::de::DeserializeOwned>(
    way: &Way,
    client: Option<&Client>,
    path: &str,
    patience: Duration,
) -> Asked<T> {
    let answered = async {
        let stream = way.connect(client).await?;
        let body = exchange(stream, path).await?;
        serde_json::from_slice(&body).map_err(|error| format!("not understood: {error}"))
    };
    match timeout(patience, answered).await {
        Err(_) => Asked::Failed(no_answer(patience)),
        Ok(Err(why)) => Asked::Failed(why),
        Ok(Ok(answer)) => Asked::Got(answer),
    }
}

async fn exchange(stream: Box<dyn Stream>, path: &str) -> Result<Bytes, String> {
    let text = |error: hyper::Error| with_causes(&error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let request = http::Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(format!("{path} is answered with {status}")) }
    };
    tokio::select! {
        answer = answered => answer,
        Err(error) = connection => Err(text(error)),
    }
}

/// Which certificates a TLS listener shows, whoever signed them. Nothing is said on the connection.
pub(super) async fn shown(
    way: &Way,
    client: Option<&Client>,
    name: &ServerName<'static>,
    patience: Duration,
) -> Asked<Vec<CertificateDer<'static>>> {
    let shaken = async {
        let stream = way.connect(client).await?;
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        let shaken = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await;
        let stream = shaken.map_err(|error| format!("TLS handshake: {error}"))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        Ok::<_, String>(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
    };
    match timeout(patience, shaken).await {
        Err(_) => Asked::Failed(no_answer(patience)),
        Ok(Err(why)) => Asked::Failed(why),
        Ok(Ok(chain)) => Asked::Got(chain),
    }
}

/// Takes every certificate whose key the server has: it is judged afterwards.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
