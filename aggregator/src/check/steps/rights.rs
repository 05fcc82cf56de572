//! The rights of the aggregator's service account. Agents need none.

use super::{Finding, Step};
use crate::check::facts::{API_SERVICES, Facts, Right};

pub(super) const NAME: &str = "rights";

/// Namespace and name of the `ConfigMap` that says whom an extension API server trusts.
const AUTHENTICATION: (&str, &str) = ("kube-system", "extension-apiserver-authentication");

pub(super) fn step(facts: &Facts) -> Step {
    let mut findings = Vec::new();
    let mut untold = Vec::new();
    for (right, asked) in &facts.rights {
        match asked.got() {
            Some(true) => {}
            Some(false) => findings.push(missing(right, facts)),
            None => untold.push((right, asked)),
        }
    }
    if let Some((right, asked)) = untold.first() {
        let what = format!("{} of {} rights, such as {}", untold.len(), facts.rights.len(), said(right));
        let command = format!("kubectl auth can-i --list --as={}", facts.account);
        findings.extend(asked.unreadable(&what, &command));
    }
    if findings.is_empty() {
        let message = format!(
            "{} has all {} rights that it needs; agents need none",
            facts.account,
            facts.rights.len()
        );
        findings.push(Finding::ok("allowed", message));
    }
    Step::new(NAME, findings)
}

fn missing(right: &Right, facts: &Facts) -> Finding {
    let message = format!("{} may not {}: {}", facts.account, said(right), right.purpose);
    let scope = if right.namespace.is_empty() { String::new() } else { format!(" -n {}", right.namespace) };
    let remedy = format!(
        "kubectl auth can-i {} {}{scope} --as={}; the ClusterRoles kubevitals:* and their bindings grant it",
        right.verb,
        resource(right),
        facts.account
    );
    Finding::broken("not_allowed", message).then(remedy)
}

fn resource(right: &Right) -> String {
    let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
    let name = if right.name.is_empty() { String::new() } else { format!("/{}", right.name) };
    format!("{}{group}{name}", right.resource)
}

fn said(right: &Right) -> String {
    let place = if right.namespace.is_empty() { String::new() } else { format!(" in {}", right.namespace) };
    format!("{} {}{place}", right.verb, resource(right))
}

/// What an aggregator with these settings needs.
pub(in crate::check) fn needed(namespace: &str, setting: impl Fn(&str) -> Option<String>) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut add = |verbs: &[&'static str], group, resource, place: (&str, &str), purpose| {
        rights.extend(verbs.iter().map(|&verb| Right {
            verb,
            group,
            resource,
            namespace: place.0.to_owned(),
            name: place.1.to_owned(),
            purpose,
        }));
    };
    let everywhere = ("", "");
    add(&["list", "watch"], "", "pods", everywhere, "no pod has a name, so none is served");
    add(&["list", "watch"], "", "nodes", everywhere, "no node has a name, so none is served");
    let tokens = "authentication.k8s.io";
    add(
        &["create"],
        tokens,
        "tokenreviews",
        everywhere,
        "agents and callers with tokens are turned away (role system:auth-delegator)",
    );
    add(
        &["create"],
        "authorization.k8s.io",
        "subjectaccessreviews",
        everywhere,
        "callers are refused (role system:auth-delegator)",
    );
    add(
        &["get", "list", "watch"],
        "",
        "configmaps",
        AUTHENTICATION,
        "kube-apiserver's front proxy is not recognised (role extension-apiserver-authentication-reader in kube-system)",
    );
    if let Some(secret) = setting("ca-secret") {
        add(
            &["get", "update"],
            "",
            "secrets",
            (namespace, &secret),
            "the authority cannot be shared, so replicas do not trust each other's",
        );
    }
    if let Some(map) = setting("ca-config-map") {
        add(&["get", "patch"], "", "configmaps", (namespace, &map), "agents are not told whom to trust");
    }
    if setting("api-service").is_some() {
        for name in API_SERVICES {
            add(
                &["get", "patch"],
                "apiregistration.k8s.io",
                "apiservices",
                ("", name),
                "kube-apiserver is not told whom to trust",
            );
        }
    }
    if setting("kubelet-fallback").is_some_and(|value| value != "false") {
        add(
            &["get"],
            "",
            "nodes/metrics",
            everywhere,
            "kubelets of nodes without an agent refuse to tell their metrics",
        );
    }
    rights
}
