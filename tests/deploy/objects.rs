//! Rendered objects, and how to find something in them.

use serde_json::Value;

/// What one rendering gives.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    /// How it was rendered, for messages.
    pub(crate) name: String,
    pub(crate) all: Vec<Value>,
}

impl Objects {
    pub(crate) fn parse(name: String, yaml: &str) -> Self {
        let all: Vec<Value> =
            serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{name}: {error}"));
        let all = all.into_iter().filter(|object| !object.is_null()).collect();
        Self { name, all }
    }

    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all.iter().filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.all.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| panic!("{}: no {kind} {name}", self.name))
    }

    /// The aggregator and, where there is one, the agent.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.all
            .iter()
            .filter(|object| ["Deployment", "DaemonSet"].iter().any(|kind| object["kind"] == *kind))
    }

    /// The Deployment.
    pub(crate) fn aggregator(&self) -> &Value {
        self.of_kind("Deployment").next().unwrap_or_else(|| panic!("{}: no Deployment", self.name))
    }

    /// The daemon set.
    pub(crate) fn agent(&self) -> Option<&Value> {
        self.of_kind("DaemonSet").next()
    }
}

/// Name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Elements of a list, none where there is none.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A workload's pod.
pub(crate) fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

/// A workload's one container.
pub(crate) fn container(workload: &Value) -> &Value {
    let containers = list(&pod(workload)["containers"]);
    assert_eq!(containers.len(), 1, "{}", name(workload));
    &containers[0]
}

/// Number of a container's port by its name.
pub(crate) fn port(workload: &Value, name: &str) -> Option<u64> {
    let ports = list(&container(workload)["ports"]);
    ports.iter().find(|port| port["name"] == name)?["containerPort"].as_u64()
}

/// Whether labels of a pod are what a selector asks for. An empty selector selects nothing here: none of ours is empty.
pub(crate) fn selects(match_labels: &Value, labels: &Value) -> bool {
    let wanted = match_labels.as_object().filter(|wanted| !wanted.is_empty());
    wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

/// A container's arguments with its environment put in, as the kubelet does it.
pub(crate) fn arguments(workload: &Value) -> Vec<String> {
    let expand = |argument: &Value| {
        let argument = argument.as_str().expect("arguments are text");
        argument.replace("$(KUBEVITALS_NAMESPACE)", workload["metadata"]["namespace"].as_str().unwrap())
    };
    let arguments: Vec<_> = list(&container(workload)["args"]).iter().map(expand).collect();
    assert!(arguments.iter().all(|argument| !argument.contains("$(")), "{arguments:?}");
    arguments
}

/// All values of one flag among arguments.
pub(crate) fn flag(arguments: &[String], name: &str) -> Vec<String> {
    let value = |argument: &String| argument.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    arguments.iter().filter_map(value).collect()
}
