//! The group: who owns it, and whether kube-apiserver is content.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::world::{World, unavailable};

const NAME: &str = "v1beta1.metrics.k8s.io";

#[test]
fn a_missing_api_service_is_broken() {
    let world = World::well();
    world.services().delete("", NAME);
    let screen = world.check(&[]).shown("APIService missing");
    screen.ends(1).says("BROKEN", "API group", &[NAME, "does not exist"]);
}

#[test]
fn an_api_service_of_metrics_server_points_to_the_migration() {
    let world = World::well();
    world.services().change("", NAME, |it| it["spec"]["service"]["name"] = json!("metrics-server"));
    let screen = world.check(&[]).shown("APIService owned by metrics-server");
    screen.ends(1).says("BROKEN", "API group", &["belongs to metrics-server"]).advises(&["MIGRATION"]);
}

#[test]
fn a_bundle_of_another_authority_is_found_by_the_certificate_that_is_shown() {
    let world = World::well();
    let bundle = STANDARD.encode(world.api.pki.stranger.pem());
    world.services().change("", NAME, |it| {
        it["spec"]["caBundle"] = json!(bundle);
        it["status"]["conditions"] = unavailable(
            "FailedDiscoveryCheck",
            "failing or missing response from https://10.0.0.9:10250/apis/metrics.k8s.io/v1beta1: Get \
             \"https://10.0.0.9:10250/apis/metrics.k8s.io/v1beta1\": tls: failed to verify certificate: x509: \
             certificate signed by unknown authority",
        );
    });
    let screen = world.check(&[]).shown("caBundle of another authority");
    screen.ends(1).says("BROKEN", "API group", &["not signed by its caBundle"]);
    screen.says("BROKEN", "certificate", &["is not signed by an authority in caBundle", NAME]);
}

#[test]
fn an_api_service_without_a_bundle_is_broken_and_one_that_skips_is_noted() {
    let world = World::well();
    world.services().change("", NAME, |it| it["spec"]["caBundle"] = json!(null));
    world.services().change("", "v1.metrics.k8s.io", |it| it["spec"]["insecureSkipTLSVerify"] = json!(true));
    let screen = world.check(&[]).shown("no caBundle; insecureSkipTLSVerify");
    screen.ends(1).says("BROKEN", "API group", &["no caBundle"]).says(
        "note",
        "API group",
        &["insecureSkipTLSVerify"],
    );
}

#[test]
fn control_planes_that_cannot_reach_pods_are_told_which_port() {
    let world = World::well();
    world.services().change("", NAME, |it| {
        it["status"]["conditions"] = unavailable(
            "FailedDiscoveryCheck",
            "failing or missing response from https://10.0.0.9:10250/apis/metrics.k8s.io/v1beta1: Get \
             \"https://10.0.0.9:10250/apis/metrics.k8s.io/v1beta1\": context deadline exceeded",
        );
    });
    let screen = world.check(&[]).shown("firewall between control plane and pods");
    screen.ends(1).says("BROKEN", "API group", &["does not reach the pods"]).advises(&["10250"]);
}
