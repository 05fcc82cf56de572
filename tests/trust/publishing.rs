//! Who is told of the authority: only what differs is written, and only what is ours.

use std::{
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    apiserver::{AGGREGATOR, faults::Wrong},
    program::wait_until,
    setup::{CA, DEADLINE, NAMESPACE, SERVICES, SHORT, Setup, api_service, logged},
};

fn writes(setup: &Setup) -> usize {
    let asked = setup.api.cluster.accesses(AGGREGATOR);
    asked.iter().filter(|access| ["patch", "update", "create"].contains(&access.verb)).count()
}

/// Waits until all three objects hold the authority.
fn published(setup: &Setup) {
    let bundle = setup.secret("ca.crt").unwrap();
    wait_until("published", DEADLINE, || {
        let all = [setup.config_map(), setup.ca_bundle(SERVICES[0]), setup.ca_bundle(SERVICES[1])];
        let are = all.iter().all(|held| held.as_ref().is_some_and(|held| held.contains(&bundle)));
        are.then_some(()).ok_or_else(|| format!("{all:?}"))
    });
}

#[test]
fn what_is_ours_is_written_once_and_the_rest_of_the_objects_stays() {
    let setup = Setup::start();
    let mut map = json!({"metadata": {"namespace": NAMESPACE, "name": CA, "labels": {"a": "b"}}});
    map["data"] = json!({"other": "value"});
    setup.api.cluster.config_maps.put(map);
    let _replica = setup.replica("one", &SHORT);
    published(&setup);
    let service = setup.services().get("", SERVICES[0]).unwrap();
    let mut expected = api_service(SERVICES[0])["spec"].clone();
    expected.as_object_mut().unwrap().remove("insecureSkipTLSVerify");
    expected["caBundle"] = service["spec"]["caBundle"].clone();
    assert_eq!((&service["spec"], &service["metadata"]["labels"]["app"]), (&expected, &json!("kubevitals")));
    let map = setup.api.cluster.config_maps.get(NAMESPACE, CA).unwrap();
    assert_eq!((&map["data"]["other"], &map["metadata"]["labels"]["a"]), (&json!("value"), &json!("b")));
    // The secret and the three objects. Each is noted once it is answered, so the last may still be on its way.
    wait_until("four writes", DEADLINE, || match writes(&setup) {
        wrote if wrote < 4 => Err(format!("{wrote}")),
        _ => Ok(()),
    });
    // Many looks later nothing more was written.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(writes(&setup), 4);
}

#[test]
fn whoever_writes_against_us_is_answered_at_our_pace() {
    let setup = Setup::start();
    let replica = setup.replica("one", &SHORT);
    published(&setup);
    let before = writes(&setup);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        setup.services().change("", SERVICES[0], |service| {
            service["spec"]["insecureSkipTLSVerify"] = json!(true);
            service["spec"].as_object_mut().unwrap().remove("caBundle");
        });
        thread::sleep(Duration::from_millis(5));
    }
    let wrote = writes(&setup) - before;
    eprintln!("{wrote} writes in {:?} against one in 5 ms; looks are 300 ms apart", begun.elapsed());
    assert!((2..=14).contains(&wrote), "{wrote}");
    published(&setup);
    assert!(setup.services().get("", SERVICES[0]).unwrap()["spec"]["insecureSkipTLSVerify"].is_null());
    assert_eq!(replica.program.log().matches("another writer takes the ca bundle away").count(), 1);
}

/// Else installing us beside a metrics-server would cut that one off at once, also when we share its namespace.
#[test]
fn an_api_service_of_somebody_else_is_left_alone_until_it_leads_to_us() {
    let setup = Setup::start();
    let lead_to = |namespace: &str, name: &str| {
        setup.services().change("", SERVICES[1], |service| {
            service["spec"]["service"]["namespace"] = json!(namespace);
            service["spec"]["service"]["name"] = json!(name);
        });
    };
    lead_to(NAMESPACE, "metrics-server");
    let before = setup.services().get("", SERVICES[1]).unwrap();
    let replica = setup.replica("one", &SHORT);
    logged(&replica.program, "left alone", 1);
    let bundle = setup.secret("ca.crt").unwrap();
    let holds = |name: &str| setup.ca_bundle(name).is_some_and(|held| held.contains(&bundle));
    wait_until("the other is published", DEADLINE, || {
        holds(SERVICES[0]).then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!(setup.services().get("", SERVICES[1]).unwrap()["spec"], before["spec"]);
    lead_to(NAMESPACE, "kubevitals-aggregator");
    published(&setup);
    // The way back.
    lead_to("elsewhere", "kubevitals-aggregator");
    logged(&replica.program, "left alone", 2);
}

#[test]
fn an_api_service_that_is_not_installed_is_told_once_and_the_others_are_served() {
    let setup = Setup::start();
    setup.services().delete("", SERVICES[1]);
    let replica = setup.replica("one", &SHORT);
    logged(&replica.program, "not installed", 1);
    wait_until("the other one", DEADLINE, || {
        setup.ca_bundle(SERVICES[0]).ok_or_else(|| "not yet".to_owned())
    });
    thread::sleep(Duration::from_secs(2));
    assert_eq!(replica.program.log().matches("not installed").count(), 1);
    let asked = setup.api.cluster.accesses(AGGREGATOR);
    assert_eq!(asked.iter().filter(|access| access.name == SERVICES[1]).count(), 1);
}

#[test]
fn faults_of_one_object_are_counted_there_and_hold_up_no_other() {
    let setup = Setup::start();
    setup.api.cluster.faults.fail("patch", "apiservices", 4, Wrong::Status(500));
    setup.api.cluster.faults.fail("create", "configmaps", 2, Wrong::Status(429));
    let replica = setup.replica("one", &SHORT);
    published(&setup);
    let errors = |target: &str| {
        replica
            .metrics()
            .get(&format!("kubevitals_aggregator_ca_publish_errors_total{{target=\"{target}\"}}"))
    };
    assert!((errors(SERVICES[0]) + errors(SERVICES[1]) - 4.0).abs() < 0.5);
    assert!((errors(CA) - 2.0).abs() < 0.5);
    let held = replica.metrics().get(&format!("kubevitals_aggregator_ca_published{{target=\"{CA}\"}}"));
    assert!((held - 1.0).abs() < 0.5);
}

#[test]
fn what_another_replica_published_stays_for_an_overlap() {
    let setup = Setup::start();
    let _replica = setup.replica("one", &SHORT);
    published(&setup);
    let (ours, foreign) = (setup.secret("ca.crt").unwrap(), setup.api.pki.stranger.pem());
    let begun = Instant::now();
    setup.services().change("", SERVICES[0], |service| {
        service["spec"]["caBundle"] = json!(STANDARD.encode(&foreign));
    });
    wait_until("both", DEADLINE, || {
        let held = setup.ca_bundle(SERVICES[0]).unwrap_or_default();
        (held == format!("{ours}{foreign}")).then_some(()).ok_or(held)
    });
    wait_until("ours alone", DEADLINE, || {
        let held = setup.ca_bundle(SERVICES[0]).unwrap_or_default();
        (held == ours).then_some(()).ok_or(held)
    });
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
}
