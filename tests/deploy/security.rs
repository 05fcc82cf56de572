//! What a pod may do on its node: nothing, but for the agent's one read-only view of cgroups.

use serde_json::{Value, json};

use crate::{
    objects::{Objects, container, list, name, pod},
    render,
};

fn everywhere(check: impl Fn(&Objects)) {
    if render::skipped() {
        return;
    }
    for objects in render::every() {
        check(&objects);
    }
}

/// What the restricted Pod Security Standard asks of a pod, but for its volumes.
fn is_restricted(pod: &Value, container: &Value) {
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_ne!(container["securityContext"]["privileged"], true);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for host in ["hostPID", "hostIPC"] {
        assert!(pod.get(host).is_none());
    }
    for list_ in ["initContainers", "ephemeralContainers"] {
        assert!(pod.get(list_).is_none());
    }
}

#[test]
fn every_pod_is_restricted_and_more() {
    everywhere(|objects| {
        for workload in objects.workloads() {
            let (pod, container) = (pod(workload), container(workload));
            is_restricted(pod, container);
            // Of the exporter alone, and when told so.
            let has_host_port =
                list(&container["ports"]).iter().filter(|port| port.get("hostPort").is_some());
            let names: Vec<_> = has_host_port.map(|port| port["name"].as_str().unwrap()).collect();
            let told = objects.name.contains("hostPort.enabled=true") && workload["kind"] == "DaemonSet";
            assert_eq!(names, if told { vec!["exporter"] } else { vec![] }, "{}", objects.name);
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            for id in ["runAsUser", "runAsGroup"] {
                assert_eq!(pod["securityContext"][id], 65532, "the image's own");
            }
            assert_eq!(pod["enableServiceLinks"], false);
            let resources = &container["resources"];
            assert!(resources["limits"].get("cpu").is_none(), "a throttled agent measures late");
            assert!(
                resources["limits"].get("memory").is_some() && resources["requests"].get("cpu").is_some()
            );
        }
    });
}

#[test]
fn the_one_host_path_is_the_agents_cgroups_read_only() {
    everywhere(|objects| {
        let host_paths = |workload| -> Vec<Value> {
            list(&pod(workload)["volumes"])
                .iter()
                .filter(|volume| volume.get("hostPath").is_some())
                .cloned()
                .collect()
        };
        assert_eq!(host_paths(objects.aggregator()), Vec::<Value>::new());
        let Some(agent) = objects.agent() else { return };
        let [volume] = &host_paths(agent)[..] else { panic!("{}", objects.name) };
        assert_eq!(volume["hostPath"], json!({"path": "/sys/fs/cgroup", "type": "Directory"}));
        let mounts = list(&container(agent)["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).unwrap();
        assert_eq!((&mount["readOnly"], &mount["recursiveReadOnly"]), (&json!(true), &json!("IfPossible")));
        assert!(mount.get("mountPropagation").is_none(), "does not go with recursiveReadOnly");
        assert!(pod(agent).get("hostNetwork").is_none());
    });
}

#[test]
fn only_the_aggregator_has_a_token_for_the_api_server() {
    everywhere(|objects| {
        for account in objects.of_kind("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{}", name(account));
        }
        assert_eq!(pod(objects.aggregator())["automountServiceAccountToken"], true);
        if let Some(agent) = objects.agent() {
            assert_eq!(pod(agent)["automountServiceAccountToken"], false);
        }
    });
}

#[test]
fn a_namespace_enforces_restricted_as_soon_as_no_agent_is_in_it() {
    if render::skipped() {
        return;
    }
    for (overlay, _) in render::SAME {
        let objects = render::kustomize(overlay);
        let labels = &objects.get("Namespace", render::NAMESPACE)["metadata"]["labels"];
        let enforced = if objects.agent().is_some() { "privileged" } else { "restricted" };
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], enforced, "{overlay}");
        assert_eq!(labels["pod-security.kubernetes.io/audit"], "restricted");
    }
}

#[test]
fn nothing_skips_the_check_of_a_certificate_unless_told_to() {
    everywhere(|objects| {
        for api_service in objects.of_kind("APIService") {
            let told = objects.name.contains("insecureSkipTLSVerify=true");
            assert_eq!(api_service["spec"]["insecureSkipTLSVerify"] == true, told, "{}", objects.name);
        }
        // Agents make their own certificates; the token that is shown to them is good for nothing else.
        let others = objects.all.iter().filter(|object| !name(object).ends_with("-exporter"));
        let text = serde_json::to_string(&others.collect::<Vec<_>>()).unwrap();
        assert!(!text.contains("insecureSkipVerify") && !text.contains("insecure-tls"));
    });
}

#[test]
fn agents_run_on_every_node_that_can_have_one() {
    everywhere(|objects| {
        let Some(agent) = objects.agent() else { return };
        let pod = pod(agent);
        assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
        assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        assert_eq!(super::objects::pod(objects.aggregator())["priorityClassName"], "system-cluster-critical");
        assert_eq!(
            objects.of_kind("ResourceQuota").count(),
            1,
            "some clusters admit these classes by quota alone"
        );
    });
}
