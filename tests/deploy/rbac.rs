//! Who may do what: no verb beyond a table that names the code which needs it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    objects::{Objects, flag, list, name, pod},
    render,
};

/// One permission: of which role, on what, which verb.
type Right = (&'static str, &'static str, &'static str);

/// Every permission that may be given, with the file or directory below `aggregator/src` that makes the call.
const NEEDED: &[(Right, &str)] = &[
    (("aggregator", "/nodes", "list"), "cluster/follow.rs"),
    (("aggregator", "/nodes", "watch"), "cluster/follow.rs"),
    (("aggregator", "/pods", "list"), "cluster/follow.rs"),
    (("aggregator", "/pods", "watch"), "cluster/follow.rs"),
    (("aggregator", "/secrets", "create"), "ca/store.rs"),
    (("aggregator", "/secrets/kubevitals-ca", "get"), "ca/store.rs"),
    (("aggregator", "/secrets/kubevitals-ca", "update"), "ca/store.rs"),
    (("aggregator", "/configmaps", "create"), "ca/publish.rs"),
    (("aggregator", "/configmaps/kubevitals-ca", "get"), "ca/publish.rs"),
    (("aggregator", "/configmaps/kubevitals-ca", "patch"), "ca/publish.rs"),
    (("api-services", "apiregistration.k8s.io/apiservices/v1.metrics.k8s.io", "get"), "ca/publish.rs"),
    (("api-services", "apiregistration.k8s.io/apiservices/v1.metrics.k8s.io", "patch"), "ca/publish.rs"),
    (("api-services", "apiregistration.k8s.io/apiservices/v1beta1.metrics.k8s.io", "get"), "ca/publish.rs"),
    (("api-services", "apiregistration.k8s.io/apiservices/v1beta1.metrics.k8s.io", "patch"), "ca/publish.rs"),
    (("kubelet-fallback", "/nodes/metrics", "get"), "kubelet/poll.rs"),
    (("aggregator", "/services/kubevitals-aggregator", "get"), "check/gather.rs"),
    (("aggregator", "discovery.k8s.io/endpointslices", "list"), "check/gather.rs"),
    (("aggregator", "apps/daemonsets/kubevitals-agent", "get"), "check/gather.rs"),
    // Not a call of ours: what those who read the API need.
    (("aggregated-metrics-reader", "metrics.k8s.io/nodes", "get"), "api/route.rs"),
    (("aggregated-metrics-reader", "metrics.k8s.io/nodes", "list"), "api/route.rs"),
    (("aggregated-metrics-reader", "metrics.k8s.io/pods", "get"), "api/route.rs"),
    (("aggregated-metrics-reader", "metrics.k8s.io/pods", "list"), "api/route.rs"),
    (("aggregated-metrics-reader", "metrics.k8s.io/nodes", "watch"), "query/access.rs"),
    (("aggregated-metrics-reader", "metrics.k8s.io/pods", "watch"), "query/access.rs"),
    // Nor this: what is asked about those who scrape agents.
    (("scraper", "/nodes/metrics", "get"), "ingest/review.rs"),
];

/// What the rules of a role come to, one entry for each object and verb.
fn rights(role: &Value) -> BTreeSet<(String, String, String)> {
    let short = name(role).split_once(':').expect("roles begin with the release's name").1;
    let mut rights = BTreeSet::new();
    for rule in list(&role["rules"]) {
        assert!(rule.get("nonResourceURLs").is_none(), "{rule}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names: Vec<String> = match list(&rule["resourceNames"]) {
            [] => vec![String::new()],
            names => names.iter().map(|name| format!("/{}", text(name))).collect(),
        };
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                for (object, verb) in
                    names.iter().flat_map(|name| list(&rule["verbs"]).iter().map(move |verb| (name, verb)))
                {
                    let object = format!("{}/{}{object}", text(group), text(resource));
                    rights.insert((short.to_owned(), object, text(verb)));
                }
            }
        }
    }
    rights
}

fn all_rights(objects: &Objects) -> BTreeSet<(String, String, String)> {
    objects.of_kind("ClusterRole").chain(objects.of_kind("Role")).flat_map(rights).collect()
}

#[test]
fn no_right_is_given_that_no_code_needs() {
    if render::skipped() {
        return;
    }
    let needed: BTreeMap<_, _> = NEEDED.iter().copied().collect();
    let mut given = BTreeSet::new();
    for (overlay, values) in render::SAME {
        for objects in [render::kustomize(overlay), render::chart(values)] {
            for (role, object, verb) in all_rights(&objects) {
                let right = needed.keys().find(|right| **right == (&role, &object, &verb));
                given.insert(*right.unwrap_or_else(|| panic!("{}: {role}: {verb} {object}", objects.name)));
            }
        }
    }
    let missing: Vec<_> = needed.keys().filter(|right| !given.contains(*right)).collect();
    assert!(missing.is_empty(), "needed and never given: {missing:?}");
}

fn exists(file: &str) -> bool {
    render::repository("aggregator/src").join(file).exists()
}

#[test]
fn the_code_that_needs_a_right_exists() {
    for (right, file) in NEEDED {
        assert!(exists(file), "{right:?}: {file}");
    }
}

#[test]
fn rights_go_with_the_choices() {
    if render::skipped() {
        return;
    }
    let has = |values: &[&str], object: &str| {
        all_rights(&render::chart(values)).iter().any(|(_, found, _)| found.contains(object))
    };
    assert!(!has(&[], "nodes/metrics"));
    assert!(has(&["kubeletFallback.enabled=true"], "nodes/metrics"));
    assert!(has(&["exporter.enabled=true"], "nodes/metrics"));
    assert!(has(&[], "secrets"));
    assert!(!has(&["tls.type=cert-manager"], "secrets"));
    assert!(!has(&["tls.type=existingSecret", "tls.existingSecret.name=a"], "secrets"));
    assert!(!has(&["rbac.create=false"], ""));
}

#[test]
fn named_objects_are_those_of_the_flags() {
    if render::skipped() {
        return;
    }
    for objects in render::every() {
        let arguments = crate::objects::arguments(objects.aggregator());
        let of = |resource: &str| -> BTreeSet<String> {
            let prefix = format!("{resource}/");
            let rights = all_rights(&objects);
            rights
                .iter()
                .filter_map(|(_, object, _)| object.strip_prefix(&prefix).map(str::to_owned))
                .collect()
        };
        let flags = |name| flag(&arguments, name).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(of("/secrets"), flags("--ca-secret"), "{}", objects.name);
        assert_eq!(of("/configmaps"), flags("--ca-config-map"), "{}", objects.name);
        assert!(
            of("apiregistration.k8s.io/apiservices").is_superset(&flags("--api-service")),
            "{}",
            objects.name
        );
    }
}

/// Roles that every cluster has.
const KUBERNETES_OWN: [&str; 2] = ["system:auth-delegator", "extension-apiserver-authentication-reader"];

#[test]
fn every_binding_joins_a_role_and_the_account_that_needs_it() {
    if render::skipped() {
        return;
    }
    for objects in render::every() {
        let account = &pod(objects.aggregator())["serviceAccountName"];
        let mut bound = BTreeSet::new();
        for binding in objects.of_kind("ClusterRoleBinding").chain(objects.of_kind("RoleBinding")) {
            let role = binding["roleRef"]["name"].as_str().unwrap();
            bound.insert(role.to_owned());
            if !KUBERNETES_OWN.contains(&role) {
                objects.get(binding["roleRef"]["kind"].as_str().unwrap(), role);
            }
            let [subject] = list(&binding["subjects"]) else { panic!("{binding}") };
            // Agents are bound to nothing at all.
            let scrapes = role.ends_with(":scraper").then(|| Value::from(role.replace(':', "-")));
            let account = scrapes.as_ref().unwrap_or(account);
            assert_eq!((&subject["kind"], &subject["name"]), (&"ServiceAccount".into(), account));
            if let Some(account) = &scrapes {
                objects.get("ServiceAccount", account.as_str().unwrap());
            }
            assert_eq!(subject["namespace"], render::NAMESPACE);
        }
        for own in KUBERNETES_OWN {
            assert!(bound.contains(own), "{}: {own}", objects.name);
        }
        let roles = objects.of_kind("ClusterRole").chain(objects.of_kind("Role")).map(name);
        let unbound: Vec<_> = roles.filter(|role| !bound.contains(*role)).collect();
        assert!(unbound.is_empty(), "{}: {unbound:?}", objects.name);
    }
}

#[test]
fn each_role_in_the_manifests_names_its_code() {
    for file in
        ["base/rbac.yaml", "components/kubelet-fallback/rbac.yaml", "components/exporter/scraper.yaml"]
    {
        let text = std::fs::read_to_string(render::repository("deploy").join(file)).unwrap();
        for object in text.split("\n---\n").filter(|object| object.contains("\nrules:")) {
            for line in object.lines().filter_map(|line| line.trim().strip_prefix("# aggregator/src/")) {
                let path = line.split([':', ' ']).next().unwrap_or_default();
                assert!(exists(path), "{file}: {path}");
            }
            assert!(object.contains("# aggregator/src/"), "{file}: {object}");
        }
    }
}
