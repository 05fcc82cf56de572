//! The serving certificates: whether each endpoint shows one that kube-apiserver will take.

use std::sync::Arc;

use rustls::{
    CertificateError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::{Finding, Step, span};
use crate::check::facts::Facts;

pub(super) const NAME: &str = "certificate";

pub(super) fn step(facts: &Facts, has_endpoint: bool) -> Step {
    if facts.shown.is_empty() {
        return if has_endpoint {
            Step::not_asked(NAME, "no endpoint is known")
        } else {
            Step::not_asked(NAME, "the Service leads to no pod")
        };
    }
    let bundles = bundles(facts);
    let mut findings = Vec::new();
    for (endpoint, asked) in &facts.shown {
        let what = format!("{} ({})", endpoint.name, endpoint.address);
        let command = facts.names.kubectl(&format!("logs {}", endpoint.name));
        findings.extend(asked.unreadable(&what, &command));
        if let Some(chain) = asked.got() {
            findings.extend(judged(&what, chain, &bundles, facts));
        }
    }
    Step::new(NAME, findings)
}

/// The authorities of each `APIService` that leads to us and checks certificates.
fn bundles(facts: &Facts) -> Vec<(&'static str, RootCertStore)> {
    let of = |name: &'static str, asked: &crate::check::asked::Asked<_>| {
        let spec: &k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService = asked.got()?;
        let spec = spec.spec.as_ref()?;
        let service = spec.service.as_ref()?;
        let is_ours = service.name.as_ref() == Some(&facts.names.service)
            && service.namespace.as_ref() == Some(&facts.names.namespace);
        let bundle = spec.ca_bundle.as_ref().filter(|bundle| !bundle.0.is_empty())?;
        if !is_ours || spec.insecure_skip_tls_verify.unwrap_or_default() {
            return None;
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle.0).filter_map(Result::ok));
        Some((name, roots))
    };
    facts.api_services.iter().filter_map(|(name, asked)| of(name, asked)).collect()
}

fn judged(
    what: &str,
    chain: &[CertificateDer<'static>],
    bundles: &[(&'static str, RootCertStore)],
    facts: &Facts,
) -> Vec<Finding> {
    let Some((leaf, above)) = chain.split_first() else {
        return vec![Finding::broken("no_certificate", format!("{what} shows no certificate"))];
    };
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
        return vec![Finding::broken(
            "bad_certificate",
            format!("{what} shows a certificate that cannot be read"),
        )];
    };
    let mut findings = Vec::new();
    for (name, roots) in bundles {
        let Err(error) = verified(leaf, above, roots.clone(), &facts.names.host()) else { continue };
        findings.push(refused(what, name, &error, &parsed, facts));
    }
    findings.dedup_by(|a, b| (a.reason, &a.message) == (b.reason, &b.message));
    if findings.is_empty() {
        let left = left(&parsed);
        let life = parsed.validity();
        #[allow(clippy::cast_precision_loss, reason = "seconds of a certificate's life")]
        let whole = (life.not_after.timestamp() - life.not_before.timestamp()) as f64;
        let told = format!("{what}: good for {}", span(left));
        // Ours are renewed at two thirds, so less is left only when that fails.
        findings.push(if left < whole / 5.0 {
            Finding::note("ends_soon", format!("{told}, which is less than a fifth of its life"))
                .then("it should have been renewed by now: see the aggregator's log, cert-manager, or whoever writes the files")
        } else {
            Finding::ok("trusted", told)
        });
    }
    findings
}

/// Whether kube-apiserver would take it.
fn verified(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    roots: RootCertStore,
    host: &str,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
    let name = ServerName::try_from(host).map_err(|error| rustls::Error::General(error.to_string()))?;
    verifier.verify_server_cert(leaf, above, &name, &[], UnixTime::now()).map(drop)
}

fn refused(
    what: &str,
    api_service: &str,
    error: &rustls::Error,
    leaf: &X509Certificate<'_>,
    facts: &Facts,
) -> Finding {
    let rustls::Error::InvalidCertificate(error) = error else {
        return Finding::broken("bad_certificate", format!("{what}: {error}"));
    };
    let logs = facts.names.kubectl(&format!("logs deploy/{}", facts.names.service));
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Finding::broken("expired", format!("{what}: the certificate ended {} ago", span(left(leaf))))
                .then(format!("{logs}: why was it not renewed? With given files, whoever writes them has to"))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Finding::broken("not_valid_yet", format!("{what}: the certificate is not valid yet"))
                .then("compare the clocks of the nodes")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let message = format!(
                "{what}: the certificate is made out to {}, not to {}",
                names(leaf),
                facts.names.host()
            );
            Finding::broken("wrong_name", message)
                .then(format!("--server-name={}, or another certificate", facts.names.host()))
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let message = format!(
                "{what}: the certificate (by {}) is not signed by an authority in caBundle of APIService {api_service}",
                leaf.issuer()
            );
            Finding::broken("untrusted", message).then(format!(
                "{logs} | grep -i -e apiservice -e authority; the aggregator writes caBundle unless something else puts its own there again"
            ))
        }
        other => Finding::broken("bad_certificate", format!("{what}: {other}")).then(logs),
    }
}

/// Seconds until it ends; negative afterwards.
#[allow(clippy::cast_precision_loss, reason = "seconds of a certificate's life")]
fn left(leaf: &X509Certificate<'_>) -> f64 {
    (leaf.validity().not_after.timestamp() - x509_parser::time::ASN1Time::now().timestamp()) as f64
}

fn names(leaf: &X509Certificate<'_>) -> String {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let names: Vec<String> = names.take(5).collect();
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}
