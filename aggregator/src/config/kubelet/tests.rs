use clap::Parser as _;

use super::*;
use crate::config::{Cli, Command};

const CLUSTER: &str = "--names=cluster --agent-service-account=system:serviceaccount:ns:agent";

fn resolve(flags: &str) -> Result<Option<KubeletConfig>, Vec<String>> {
    let typed = format!("kubevitals-aggregator serve {CLUSTER} {flags}");
    let Command::Serve(flags) = Cli::try_parse_from(typed.split_whitespace()).unwrap().command else {
        panic!()
    };
    flags.resolve().map(|config| config.kubelets)
}

fn config(flags: &str) -> KubeletConfig {
    resolve(&format!("--kubelet-fallback {flags}")).unwrap().unwrap()
}

fn faults(flags: &str) -> Vec<String> {
    resolve(flags).unwrap_err()
}

/// O1: what is usual needs no flag.
#[test]
fn the_defaults_are_those_of_the_usual_manifests() {
    let config = config("");
    assert_eq!((config.resolution, config.timeout), (Duration::from_secs(15), Duration::from_secs(10)));
    assert_eq!((config.port, config.use_status_port), (10250, false));
    assert_eq!(
        config.address_types,
        [AddressType::InternalIp, AddressType::ExternalIp, AddressType::Hostname]
    );
    assert_eq!((config.trust, config.client), (KubeletTrust::Cluster, None));
    assert!(resolve("").unwrap().is_none(), "nothing is polled unless it is asked for");
}

/// O3: files replace what the cluster gives.
#[test]
fn files_are_taken_as_given() {
    let config =
        config("--kubelet-certificate-authority=ca --kubelet-client-certificate=c --kubelet-client-key=k");
    assert_eq!(config.trust, KubeletTrust::Authority("ca".into()));
    assert_eq!(config.client, Some(("c".into(), "k".into())));
    assert_eq!(self::config("--kubelet-insecure-tls").trust, KubeletTrust::Nobody);
}

/// The arguments in metrics-server's own manifest.
#[test]
fn what_metrics_server_users_type_is_understood() {
    let config = config(
        "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname --kubelet-use-node-status-port \
         --metric-resolution=15s -l metrics!=no",
    );
    assert!(config.use_status_port);
    assert_eq!(config.address_types.len(), 3);
}

/// O5: each pair that does not go together is one fault.
#[test]
fn conflicts_are_reported_one_each_and_all_at_once() {
    let faults = faults(
        "--kubelet-fallback --kubelet-insecure-tls --kubelet-certificate-authority=a --kubelet-client-key=k \
         --kubelet-port=0 --kubelet-preferred-address-types=Hostname,IP --metric-resolution=9s --node-selector=a=b=c",
    );
    let flags: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    let expected = [
        "--metric-resolution",
        "--kubelet-port",
        "--kubelet-preferred-address-types",
        "--node-selector",
        "--kubelet-certificate-authority",
        "--kubelet-client-certificate",
    ];
    assert_eq!(flags, expected);
    let alone = self::faults("--kubelet-fallback --kubelet-client-certificate=c");
    assert_eq!(alone, ["--kubelet-client-key: required with --kubelet-client-certificate"]);
}

/// O6 and O7.
#[test]
fn a_poll_is_over_before_the_next_one_begins() {
    let timeout = |resolution: &str, timeout: &str| {
        resolve(&format!(
            "--kubelet-fallback --metric-resolution={resolution} --kubelet-request-timeout={timeout}"
        ))
        .map(|config| config.unwrap().timeout)
    };
    assert_eq!(timeout("60s", "1s"), Ok(Duration::from_secs(1)));
    assert_eq!(timeout("10s", "9s"), Ok(Duration::from_secs(9)));
    assert_eq!(
        timeout("10s", "10s"),
        Err(vec!["--kubelet-request-timeout: 10s is not within 1ms to 9s".to_owned()])
    );
    assert!(timeout("15s", "0s").is_err());
    assert!(timeout("15s", "-1s").is_err());
    assert_eq!(config("--metric-resolution=10s").timeout, Duration::from_secs(9), "the default follows");
}

#[test]
fn flags_that_would_be_ignored_are_refused() {
    assert_eq!(
        faults("--kubelet-insecure-tls --node-selector=a=b"),
        [
            "--kubelet-insecure-tls: goes with --kubelet-fallback only",
            "--node-selector: goes with --kubelet-fallback only"
        ]
    );
    let typed = "kubevitals-aggregator serve --names=paths --api-token-file=a --agent-token-file=b --kubelet-fallback";
    let Command::Serve(flags) = Cli::try_parse_from(typed.split_whitespace()).unwrap().command else {
        panic!()
    };
    assert_eq!(flags.resolve().unwrap_err(), ["--kubelet-fallback: goes with --names=cluster only"]);
}
