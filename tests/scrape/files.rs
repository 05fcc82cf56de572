//! Tokens and authorities from files, which change while somebody scrapes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use crate::{
    client::{Shown, status},
    program::{Agent, Aggregator, NODE, PATIENCE, wait_until},
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "scrapers");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Files of a client certificate and its key; expired a day ago, or good for a day.
    fn client(&self, directory: &Path, name: &str, expired: bool) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (now, day) = (time::OffsetDateTime::now_utc(), time::Duration::days(1));
        params.not_before = now - 2 * day;
        params.not_after = if expired { now - day } else { now + day };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let files = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

#[test]
fn files_that_are_replaced_while_somebody_scrapes_count_within_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (old, new) = (Authority::new(), Authority::new());
    fs::write(path("tokens"), "first\nkept\n").unwrap();
    fs::write(path("ca.pem"), old.0.pem()).unwrap();
    let aggregator = Aggregator::start(directory.path(), &[]);
    let flags = [
        "--exporter-listen=127.0.0.1:0".to_owned(),
        format!("--exporter-token-file={}", path("tokens").display()),
        format!("--exporter-client-ca-file={}", path("scrapers.pem").display()),
        "--names=uid".to_owned(),
    ];
    fs::write(path("scrapers.pem"), old.0.pem()).unwrap();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let agent = Agent::with(NODE, "agent-token", &[&aggregator], &flags);
    let port = agent.program.port("exporter");

    let good = old.client(directory.path(), "good", false);
    let expired = old.client(directory.path(), "expired", true);
    let other = new.client(directory.path(), "other", false);
    let certificate =
        |(certificate, key): &(PathBuf, PathBuf)| status(port, Shown::Certificate(certificate, key));
    assert_eq!([status(port, Shown::Token("first")), certificate(&good)], [200, 200]);
    let refused = [status(port, Shown::Nothing), certificate(&expired), certificate(&other)];
    assert_eq!(refused, [401, 401, 401]);

    // As the kubelet does it: a whole file in the place of another.
    for (name, text) in [("tokens", "kept\nsecond\n".to_owned()), ("scrapers.pem", new.0.pem())] {
        fs::write(path("draft"), text).unwrap();
        fs::rename(path("draft"), path(name)).unwrap();
    }
    let begun = Instant::now();
    wait_until("the new files count", PATIENCE, || {
        assert_eq!(status(port, Shown::Token("kept")), 200, "it is in both");
        let now = [status(port, Shown::Token("second")), certificate(&other)];
        if now == [200, 200] { Ok(()) } else { Err(format!("{now:?}")) }
    });
    eprintln!("new files counted after {:.1} s", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!([status(port, Shown::Token("first")), certificate(&good)], [401, 401]);

    fs::write(path("scrapers.pem"), "no certificate").unwrap();
    let faults = "kubevitals_agent_exporter_credential_faults_total";
    wait_until("the fault is counted", PATIENCE, || match agent.metrics().get(faults) {
        0.0 => Err("not yet".to_owned()),
        _ => Ok(()),
    });
    assert_eq!(certificate(&other), 200, "what was there before counts on");
}
