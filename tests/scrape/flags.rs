//! Flags that would leave the pages open to everybody, and files that are not there.

use std::process::Command;

use crate::{
    client::{Shown, scrape},
    program::{Agent, Aggregator, NODE, Program, built, dies_with_us, probe},
};

/// Exit code and what was said.
fn refused(flags: &[&str]) -> (Option<i32>, String) {
    let usual = ["run", "--node-name=n", "--aggregator=https://127.0.0.1:1", "--listen=127.0.0.1:0"];
    let output = Command::new(built("kubevitals-agent")).args(usual).args(flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_exporter_that_anybody_could_read_does_not_start() {
    let (code, text) = refused(&["--exporter-listen=0.0.0.0:0", "--interval=1h"]);
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("--exporter-listen: nobody may scrape") && text.contains("--interval: "), "{text}");
    let (code, text) = refused(&["--exporter-listen=0.0.0.0:0", "--exporter-auth=none"]);
    assert!(code == Some(64) && text.contains("loopback address alone"), "{text}");
    let missing = [
        "--exporter-token-file=/missing/tokens",
        "--exporter-client-ca-file=/missing/ca",
        "--exporter-tls-cert-file=/missing/crt",
        "--exporter-tls-key-file=/missing/key",
    ];
    let (code, text) = refused(&[&["--exporter-listen=127.0.0.1:0"][..], &missing].concat());
    assert_eq!(code, Some(64), "{text}");
    for flag in ["--exporter-token-file: ", "--exporter-client-ca-file: ", "--exporter-tls-cert-file: "] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
}

#[test]
fn on_loopback_it_may_be_open_and_the_admin_listener_has_the_pages_too() {
    let directory = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(directory.path(), &[]);
    let flags = ["--exporter-listen=127.0.0.1:0", "--exporter-auth=none", "--names=uid"];
    let agent = Agent::with(NODE, "agent-token", &[&aggregator], &flags);
    let port = agent.program.port("exporter");
    for page in ["/metrics/resource", "/metrics/vitals", "/metrics"] {
        for port in [port, agent.admin_port] {
            let (code, text) = probe(port, page).unwrap();
            assert!(code == 200 && text.starts_with("# HELP "), "{page}: {code}: {text}");
        }
    }
    assert_eq!(scrape(port, "/metrics", Shown::Nothing).0, 0, "it speaks no TLS");
}

#[test]
fn what_others_can_reach_without_protection_has_no_names_of_pods() {
    let mut command = dies_with_us(built("kubevitals-agent"));
    command.args(["run", "--node-name=n", "--aggregator=https://127.0.0.1:1", "--log-format=json"]);
    let agent = Program::start("kubevitals-agent", command.arg("--listen=0.0.0.0:0"));
    let port = agent.port("admin");
    assert_eq!(probe(port, "/metrics").unwrap().0, 200);
    for page in ["/metrics/resource", "/metrics/vitals"] {
        assert_eq!(probe(port, page).unwrap().0, 404, "{page}");
    }
}
