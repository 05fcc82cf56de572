//! The little of a pod that a diagnosis needs. Pure.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus};

/// A pod, in brief.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PodBrief {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// Empty before it is bound to one.
    pub(super) node: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub(super) phase: String,
    pub(super) ready: bool,
    pub(super) is_ending: bool,
    /// Empty before it has one.
    pub(super) address: String,
    pub(super) account: String,
    /// Why it is not ready, as far as its status tells.
    pub(super) trouble: Option<String>,
    /// What its first container is started with: arguments, then `NAME=value` of its environment.
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// Running containers, with their ids or without one.
    pub(super) running: Vec<(String, Option<String>)>,
}

impl PodBrief {
    pub(super) fn of(pod: &Pod) -> Self {
        let (metadata, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        let first = spec.and_then(|spec| spec.containers.first());
        Self {
            namespace: text(metadata.namespace.as_ref()),
            name: text(metadata.name.as_ref()),
            uid: text(metadata.uid.as_ref()),
            node: text(spec.and_then(|spec| spec.node_name.as_ref())),
            phase: text(status.and_then(|status| status.phase.as_ref())),
            ready: status.is_some_and(|status| condition(status, "Ready").is_some_and(|it| it.0)),
            is_ending: metadata.deletion_timestamp.is_some(),
            address: text(status.and_then(|status| status.pod_ip.as_ref())),
            account: text(spec.and_then(|spec| spec.service_account_name.as_ref())),
            trouble: status.and_then(trouble),
            arguments: first.map(arguments).unwrap_or_default(),
            environment: first.map(environment).unwrap_or_default(),
            running: status.map(running).unwrap_or_default(),
        }
    }

    /// The value of a flag, from the arguments or the environment, as clap takes it.
    pub(super) fn setting(&self, flag: &str) -> Option<&str> {
        let long = format!("--{flag}");
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix(&long) {
                Some("") => return Some(arguments.next().map_or("", String::as_str)),
                Some(rest) if rest.starts_with('=') => return rest.get(1..),
                _ => {}
            }
        }
        let name = format!("KUBEVITALS_{}", flag.replace('-', "_").to_uppercase());
        self.environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// Where to look for what ails it: the log of what crashed, or else its events.
    pub(super) fn remedy(&self) -> String {
        let (namespace, name) = (&self.namespace, &self.name);
        let crashed =
            self.trouble.as_deref().is_some_and(|it| it.contains("CrashLoop") || it.contains("exit code"));
        if crashed {
            format!("kubectl -n {namespace} logs {name} --previous")
        } else {
            format!("kubectl -n {namespace} describe pod {name}")
        }
    }

    /// `NAMESPACE/NAME`.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn arguments(container: &Container) -> Vec<String> {
    let command = container.command.iter().flatten();
    command.chain(container.args.iter().flatten()).cloned().collect()
}

fn environment(container: &Container) -> Vec<(String, String)> {
    let variables = container.env.iter().flatten();
    variables.filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?))).collect()
}

/// Whether a condition holds, and what is said of it.
fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<(bool, &'a str)> {
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.type_ == kind)?;
    Some((found.status == "True", found.message.as_deref().unwrap_or_default()))
}

fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
}

fn trouble(status: &PodStatus) -> Option<String> {
    if let Some((false, message)) = condition(status, "PodScheduled") {
        return Some(format!("not scheduled: {}", message.trim_end_matches('.')));
    }
    let of_container = statuses(status).find_map(waiting);
    let failed = || {
        (status.phase.as_deref() == Some("Failed")).then(|| {
            let texts = [status.reason.as_deref(), status.message.as_deref()];
            texts.into_iter().flatten().collect::<Vec<_>>().join(": ")
        })
    };
    let unready = || match condition(status, "Ready") {
        Some((false, "")) => Some("not ready".to_owned()),
        Some((false, message)) => Some(message.trim_end_matches('.').to_owned()),
        _ => None,
    };
    of_container.or_else(failed).or_else(unready)
}

/// Why a container does not run; also that it ran and ended before.
fn waiting(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let before = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = before.map(|ended| {
        let reason = ended.reason.as_deref().unwrap_or("ended");
        format!(", last: {reason}, exit code {}", ended.exit_code)
    });
    let restarts = match container.restart_count {
        0 => String::new(),
        count => format!(", {count} restarts"),
    };
    let reason = if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().filter(|reason| *reason != "PodInitializing")?;
        match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        }
    } else if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
        format!("{}, exit code {}", ended.reason.as_deref().unwrap_or("ended"), ended.exit_code)
    } else {
        return None;
    };
    Some(format!("container {} {reason}{restarts}{}", container.name, before.unwrap_or_default()))
}

fn running(status: &PodStatus) -> Vec<(String, Option<String>)> {
    let running = statuses(status)
        .filter(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.map(|container| (container.name.clone(), container.container_id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn brief(status: &serde_json::Value) -> PodBrief {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [
            {"name": "main", "command": ["/serve"], "args": ["--a=1", "--b", "2", "--c"],
                "env": [{"name": "KUBEVITALS_TLS_CERT_FILE", "value": "x"}]}]}, "status": status});
        PodBrief::of(&serde_json::from_value(pod).unwrap())
    }

    fn status(container: &serde_json::Value) -> serde_json::Value {
        let mut base = json!({"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0});
        base.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        json!({"phase": "Running", "containerStatuses": [base]})
    }

    #[test]
    fn a_pod_that_does_not_run_tells_why() {
        for (status, expected) in [
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}),
                "not scheduled: 0/3 nodes",
            ),
            (
                status(&json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}})),
                "container main ImagePullBackOff: no such",
            ),
            (
                status(&json!({"restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 64, "reason": "Error"}}})),
                "container main CrashLoopBackOff, 7 restarts, last: Error, exit code 64",
            ),
            (
                json!({"conditions": [{"type": "Ready", "status": "False", "message": "probe fails"}]}),
                "probe fails",
            ),
            (json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}), "Evicted: disk"),
        ] {
            assert_eq!(brief(&status).trouble.as_deref(), Some(expected));
        }
        assert_eq!(brief(&json!({"phase": "Running"})).trouble, None);
    }

    #[test]
    fn settings_come_from_arguments_or_the_environment() {
        let brief = brief(&json!({}));
        let of = |flag| brief.setting(flag);
        assert_eq!((of("a"), of("b"), of("c")), (Some("1"), Some("2"), Some("")));
        assert_eq!((of("tls-cert-file"), of("d")), (Some("x"), None));
    }
}
