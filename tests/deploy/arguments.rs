//! The arguments in the manifests are those of the programs, and make sense to them.

use clap::{CommandFactory, Parser};
use kubevitals_agent::config as agent;
use kubevitals_aggregator::config as aggregator;
use serde_json::Value;

use crate::{
    objects::{arguments, container, list},
    render,
};

/// Flags that other parts of the same work bring; passed over until the program has them.
const AWAITED: [&str; 15] = [
    "--ca-secret",
    "--ca-config-map",
    "--api-service",
    "--tls-ca-file",
    "--kubelet-fallback",
    "--kubelet-port",
    "--kubelet-use-node-status-port",
    "--kubelet-preferred-address-types",
    "--kubelet-insecure-tls",
    "--kubelet-certificate-authority",
    "--kubelet-client-certificate",
    "--kubelet-client-key",
    "--kubelet-request-timeout",
    "--metric-resolution",
    "--node-selector",
];

/// Whether `serve` has a flag.
pub(crate) fn is_known(flag: &str) -> bool {
    let cli = aggregator::Cli::command();
    let serve = cli.find_subcommand("serve").unwrap();
    serve.get_arguments().any(|known| known.get_long() == flag.strip_prefix("--"))
}

/// Whether the program has to know an argument.
pub(crate) fn is_due(argument: &str) -> bool {
    let flag = argument.split('=').next().unwrap();
    is_known(flag) || !AWAITED.contains(&flag)
}

/// What a deployment's aggregator would run with.
pub(crate) fn aggregator(deployment: &Value) -> aggregator::ServeConfig {
    let arguments: Vec<_> = arguments(deployment).into_iter().filter(|argument| is_due(argument)).collect();
    // From the environment, which this test's process does not have.
    let namespace = Some("--namespace=kubevitals".to_owned()).filter(|_| is_known("--namespace"));
    let words =
        ["kubevitals-aggregator".to_owned()].into_iter().chain(arguments.iter().cloned()).chain(namespace);
    let cli = aggregator::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let aggregator::Command::Serve(flags) = cli.command else { panic!("not serve: {arguments:?}") };
    flags.resolve().unwrap_or_else(|faults| panic!("{arguments:?}: {faults:?}"))
}

/// What a daemon set's agent would run with.
pub(crate) fn agent(daemon_set: &Value) -> agent::Config {
    let arguments = arguments(daemon_set);
    let words = ["kubevitals-agent".to_owned()].into_iter().chain(arguments.iter().cloned());
    let cli = agent::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let agent::Command::Run(mut flags) = cli.command else { panic!("not run: {arguments:?}") };
    // From the environment, which this test's process does not have.
    let environment = list(&container(daemon_set)["env"]);
    let node_name = environment.iter().find(|variable| variable["name"] == "KUBEVITALS_NODE_NAME");
    let source = &node_name.expect("an agent is told its node")["valueFrom"];
    assert_eq!(source["fieldRef"]["fieldPath"], "spec.nodeName");
    "a-node".clone_into(&mut flags.node_name);
    flags.resolve().unwrap_or_else(|faults| panic!("{arguments:?}: {faults:?}"))
}

#[test]
fn the_programs_accept_the_arguments_of_every_manifest() {
    if render::skipped() {
        return;
    }
    for objects in render::every() {
        assert_eq!(container(objects.aggregator())["command"], serde_json::json!(["/kubevitals-aggregator"]));
        aggregator(objects.aggregator());
        if let Some(daemon_set) = objects.agent() {
            assert_eq!(container(daemon_set)["command"], serde_json::json!(["/kubevitals-agent"]));
            agent(daemon_set);
        }
    }
}

#[test]
fn every_image_has_the_version_of_the_programs() {
    if render::skipped() {
        return;
    }
    let image = format!("ghcr.io/kubevitals/kubevitals:v{}", env!("CARGO_PKG_VERSION"));
    for (overlay, values) in render::SAME {
        for objects in [render::kustomize(overlay), render::chart(values)] {
            for workload in objects.workloads() {
                assert_eq!(container(workload)["image"], *image, "{}", objects.name);
            }
        }
    }
}
