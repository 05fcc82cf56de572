//! Given files, as cert-manager's Secret is mounted: their authority is published and followed.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::{
    apiserver::pki::{Authority, Wanted},
    program::{AGENT_ACCOUNT, Program, built, dies_with_us, wait_until},
    setup::{CA, DEADLINE, NAMESPACE, SERVICES, Setup, target},
};

/// What a mounted Secret of cert-manager holds, swapped as the kubelet does.
fn mount(directory: &Path, version: &str, authority: &Authority) {
    let files = directory.join(version);
    fs::create_dir(&files).unwrap();
    let names = [crate::apiserver::SERVICE, "localhost"];
    let identity = authority.issue(&Wanted::server("aggregator", &names));
    fs::write(files.join("tls.crt"), &identity.pem).unwrap();
    fs::write(files.join("tls.key"), &identity.key_pem).unwrap();
    fs::write(files.join("ca.crt"), authority.pem()).unwrap();
    let draft = directory.join("..data_tmp");
    symlink(version, &draft).unwrap();
    fs::rename(&draft, directory.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        drop(symlink(Path::new("..data").join(name), directory.join(name)));
    }
}

fn handshake(port: u16, bundle: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let target = target(port, bundle);
        let connected = target.connect(target.tls(None, b"h2")).await;
        connected.map(drop).map_err(|fault| fault.to_string())
    })
}

#[test]
fn the_authority_of_given_files_is_published_before_a_certificate_of_it_is_shown() {
    let setup = Setup::start();
    let mounted = setup.files.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let (old, new) = (Authority::new("of-cert-manager-1"), Authority::new("of-cert-manager-2"));
    mount(&mounted, "1", &old);
    let file = |flag: &str, name: &str| format!("{flag}={}", mounted.join(name).display());
    let kubeconfig = setup.api.kubeconfig_of_aggregator(setup.files.path());
    let mut command = dies_with_us(built("kubevitals-aggregator"));
    command
        .args(["serve", "--log-format=json", "--names=cluster", "--listen=127.0.0.1:0"])
        .args([
            "--ingest-listen=127.0.0.1:0",
            "--query-listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
            "--ca-overlap=5s",
        ])
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--agent-service-account={AGENT_ACCOUNT}"))
        .args([file("--tls-cert-file", "tls.crt"), file("--tls-key-file", "tls.key")])
        .args([file("--tls-ca-file", "ca.crt"), format!("--ca-config-map={CA}")])
        .args([format!("--api-service={}", SERVICES.join(",")), format!("--namespace={NAMESPACE}")]);
    let replica = Program::start("kubevitals-aggregator", &mut command);
    let [api, ingest] = ["api", "ingest"].map(|listener| replica.port(listener));
    let holds = |bundle: &str| {
        wait_until("published", DEADLINE, || {
            let all = [setup.config_map(), setup.ca_bundle(SERVICES[0]), setup.ca_bundle(SERVICES[1])];
            let are = all.iter().all(|held| held.as_deref() == Some(bundle));
            are.then_some(()).ok_or_else(|| format!("{all:?}"))
        });
    };
    holds(&old.pem());
    handshake(ingest, &old.pem()).unwrap();

    mount(&mounted, "2", &new);
    holds(&format!("{}{}", new.pem(), old.pem()));
    // Who has not heard of it yet is served on.
    handshake(api, &old.pem()).unwrap();
    wait_until("the new certificate", DEADLINE, || handshake(api, &new.pem()));
    holds(&new.pem());
}
