//! The API server is away: at the start, and later.

use std::time::Duration;

use crate::{
    apiserver::faults::Wrong,
    program::wait_until,
    setup::{DEADLINE, SHORT, Setup, logged, target},
};

fn handshake(port: u16, bundle: &str) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let target = target(port, bundle);
        let stream = target.connect(target.tls(None, b"h2")).await.map_err(|fault| fault.to_string())?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    })
}

#[test]
fn a_replica_that_cannot_read_the_secret_at_its_start_waits_for_it_and_serves_nobody() {
    let setup = Setup::start();
    let faults = &setup.api.cluster.faults;
    faults.fail("get", "secrets", usize::MAX, Wrong::Status(500));
    let waiting = setup.stuck("one", &[]);
    logged(&waiting, "500 InternalError: made to fail", 1);
    setup.api.set_away(true);
    logged(&waiting, "the authority cannot be looked after", 2);
    assert!(!waiting.log().contains("listening"), "{}", waiting.log());
    faults.recover();
    setup.api.set_away(false);
    logged(&waiting, "listening", 3);
    logged(&waiting, "the authority is looked after again", 1);
}

#[test]
fn while_the_api_server_is_away_certificates_are_renewed_by_the_key_in_memory() {
    let setup = Setup::start();
    let replica = setup.replica("one", &[SHORT[0], SHORT[1], "--serving-life=10s"]);
    let bundle = setup.secret("ca.crt").unwrap();
    let first = handshake(replica.api.port, &bundle).unwrap();
    setup.api.set_away(true);
    wait_until("a renewed certificate", DEADLINE, || {
        let second = handshake(replica.api.port, &bundle)?;
        (second != first).then_some(()).ok_or_else(|| "the same".to_owned())
    });
    // The probes of a replica that was ready before do not change.
    std::thread::sleep(Duration::from_millis(500));
    assert!(handshake(replica.ingest_port, &bundle).is_ok());
    setup.api.set_away(false);
    logged(&replica.program, "the authority is looked after again", 1);
}
