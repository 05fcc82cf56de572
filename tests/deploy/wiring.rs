//! Names, ports, labels, files and accounts that one object takes from another, or from a program.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, time::Duration};

use kubevitals::transport::Credential;
use kubevitals_agent::{
    exporter::{answer, settings::Protection},
    stream::targets::Targets,
};
use kubevitals_aggregator::config::{Certificate, auth::AgentAuth};
use serde_json::Value;

use crate::{
    arguments,
    objects::{Objects, container, flag, list, name, pod, port, selects},
    render,
};

/// Runs a check on everything that can be rendered.
fn everywhere(check: impl Fn(&Objects)) {
    if render::skipped() {
        return;
    }
    for objects in render::every() {
        check(&objects);
    }
}

/// The workload whose pods a selector finds; exactly one.
fn selected<'a>(objects: &'a Objects, match_labels: &Value) -> &'a Value {
    let labels = |workload: &Value| workload["spec"]["template"]["metadata"]["labels"].clone();
    let found: Vec<_> =
        objects.workloads().filter(|workload| selects(match_labels, &labels(workload))).collect();
    assert_eq!(found.len(), 1, "{}: {match_labels}", objects.name);
    found[0]
}

#[test]
fn selectors_find_exactly_one_workload() {
    everywhere(|objects| {
        for workload in objects.workloads() {
            assert_eq!(selected(objects, &workload["spec"]["selector"]["matchLabels"]), workload);
        }
        for budget in objects.of_kind("PodDisruptionBudget") {
            assert_eq!(selected(objects, &budget["spec"]["selector"]["matchLabels"]), objects.aggregator());
        }
        for spread in list(&pod(objects.aggregator())["topologySpreadConstraints"]) {
            assert_eq!(selected(objects, &spread["labelSelector"]["matchLabels"]), objects.aggregator());
        }
    });
}

#[test]
fn services_and_probes_lead_to_ports_that_the_programs_listen_on() {
    everywhere(|objects| {
        let aggregator = objects.aggregator();
        let config = arguments::aggregator(aggregator);
        let number = |address: SocketAddr| u64::from(address.port());
        assert_eq!(port(aggregator, "https"), Some(number(config.listen)), "{}", objects.name);
        assert_eq!(port(aggregator, "ingest"), Some(number(config.ingest_listen)));
        assert!(config.listen.ip().is_unspecified() && config.ingest_listen.ip().is_unspecified());
        assert_eq!(port(aggregator, "query"), config.query_listen.map(number), "{}", objects.name);
        assert!(config.query_listen.is_none_or(|address| address.ip().is_unspecified()));
        match port(aggregator, "metrics") {
            Some(metrics) => assert_eq!(metrics, number(config.admin_listen)),
            None => assert!(config.admin_listen.ip().is_loopback(), "metrics without a port"),
        }
        assert_eq!(config.admin_listen.ip().is_loopback(), port(aggregator, "metrics").is_none());
        if let Some(agent) = objects.agent() {
            let listen = arguments::agent(agent).listen.unwrap();
            assert!(listen.ip().is_unspecified(), "the kubelet's probes come from outside of the pod");
            assert_eq!(port(agent, "admin"), Some(number(listen)));
            let exporter = arguments::agent(agent).exporter;
            assert_eq!(port(agent, "exporter"), exporter.as_ref().map(|exporter| number(exporter.listen)));
            assert_ne!(exporter.map(|exporter| exporter.protection), Some(Protection::Nothing));
        }
        for service in objects.of_kind("Service") {
            let workload = selected(objects, &service["spec"]["selector"]);
            for service_port in list(&service["spec"]["ports"]) {
                assert!(port(workload, service_port["targetPort"].as_str().unwrap()).is_some(), "{service}");
            }
        }
        objects.workloads().for_each(probes);
    });
}

fn probes(workload: &Value) {
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let get = &container(workload)[probe]["httpGet"];
        assert_eq!(get["path"], *path);
        let name = get["port"].as_str().unwrap();
        assert!(port(workload, name).is_some());
        assert_eq!(get["scheme"] == "HTTPS", name == "https");
    }
}

#[test]
fn agents_call_the_ingest_service_under_a_name_of_its_certificate() {
    everywhere(|objects| {
        let Some(agent) = objects.agent() else { return };
        let Targets::Hosts { hosts, trust } = arguments::agent(agent).targets else { panic!("no hosts") };
        let [target] = &hosts[..] else { panic!("{hosts:?}") };
        let service = objects.get("Service", &target.host);
        assert_eq!(service["spec"]["clusterIP"], "None");
        assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
        let [ingest] = list(&service["spec"]["ports"]) else { panic!("{service}") };
        assert_eq!(ingest["port"], target.port);
        // A headless Service leads to pods, whose port is not translated.
        assert_eq!(port(objects.aggregator(), "ingest"), ingest["port"].as_u64());
        let expected = format!("{}.{}.svc", target.host, render::NAMESPACE);
        assert_eq!(trust.server_name.as_ref(), Some(&expected));
        assert!(certified(objects).is_none_or(|names| names.contains(&expected)), "{}", objects.name);
    });
}

/// Names of the serving certificate; none where somebody else brings it.
fn certified(objects: &Objects) -> Option<BTreeSet<String>> {
    if let Certificate::Shared(authority) = arguments::aggregator(objects.aggregator()).certificate {
        return Some(authority.names.into_iter().collect());
    }
    let serving = objects.of_kind("Certificate").find(|certificate| certificate["spec"]["isCA"] != true)?;
    Some(list(&serving["spec"]["dnsNames"]).iter().map(|name| name.as_str().unwrap().to_owned()).collect())
}

#[test]
fn api_services_lead_to_the_service_under_a_name_of_its_certificate() {
    everywhere(|objects| {
        let published = flag(&crate::objects::arguments(objects.aggregator()), "--api-service");
        for api_service in objects.of_kind("APIService") {
            let spec = &api_service["spec"];
            let full = format!("{}.{}", spec["version"].as_str().unwrap(), spec["group"].as_str().unwrap());
            assert_eq!(name(api_service), full);
            let service = objects.get("Service", spec["service"]["name"].as_str().unwrap());
            assert_eq!(spec["service"]["namespace"], service["metadata"]["namespace"]);
            assert!(
                list(&service["spec"]["ports"]).iter().any(|port| port["port"] == spec["service"]["port"])
            );
            let server =
                format!("{}.{}.svc", service["metadata"]["name"].as_str().unwrap(), render::NAMESPACE);
            assert!(certified(objects).is_none_or(|names| names.contains(&server)), "{}", objects.name);
            let trusted = !spec["caBundle"].is_null() || spec["insecureSkipTLSVerify"] == true;
            assert!(trusted != published.contains(&full), "{}: {full}", objects.name);
        }
    });
}

#[test]
fn v1_is_preferred_to_v1beta1() {
    everywhere(|objects| {
        let priority =
            |name| objects.find("APIService", name).map(|found| found["spec"]["versionPriority"].as_u64());
        if let (Some(v1), Some(v1beta1)) = (priority("v1.metrics.k8s.io"), priority("v1beta1.metrics.k8s.io"))
        {
            assert!(v1 > v1beta1);
        }
    });
}

#[test]
fn every_file_in_an_argument_is_mounted_and_every_mount_has_its_volume() {
    everywhere(|objects| {
        for workload in objects.workloads() {
            let mounts = list(&container(workload)["volumeMounts"]);
            let volumes = list(&pod(workload)["volumes"]);
            for mount in mounts {
                assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
                assert_eq!(mount["readOnly"], true, "{mount}");
            }
            for argument in crate::objects::arguments(workload) {
                let Some((_, path)) = argument.split_once('=').filter(|(_, path)| path.starts_with('/'))
                else {
                    continue;
                };
                let mounted =
                    |mount: &Value| Path::new(path).starts_with(mount["mountPath"].as_str().unwrap());
                assert!(mounts.iter().any(mounted), "{argument}");
            }
        }
    });
}

#[test]
fn agents_mount_what_the_aggregator_publishes_and_show_the_token_that_it_asks_for() {
    everywhere(|objects| {
        let Some(daemon_set) = objects.agent() else { return };
        let volume = |name: &str| {
            list(&pod(daemon_set)["volumes"]).iter().find(|volume| volume["name"] == name).unwrap()
        };
        let published = flag(&crate::objects::arguments(objects.aggregator()), "--ca-config-map");
        assert_eq!(volume("ca")["configMap"]["name"], published[0]);
        let AgentAuth::Account(account) = arguments::aggregator(objects.aggregator()).agents else {
            panic!("agents are known by a fixed token");
        };
        let user = format!(
            "system:serviceaccount:{}:{}",
            render::NAMESPACE,
            pod(daemon_set)["serviceAccountName"].as_str().unwrap()
        );
        assert_eq!(account.username, user);
        let [source] = list(&volume("token")["projected"]["sources"]) else { panic!("one source") };
        assert_eq!(source["serviceAccountToken"]["audience"], account.audience);
        let Targets::Hosts { trust, .. } = arguments::agent(daemon_set).targets else { panic!("no hosts") };
        let Credential::TokenFile(token) = trust.credential else { panic!("no token file") };
        assert!(token.ends_with("kubevitals/token"));
        assert!(trust.ca_file.unwrap().ends_with("ca/ca.crt"));
        let config = arguments::agent(daemon_set);
        let mounts = list(&container(daemon_set)["volumeMounts"]);
        let cgroup = mounts.iter().find(|mount| mount["name"] == "cgroup").unwrap();
        assert_eq!(config.cgroup_root, Path::new(cgroup["mountPath"].as_str().unwrap()));
        assert_eq!(config.proc_root, Path::new("/proc"), "a container's own /proc has the host's totals");
    });
}

#[test]
fn accounts_exist_unless_somebody_else_makes_them() {
    everywhere(|objects| {
        if objects.name.contains("serviceAccount.create=false") {
            return;
        }
        for workload in objects.workloads() {
            objects.get("ServiceAccount", pod(workload)["serviceAccountName"].as_str().unwrap());
        }
    });
}

#[test]
fn a_pod_has_time_for_its_orderly_end() {
    everywhere(|objects| {
        let config = arguments::aggregator(objects.aggregator());
        let grace = pod(objects.aggregator())["terminationGracePeriodSeconds"].as_u64().unwrap();
        // What is in flight has 10 s after the delay (aggregator/src/shutdown.rs).
        assert!(Duration::from_secs(grace) >= config.shutdown.delay + Duration::from_secs(10));
        let readiness = &container(objects.aggregator())["readinessProbe"];
        let noticed =
            readiness["periodSeconds"].as_u64().unwrap() * readiness["failureThreshold"].as_u64().unwrap();
        assert!(
            Duration::from_secs(noticed) < config.shutdown.delay,
            "requests come until readiness is known"
        );
    });
}

#[test]
fn one_replica_forbids_no_drain_and_several_are_spread() {
    everywhere(|objects| {
        let deployment = objects.aggregator();
        let several = deployment["spec"]["replicas"].as_u64().unwrap() > 1;
        assert_eq!(objects.of_kind("PodDisruptionBudget").count() == 1, several, "{}", objects.name);
        let spread = list(&pod(deployment)["topologySpreadConstraints"]);
        assert_eq!(spread.iter().any(|spread| spread["topologyKey"] == "kubernetes.io/hostname"), several);
        let strategy = &deployment["spec"]["strategy"]["rollingUpdate"];
        assert_eq!((&strategy["maxUnavailable"], &strategy["maxSurge"]), (&0.into(), &1.into()));
    });
}

#[test]
fn network_policies_let_through_what_is_needed() {
    everywhere(|objects| {
        let of = |workload| {
            objects
                .of_kind("NetworkPolicy")
                .find(|policy| selected(objects, &policy["spec"]["podSelector"]["matchLabels"]) == workload)
        };
        let policy = of(objects.aggregator()).expect("aggregators have a policy");
        for rule in list(&policy["spec"]["ingress"]) {
            for opened in list(&rule["ports"]) {
                assert!(port(objects.aggregator(), opened["port"].as_str().unwrap()).is_some(), "{policy}");
            }
        }
        let ingest = list(&policy["spec"]["ingress"])
            .iter()
            .find(|rule| rule["ports"][0]["port"] == "ingest")
            .expect("agents are let in");
        let Some(agent) = objects.agent() else { return };
        assert_eq!(selected(objects, &ingest["from"][0]["podSelector"]["matchLabels"]), agent);
        let egress = &of(agent).expect("agents have a policy")["spec"]["egress"][0];
        assert_eq!(egress["ports"][0]["port"].as_u64(), port(objects.aggregator(), "ingest"));
        if pod(objects.aggregator())["hostNetwork"] != true {
            let to = &egress["to"][0]["podSelector"]["matchLabels"];
            assert_eq!(selected(objects, to), objects.aggregator());
        }
    });
}

#[test]
fn the_query_service_is_reached_under_a_name_of_its_certificate() {
    everywhere(|objects| {
        let services: Vec<_> =
            objects.of_kind("Service").filter(|service| name(service).ends_with("-query")).collect();
        let config = arguments::aggregator(objects.aggregator());
        assert_eq!(services.len(), usize::from(config.query_listen.is_some()), "{}", objects.name);
        let opened = objects.of_kind("NetworkPolicy").flat_map(|policy| list(&policy["spec"]["ingress"]));
        let opened = opened.filter(|rule| list(&rule["ports"]).iter().any(|port| port["port"] == "query"));
        assert_eq!(opened.count(), services.len(), "{}", objects.name);
        for service in services {
            let server = format!("{}.{}.svc", name(service), render::NAMESPACE);
            assert!(certified(objects).is_none_or(|names| names.contains(&server)), "{}", objects.name);
        }
    });
}

#[test]
fn scrapers_reach_the_exporter_with_a_token_that_is_good_for_it() {
    everywhere(|objects| {
        let Some(agent) = objects.agent() else { return };
        let policies = objects.of_kind("NetworkPolicy");
        let mut policies = policies
            .filter(|policy| selected(objects, &policy["spec"]["podSelector"]["matchLabels"]) == agent);
        let ports = list(&policies.next().unwrap()["spec"]["ingress"][0]["ports"]);
        let is_open = ports.iter().any(|port| port["port"] == "exporter");
        assert_eq!(is_open, port(agent, "exporter").is_some(), "{}", objects.name);
        let account = objects.of_kind("ServiceAccount").find(|account| name(account).ends_with("-scraper"));
        assert_eq!(account.is_some(), is_open, "{}", objects.name);
        for monitor in objects.of_kind("PodMonitor").filter(|monitor| name(monitor).ends_with("-exporter")) {
            for endpoint in list(&monitor["spec"]["podMetricsEndpoints"]) {
                let path = endpoint["path"].as_str().unwrap();
                assert!(Path::new(path).starts_with("/metrics"), "{path}");
                assert!(answer::Path::of(path).is_some(), "{path}");
                let secret = endpoint["authorization"]["credentials"]["name"].as_str().unwrap();
                let secret = objects.get("Secret", secret);
                assert_eq!(
                    secret["metadata"]["annotations"]["kubernetes.io/service-account.name"],
                    *name(account.unwrap())
                );
                // Targets of one job are told apart by their labels alone, and both pages are on one port.
                let relabelings = list(&endpoint["relabelings"]);
                assert!(
                    relabelings.iter().any(|rule| rule["targetLabel"] == "metrics_path"),
                    "{}",
                    objects.name
                );
            }
        }
    });
}

#[test]
fn prometheus_verifies_whom_it_asks() {
    everywhere(|objects| {
        for monitor in objects.of_kind("ServiceMonitor").chain(objects.of_kind("PodMonitor")) {
            let pods = monitor["kind"] == "PodMonitor";
            let endpoint = &monitor["spec"][if pods { "podMetricsEndpoints" } else { "endpoints" }][0];
            let workload = if pods { objects.agent().unwrap() } else { objects.aggregator() };
            assert_eq!(selected(objects, &monitor["spec"]["selector"]["matchLabels"]), workload);
            assert!(port(workload, endpoint["port"].as_str().unwrap()).is_some());
            if endpoint["scheme"] == "https" && !name(monitor).ends_with("-exporter") {
                let server = endpoint["tlsConfig"]["serverName"].as_str().unwrap();
                assert!(certified(objects).is_none_or(|names| names.contains(server)));
            }
        }
    });
}
