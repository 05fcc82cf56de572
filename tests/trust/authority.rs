//! The Secret: made once by whoever is first, mended when it is ours, and left alone when it is not.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    apiserver::{AGGREGATOR, access::Access, dial::Fault, faults::Wrong},
    poll::issuer_of,
    program::{Aggregator, Metrics, Program, wait_until},
    setup::{CA, DEADLINE, NAMESPACE, SERVICES, SHORT, Setup, grants, logged, target},
};

const REPLICAS: usize = 10;

/// The certificate that a port shows to who trusts this bundle.
fn shown(port: u16, bundle: &str) -> Result<Vec<u8>, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let target = target(port, bundle);
        let stream = target.connect(target.tls(None, b"h2")).await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    })
}

fn step(replica: &Aggregator, step: &str) -> f64 {
    replica.metrics().get(&format!("kubevitals_aggregator_ca_rotation_steps_total{{step=\"{step}\"}}"))
}

#[test]
fn ten_replicas_that_race_for_the_secret_end_with_one_authority() {
    let setup = Setup::start();
    // All have seen that there is none before the first one makes it.
    let late = Wrong::Late(std::time::Duration::from_secs(3));
    setup.api.cluster.faults.fail("create", "secrets", REPLICAS, late);
    let replicas: Vec<Program> =
        (0..REPLICAS).map(|number| setup.stuck(&format!("r{number}"), &[])).collect();
    let ports = |listener| -> Vec<u16> { replicas.iter().map(|replica| replica.port(listener)).collect() };
    let (api, ingest, admin) = (ports("api"), ports("ingest"), ports("admin"));
    let certificate = setup.secret("ca.crt").unwrap();
    let create = "kubevitals_aggregator_ca_rotation_steps_total{step=\"create\"}";
    let made: f64 = admin.into_iter().map(|port| Metrics::of(port).get(create)).sum();
    let tried = setup.api.cluster.accesses(AGGREGATOR);
    let tried = tried.iter().filter(|access| access.verb == "create" && access.resource == "secrets").count();
    eprintln!("{REPLICAS} replicas: {tried} tried to make the secret, {made} did");
    assert!((made - 1.0).abs() < 0.5);
    assert!(tried > 1, "nobody raced");
    for port in api.into_iter().chain(ingest) {
        shown(port, &certificate).unwrap();
    }
    for name in SERVICES {
        wait_until(name, DEADLINE, || {
            (setup.ca_bundle(name).as_ref() == Some(&certificate))
                .then_some(())
                .ok_or_else(|| "not yet".to_owned())
        });
    }
}

#[test]
fn all_that_is_asked_is_in_the_role_and_all_of_the_role_is_needed() {
    let setup = Setup::start();
    let replica = setup.replica("one", &SHORT);
    wait_until("it is published", DEADLINE, || setup.config_map().ok_or_else(|| "not yet".to_owned()));
    setup.change_secret(|secret| secret["metadata"]["annotations"]["kubevitals.io/rotate-ca"] = json!("now"));
    wait_until("it rotates", DEADLINE, || {
        (step(&replica, "switch") > 0.5).then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    let asked = setup.api.cluster.accesses(AGGREGATOR);
    let ours = |access: &&Access| {
        access.namespace == NAMESPACE && access.name != "extension-apiserver-authentication"
    };
    let ours = asked.iter().filter(|access| ours(access) || access.resource == "apiservices");
    // With a role that lacks something, something would have failed; so what is left is what nobody uses.
    let used: std::collections::BTreeSet<(&str, &str)> =
        ours.map(|access| (access.verb, access.resource.as_str())).collect();
    let granted = grants();
    let granted: std::collections::BTreeSet<(&str, &str)> = granted
        .iter()
        .flat_map(|grant| grant.verbs.iter().map(|verb| (verb.as_str(), grant.resource.as_str())))
        .collect();
    assert_eq!(used, granted);
    assert!(replica.metrics().get("kubevitals_aggregator_ca_errors_total") < 0.5);
}

#[test]
fn an_authority_of_ours_that_is_damaged_is_replaced_and_servers_keep_what_is_trusted() {
    let setup = Setup::start();
    let replica = setup.replica("one", &SHORT);
    let old = setup.secret("ca.crt").unwrap();
    let certificate = shown(replica.api.port, &old).unwrap();
    setup.change_secret(|secret| secret["data"]["ca.key"] = json!(STANDARD.encode("garbage")));
    logged(&replica.program, "ca.key: the key cannot be used", 1);
    wait_until("another one", DEADLINE, || {
        (setup.secret("ca.crt").as_ref() != Some(&old)).then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    let new = setup.secret("ca.crt").unwrap();
    assert_eq!(setup.secret("previous.crt").unwrap(), old);
    // Who trusts the old one alone is served on until the overlap is over, and then who trusts the new one alone.
    assert_eq!(shown(replica.api.port, &old).unwrap(), certificate);
    wait_until("signed by the new one", DEADLINE, || {
        shown(replica.api.port, &new).map_err(|fault| fault.to_string())
    });
    assert!((step(&replica, "repair") - 1.0).abs() < 0.5);
}

#[test]
fn a_secret_that_was_deleted_is_made_again_without_a_cut() {
    let setup = Setup::start();
    let replica = setup.replica("one", &SHORT);
    let old = setup.secret("ca.crt").unwrap();
    setup.secrets().delete(NAMESPACE, CA);
    wait_until("made again", DEADLINE, || setup.secret("ca.crt").ok_or_else(|| "not yet".to_owned()));
    let new = setup.secret("ca.crt").unwrap();
    assert_ne!(new, old);
    assert!(shown(replica.api.port, &old).is_ok());
    wait_until("signed by the new one", DEADLINE, || {
        shown(replica.api.port, &new).map_err(|fault| fault.to_string())
    });
}

/// An authority as an operator makes it.
fn operators(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn secret(data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value)))).collect();
    json!({"metadata": {"namespace": NAMESPACE, "name": CA}, "type": "Opaque", "data": data})
}

#[test]
fn an_operators_authority_signs_and_is_never_written() {
    let setup = Setup::start();
    let authority = operators("of-an-operator");
    let given = secret(&[("ca.crt", &authority.pem()), ("ca.key", &authority.key().serialize_pem())]);
    setup.secrets().put(given);
    let before = setup.secrets().get(NAMESPACE, CA).unwrap();
    let replica = setup.replica("one", &SHORT);
    let certificate = shown(replica.api.port, &authority.pem()).unwrap();
    assert_eq!(issuer_of(&certificate), None, "not one of ours");
    wait_until("it is published", DEADLINE, || setup.config_map().ok_or_else(|| "not yet".to_owned()));
    setup.change_secret(|secret| {
        secret["metadata"]["annotations"] = json!({"kubevitals.io/rotate-ca": "now"});
    });

    // Garbage by the same hand is named, and served over.
    setup.change_secret(|secret| secret["data"]["ca.key"] = json!(""));
    logged(&replica.program, "ca.key: there is no key; it is not ours to mend", 1);
    assert_eq!(shown(replica.api.port, &authority.pem()).unwrap(), certificate);
    let stuck = setup.stuck("two", &SHORT);
    logged(&stuck, "ca.key: there is no key; it is not ours to mend", 1);
    assert!(!stuck.log().contains("listening"), "{}", stuck.log());
    let after = setup.secrets().get(NAMESPACE, CA).unwrap();
    assert_eq!(after["data"]["ca.crt"], before["data"]["ca.crt"]);
    assert_eq!(after["data"]["ca.key"], "");

    // Once it is mended, whoever waits goes on.
    setup.secrets().put(before);
    logged(&stuck, "listening", 3);
    assert!(step(&replica, "repair") < 0.5 && step(&replica, "begin") < 0.5);
}

#[test]
fn a_secret_that_is_empty_is_filled() {
    let setup = Setup::start();
    let mut empty = secret(&[]);
    empty["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
    setup.secrets().put(empty);
    let replica = setup.replica("one", &[]);
    shown(replica.api.port, &setup.secret("ca.crt").unwrap()).unwrap();
    let after = setup.secrets().get(NAMESPACE, CA).unwrap();
    assert_eq!(after["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
}
