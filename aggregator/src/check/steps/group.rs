//! The API group: whether kube-apiserver sends metrics.k8s.io to our Service, and is content with it.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceCondition};

use super::{Finding, Step};
use crate::check::facts::{API_SERVICES, Facts, Names};

pub(super) const NAME: &str = "API group";

pub(super) fn step(facts: &Facts) -> Step {
    let mut findings: Vec<Finding> = Vec::new();
    for (name, asked) in &facts.api_services {
        let command = format!("kubectl get apiservice {name} -o yaml");
        findings.extend(asked.unreadable(&format!("APIService {name}"), &command));
        match asked.got() {
            Some(object) => findings.extend(judged(name, object, &facts.names)),
            None if findings.last().is_none_or(|finding| !finding.message.contains(name)) => {
                findings.push(absent(name));
            }
            None => {}
        }
    }
    Step::new(NAME, findings)
}

fn absent(name: &str) -> Finding {
    let remedy = "apply the manifests again (they hold both APIServices)";
    if name == API_SERVICES[0] {
        let message = format!("APIService {name} does not exist: kubectl top and autoscalers get no metrics");
        Finding::broken("api_service_missing", message).then(remedy)
    } else {
        let message =
            format!("APIService {name} does not exist: only clients of Kubernetes 1.37 and later miss it");
        Finding::note("newer_api_service_missing", message).then(remedy)
    }
}

fn judged(name: &str, object: &APIService, names: &Names) -> Vec<Finding> {
    let spec = object.spec.as_ref();
    let owner = spec.and_then(|spec| spec.service.as_ref()).map(|service| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (text(&service.namespace), text(&service.name))
    });
    let ours = (names.namespace.clone(), names.service.clone());
    match owner {
        Some(owner) if owner == ours => {}
        owner => return vec![foreign(name, owner, names)],
    }
    let mut findings = Vec::new();
    let skips = spec.and_then(|spec| spec.insecure_skip_tls_verify).unwrap_or_default();
    let bundle = spec.and_then(|spec| spec.ca_bundle.as_ref()).is_some_and(|bundle| !bundle.0.is_empty());
    if skips {
        let message = format!(
            "APIService {name} has insecureSkipTLSVerify: whoever answers on that address is believed"
        );
        let remedy = format!(
            "kubectl patch apiservice {name} --type=merge -p \
            '{{\"spec\":{{\"insecureSkipTLSVerify\":false}}}}' once caBundle is set"
        );
        findings.push(Finding::note("skips_tls_verification", message).then(remedy));
    } else if !bundle {
        let message =
            format!("APIService {name} has no caBundle, so kube-apiserver trusts no certificate of ours");
        findings.push(Finding::broken("no_ca_bundle", message).then(names.kubectl(&format!(
            "logs deploy/{} | grep -i apiservice: it writes the bundle, and says why when it cannot",
            names.service
        ))));
    }
    let conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let available = conditions.into_iter().find(|condition| condition.type_ == "Available");
    findings.push(match available {
        Some(condition) if condition.status == "True" => Finding::ok(
            "available",
            format!("{name} leads to {}/{}, available", names.namespace, names.service),
        ),
        Some(condition) => unavailable(name, condition, names),
        None => Finding::unknown(
            "no_condition",
            format!("kube-apiserver has not looked at APIService {name} yet"),
        )
        .then(format!("kubectl get apiservice {name}")),
    });
    findings
}

fn foreign(name: &str, owner: Option<(String, String)>, names: &Names) -> Finding {
    let ours = format!("{}/{}", names.namespace, names.service);
    match owner {
        None => Finding::broken("api_service_local", format!("APIService {name} leads to no Service"))
            .then(format!("kubectl get apiservice {name} -o yaml; it should lead to {ours}")),
        Some((namespace, service)) if service.contains("metrics-server") => {
            let message = format!(
                "APIService {name} belongs to metrics-server (Service {namespace}/{service}), not to {ours}"
            );
            Finding::broken("owned_by_metrics_server", message)
                .then("deploy/MIGRATION.md has the take-over without an outage")
        }
        Some((namespace, service)) => {
            let message = format!("APIService {name} leads to Service {namespace}/{service}, not to {ours}");
            Finding::broken("owned_by_other", message).then(format!(
                "kubectl get apiservice {name} -o yaml says who manages it; give --namespace and --service if that is ours"
            ))
        }
    }
}

/// What a reason of the condition means, and what to do. Reasons are those of kube-aggregator.
fn unavailable(name: &str, condition: &APIServiceCondition, names: &Names) -> Finding {
    let reason = condition.reason.as_deref().unwrap_or_default();
    let said = condition.message.as_deref().unwrap_or_default();
    let (code, means, remedy) = match reason {
        "ServiceNotFound" => {
            ("service_not_found", "its Service does not exist", "see the line of the service".to_owned())
        }
        "ServicePortError" => (
            "service_port",
            "its Service has no such port",
            names.kubectl(&format!("get service {} -o yaml", names.service)),
        ),
        "MissingEndpoints" | "EndpointsNotFound" => (
            "missing_endpoints",
            "no pod behind its Service is ready",
            "see the line of the service".to_owned(),
        ),
        "FailedDiscoveryCheck" => failed_discovery(said, names),
        "ServiceAccessError" | "EndpointsAccessError" => (
            "access_error",
            "kube-apiserver cannot read its Service",
            "look at kube-apiserver's log".to_owned(),
        ),
        _ => (
            "unavailable",
            "kube-apiserver gives no known reason",
            format!("kubectl describe apiservice {name}"),
        ),
    };
    let message =
        format!("APIService {name} is not available ({reason}): {means}. kube-apiserver says: {said}");
    Finding::broken(code, message).then(remedy)
}

/// By what Go's client says of the connection.
fn failed_discovery(said: &str, names: &Names) -> (&'static str, &'static str, String) {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let log = names.kubectl(&format!("logs deploy/{}", names.service));
    if has(&["unknown authority", "x509: certificate signed by"]) {
        (
            "untrusted",
            "the certificate is not signed by its caBundle",
            "see the line of the certificate".to_owned(),
        )
    } else if has(&["expired", "not yet valid"]) {
        ("expired", "the certificate is out of date", "see the line of the certificate".to_owned())
    } else if has(&[
        "x509: certificate is valid for",
        "doesn't contain any IP SANs",
        "not valid for any names",
    ]) {
        (
            "wrong_name",
            "the certificate is made out to other names",
            "see the line of the certificate".to_owned(),
        )
    } else if has(&["connection refused"]) {
        (
            "refused",
            "nothing listens where the Service leads",
            names.kubectl(&format!(
                "get endpointslices -l kubernetes.io/service-name={} -o yaml",
                names.service
            )),
        )
    } else if has(&["i/o timeout", "deadline exceeded", "Client.Timeout", "no route to host"]) {
        ("timeout", "kube-apiserver does not reach the pods, or they do not answer in 5s",
            "allow port 10250 from the control plane: NetworkPolicy, security group or firewall; with an overlay that it cannot reach, hostNetwork".to_owned())
    } else if has(&["status from", "403", "401"]) && has(&["403", "401"]) {
        (
            "not_recognised",
            "the aggregator does not recognise kube-apiserver's front proxy",
            format!("{log}; see the line of the rights"),
        )
    } else {
        ("failed_discovery", "its pods do not answer as they should", log)
    }
}
