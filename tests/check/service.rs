//! The Service and what is behind it.

use serde_json::json;

use crate::{
    apiserver::{SERVICE, pki::Wanted},
    world::{NAMESPACE, World, unavailable},
};

const POD: &str = "kubevitals-aggregator-0";

#[test]
fn a_service_without_endpoints_says_why_its_pods_are_not_ready() {
    let world = World::well();
    world.slice(&[(POD, false)]);
    for version in ["v1", "v1beta1"] {
        world.services().change("", &format!("{version}.metrics.k8s.io"), |it| {
            it["status"]["conditions"] = unavailable(
                "MissingEndpoints",
                "endpoints for service/kubevitals-aggregator in \"kube-system\" have no addresses with port name \"https\"",
            );
        });
    }
    world.api.cluster.pods.change(NAMESPACE, POD, |it| {
        it["status"]["conditions"][0]["status"] = json!("False");
        it["status"]["containerStatuses"][0]["ready"] = json!(false);
        it["status"]["containerStatuses"][0]["restartCount"] = json!(7);
        it["status"]["containerStatuses"][0]["state"] =
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}});
        it["status"]["containerStatuses"][0]["lastState"] =
            json!({"terminated": {"exitCode": 64, "reason": "Error", "startedAt": null, "finishedAt": null}});
    });
    let screen = world.check(&[]).shown("aggregator crash-looping, Service without endpoints");
    screen.ends(1).says("BROKEN", "API group", &["MissingEndpoints"]).says(
        "BROKEN",
        "service",
        &["no ready endpoint"],
    );
    screen
        .says("BROKEN", "service", &["CrashLoopBackOff", "exit code 64", "7 restarts"])
        .advises(&["--previous"]);
}

#[test]
fn a_service_that_selects_nothing_is_told_from_one_that_is_missing() {
    let world = World::well();
    world.objects("", "services").change(NAMESPACE, "kubevitals-aggregator", |it| {
        it["spec"]["selector"] = json!({"component": "typo"});
    });
    world.slice(&[]);
    let screen = world.check(&[]).shown("Service selects no pod");
    screen.ends(1).says("BROKEN", "service", &["selects no pod", "component=typo"]);
    world.objects("", "services").delete(NAMESPACE, "kubevitals-aggregator");
    let screen = world.check(&[]).shown("Service missing");
    screen.ends(1).says("BROKEN", "service", &["does not exist"]);
}

#[test]
fn an_expired_certificate_says_since_when_and_for_whom() {
    let world = World::well();
    let identity = world.api.pki.stranger.issue(&Wanted::server(SERVICE, &[SERVICE, "localhost"]).expired());
    let bundle = world.api.pki.stranger.pem();
    let port = world.serve_tls(&identity);
    world.slice_on(port, &[(POD, true)]);
    world.trust(&bundle);
    let screen = world.check(&[]).shown("certificate expired");
    screen.ends(1).says("BROKEN", "certificate", &["ended"]);

    let identity = world.api.pki.stranger.issue(&Wanted::server("other", &["other.example"]));
    let port = world.serve_tls(&identity);
    world.slice_on(port, &[(POD, true)]);
    let screen = world.check(&[]).shown("certificate for another name");
    screen.ends(1).says("BROKEN", "certificate", &["made out to other.example, not to", SERVICE]);
}
