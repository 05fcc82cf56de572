//! The Service: whether it leads to pods that are ready, and if not, why they are not.

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::{Finding, Step, listed};
use crate::check::{
    asked::Asked,
    brief::PodBrief,
    facts::{Endpoint, Facts, Names},
};

pub(super) const NAME: &str = "service";

/// The port of an `APIService` that names none.
const PORT: i32 = 443;

/// What our manifests call the API's port; the chart may add one for metrics.
const PORT_NAME: &str = "https";

pub(super) fn step(facts: &Facts) -> Step {
    let names = &facts.names;
    let full = format!("Service {}/{}", names.namespace, names.service);
    let command = names.kubectl(&format!("get service {} -o yaml", names.service));
    let service = match &facts.service {
        Asked::Got(service) => service,
        Asked::Absent => {
            let message = format!("{full} does not exist");
            let remedy =
                "apply the manifests; give --namespace and --service if it is installed under other names";
            return Step::new(NAME, vec![Finding::broken("service_missing", message).then(remedy)]);
        }
        other => return Step::new(NAME, other.unreadable(&full, &command).into_iter().collect()),
    };
    let mut findings = Vec::new();
    if let Some(port) = wanted_ports(facts).into_iter().find(|&port| !has_port(service, port)) {
        findings.push(Finding::broken("no_port", format!("{full} has no port {port}")).then(command));
    }
    findings.extend(behind(facts, service, &full));
    Step::new(NAME, findings)
}

/// The ports that `APIService`s which lead to us name.
fn wanted_ports(facts: &Facts) -> Vec<i32> {
    let Names { namespace, service, .. } = &facts.names;
    let specs =
        facts.api_services.iter().filter_map(|(_, asked)| asked.got()?.spec.as_ref()?.service.as_ref());
    let ours =
        specs.filter(|it| it.name.as_ref() == Some(service) && it.namespace.as_ref() == Some(namespace));
    let ports: Vec<i32> = ours.map(|it| it.port.unwrap_or(PORT)).collect();
    if ports.is_empty() { vec![PORT] } else { ports }
}

fn has_port(service: &Service, wanted: i32) -> bool {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.into_iter().any(|port| port.port == wanted)
}

fn behind(facts: &Facts, service: &Service, full: &str) -> Vec<Finding> {
    let names = &facts.names;
    let command =
        names.kubectl(&format!("get endpointslices -l kubernetes.io/service-name={} -o yaml", names.service));
    let mut findings: Vec<Finding> =
        facts.slices.unreadable(&format!("endpoints of {full}"), &command).into_iter().collect();
    let Some(slices) = facts.slices.got() else {
        if findings.is_empty() {
            let message =
                format!("endpoints of {full}: the API server has no discovery.k8s.io/v1 (Kubernetes 1.21)");
            findings.push(
                Finding::unknown("no_endpoint_slices", message)
                    .then(names.kubectl(&format!("get endpoints {}", names.service))),
            );
        }
        return findings;
    };
    let endpoints = endpoints(slices);
    let ready = endpoints.iter().filter(|endpoint| endpoint.ready).count();
    let pods = facts.pods.got().map(Vec::as_slice).unwrap_or_default();
    let troubled: Vec<&PodBrief> = pods.iter().filter(|pod| !pod.ready && !pod.is_ending).collect();
    let leads = format!("{full} leads to {ready} of {} pods", endpoints.len().max(pods.len()));
    match ready {
        0 if pods.is_empty() && facts.pods.got().is_some() => {
            let selector = service.spec.iter().flat_map(|spec| spec.selector.iter().flatten());
            let selector: Vec<String> = selector.map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!("{full} selects no pod ({})", selector.join(","));
            let remedy = names.kubectl(&format!("describe deployment {}", names.service));
            findings.push(Finding::broken("no_pods", message).then(remedy));
        }
        0 => findings.push(
            Finding::broken("no_ready_endpoints", format!("{full} has no ready endpoint")).then(
                names.kubectl(&format!(
                    "get pods -o wide; kubectl -n {} describe deployment {}",
                    names.namespace, names.service
                )),
            ),
        ),
        _ if troubled.is_empty() => {
            let addresses = endpoints.iter().filter(|endpoint| endpoint.ready).map(|it| it.address.as_str());
            findings.push(Finding::ok("ready", format!("{leads}: {}", listed(addresses, ready))));
        }
        _ => findings.push(Finding::ok("some_ready", leads)),
    }
    findings.extend(troubled.into_iter().map(|pod| {
        let trouble = pod.trouble.as_deref().unwrap_or("not ready");
        let message = format!("aggregator pod {} ({}): {trouble}", pod.name, pod.phase);
        let finding = if ready == 0 { Finding::broken } else { Finding::note };
        finding("pod_not_ready", message).then(pod.remedy())
    }));
    findings
}

/// The addresses of all slices with the API's port, which our manifests name so; without that name, the first.
pub(in crate::check) fn endpoints(slices: &[EndpointSlice]) -> Vec<Endpoint> {
    let of_slice = |slice: &EndpointSlice| -> Vec<Endpoint> {
        let ports = slice.ports.as_deref().unwrap_or_default();
        let api = ports.iter().find(|port| port.name.as_deref() == Some(PORT_NAME)).or(ports.first());
        let port = api.and_then(|port| port.port).unwrap_or(PORT);
        let endpoints = slice.endpoints.iter().filter_map(|endpoint| {
            let address = endpoint.addresses.first()?;
            let target = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
            let address = if address.contains(':') {
                format!("[{address}]:{port}")
            } else {
                format!("{address}:{port}")
            };
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
            Some(Endpoint {
                name: target.unwrap_or_else(|| address.clone()),
                address,
                // Unset means ready (EndpointConditions).
                ready: ready.unwrap_or(true),
            })
        });
        endpoints.collect()
    };
    slices.iter().flat_map(of_slice).collect()
}
