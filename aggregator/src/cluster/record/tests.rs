use kube::{Resource as _, api::WatchEvent};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::pod::Pod, *};
use crate::directory::Labels;

const ID: &str = "3f4a1c";

/// A status entry of a container that runs.
fn mk_running(name: &str, id: &str) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "containerID": format!("containerd://{id}"),
        "state": {"running": {"startedAt": "2026-11-01T00:00:00Z"}}})
}

fn mk_pod(change: impl FnOnce(&mut Value)) -> Pod {
    let mut pod = json!({
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "u-1", "labels": {"app": "web", "a": "1"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "web"}, {"name": "log"}]},
        "status": {"phase": "Running",
            "conditions": [
                {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-11-01T00:00:01Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:05Z"}],
            "containerStatuses": [mk_running("log", "bb"), mk_running("web", ID)]},
    });
    change(&mut pod);
    serde_json::from_value(pod).unwrap()
}

fn mk_node(metadata: &Value) -> PartialObjectMeta<Node> {
    serde_json::from_value(json!({ "metadata": metadata })).unwrap()
}

/// Names and ids of a pod's containers.
fn running(pod: &Pod) -> Vec<(String, String)> {
    let containers = pod.record.clone().unwrap().containers;
    let pair = |container: ContainerRecord| match container.counter {
        CounterRef::Container(id) => (container.name.to_string(), id.to_string()),
        other => panic!("{other:?}"),
    };
    containers.into_iter().map(pair).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(name, id): &(&str, &str)| (name.to_owned(), id.to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn a_running_pod_becomes_a_record() {
    let record = mk_pod(|_| {}).record.unwrap();
    assert_eq!(
        (&*record.uid.to_string(), &*record.namespace, &*record.name, &*record.node),
        ("u-1", "shop", "web-1", "n1")
    );
    assert_eq!(record.labels.iter().collect::<Vec<_>>(), [("a", "1"), ("app", "web")]);
    // 2026-11-01T00:00:05Z
    assert_eq!(record.ready.time(), Some(WallTime(1_793_491_205_000_000)));
    assert_eq!(record.previous, None);
}

/// Every place in a document that can be replaced, as JSON pointers.
fn places(value: &Value, at: &str) -> Vec<String> {
    let inner = |(key, value): (String, &Value)| {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        [vec![at.clone()], places(value, &at)].concat()
    };
    match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), value)).flat_map(inner).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(nth, item)| (nth.to_string(), item)).flat_map(inner).collect()
        }
        _ => Vec::new(),
    }
}

/// One pod that cannot be read would leave all pods of the cluster unread: they come in one list.
#[test]
fn a_pod_is_read_whatever_is_null_in_it_and_whatever_else_is_said() {
    let full = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "u-1", "resourceVersion": "7",
            "creationTimestamp": "2026-11-01T00:00:00Z", "deletionTimestamp": "2026-11-01T01:00:00Z",
            "labels": {"app": "web"}, "annotations": {"kubernetes.io/config.mirror": "hash", "other": "x"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u-0", "controller": true}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}],
            "initContainers": [{"name": "setup"}], "ephemeralContainers": [{"name": "debug"}], "volumes": [{"name": "v"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T00:00:05Z"}],
            "containerStatuses": [mk_running("web", ID)], "initContainerStatuses": [], "ephemeralContainerStatuses": []},
    });
    let read = |pod: &Value| -> Pod { serde_json::from_value(pod.clone()).unwrap() };
    let pod = read(&full);
    assert_eq!(running(&pod), pairs(&[("web", ID)]));
    assert_eq!(pod.meta().resource_version.as_deref(), Some("7"));
    assert_eq!(pod.mirror_of, Some("hash".into()));
    assert_eq!(pod.record.unwrap().owner.unwrap().name.as_ref(), "web");
    let is_item = |place: &&String| place.rsplit('/').next().is_some_and(|key| key.parse::<u32>().is_ok());
    let values_of_labels = |place: &&String| place.starts_with("/metadata/labels/");
    for place in places(&full, "").iter().filter(|place| !is_item(place) && !values_of_labels(place)) {
        let mut pod = full.clone();
        *pod.pointer_mut(place).unwrap() = Value::Null;
        let theirs: Result<k8s_openapi::api::core::v1::Pod, _> = serde_json::from_value(pod.clone());
        if theirs.is_err() {
            continue;
        }
        let record = read(&pod).record;
        let is_known = record.is_some_and(|record| record.created.time().is_some());
        let needed = [
            "/metadata",
            "/spec",
            "/status",
            "/status/phase",
            "/spec/nodeName",
            "/metadata/uid",
            "/metadata/name",
            "/metadata/namespace",
            "/metadata/creationTimestamp",
        ];
        assert_eq!(is_known, !needed.contains(&place.as_str()), "{place}");
    }
}

#[test]
fn texts_with_escapes_are_read_as_what_they_mean() {
    let text = r#"{"type": "ADDED", "object": {"metadata": {"namespace": "sh\u006fp", "name": "web-1", "uid": "u-1",
        "labels": {"\u0061pp": "a\"b"}}, "spec": {"nodeName": "n\u0031"}, "status": {"phase": "Running"}}}"#;
    let later = text.replace(r#""type": "ADDED", "#, "").replace("}}}", r#"}}, "type": "ADDED"}"#);
    for text in [text, &later] {
        let event: WatchEvent<Pod> = serde_json::from_str(text).unwrap();
        let WatchEvent::Added(Pod { record: Some(record), .. }) = event else { panic!("{event:?}") };
        assert_eq!((&*record.namespace, &*record.name, &*record.node), ("shop", "web-1", "n1"));
        assert_eq!(record.labels.iter().collect::<Vec<_>>(), [("app", "a\"b")]);
    }
}

#[test]
fn containers_stand_in_the_order_of_the_spec() {
    let pod = mk_pod(|_| {});
    assert_eq!(running(&pod), pairs(&[("web", ID), ("log", "bb")]));
}

#[test]
fn only_a_pod_that_is_bound_and_running_counts() {
    for phase in ["Pending", "Succeeded", "Failed", "Unknown"] {
        assert_eq!(mk_pod(|pod| pod["status"]["phase"] = json!(phase)).record, None);
    }
    for node in [json!(null), json!("")] {
        assert_eq!(mk_pod(|pod| pod["spec"]["nodeName"] = node).record, None);
    }
    for missing in ["uid", "name", "namespace"] {
        assert_eq!(mk_pod(|pod| pod["metadata"][missing] = json!(null)).record, None);
    }
}

#[test]
fn a_pod_on_its_way_out_counts_until_it_is_deleted() {
    let pod = mk_pod(|pod| pod["metadata"]["deletionTimestamp"] = json!("2026-11-01T01:00:00Z"));
    assert_eq!(running(&pod).len(), 2);
}

#[test]
fn sidecars_and_ephemeral_containers_count_while_they_run() {
    let pod = mk_pod(|pod| {
        pod["spec"]["initContainers"] =
            json!([{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}]);
        pod["spec"]["ephemeralContainers"] = json!([{"name": "debug"}]);
        let done = json!({"name": "setup", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "containerID": "containerd://dd", "state": {"terminated": {"exitCode": 0}}});
        pod["status"]["initContainerStatuses"] = json!([done, mk_running("proxy", "cc")]);
        pod["status"]["ephemeralContainerStatuses"] = json!([mk_running("debug", "ee")]);
    });
    let expected = [("web", ID), ("log", "bb"), ("proxy", "cc"), ("debug", "ee")];
    assert_eq!(running(&pod), pairs(&expected));
}

#[test]
fn a_container_that_waits_is_left_out() {
    let pod = mk_pod(|pod| {
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    });
    assert_eq!(running(&pod), pairs(&[("web", ID)]));
}

#[test]
fn every_runtimes_scheme_is_taken_off() {
    for scheme in ["containerd", "cri-o", "docker"] {
        let id = json!(format!("{scheme}://{ID}"));
        let pod = mk_pod(|pod| pod["status"]["containerStatuses"][1]["containerID"] = id);
        assert_eq!(running(&pod)[0].1, ID);
    }
}

#[test]
fn a_running_container_without_a_usable_id_leaves_no_half_pod() {
    for id in [json!(null), json!(""), json!("containerd://"), json!("3f4a1c"), json!("x://a/b")] {
        let pod = mk_pod(|pod| pod["status"]["containerStatuses"][0]["containerID"] = id);
        assert_eq!(running(&pod), []);
    }
    assert_eq!(running(&mk_pod(|pod| pod["status"]["containerStatuses"] = json!(null))), []);
}

#[test]
fn a_pod_that_is_not_ready_has_no_time_of_readiness() {
    let pod = mk_pod(|pod| pod["status"]["conditions"][1]["status"] = json!("False"));
    assert_eq!(pod.record.unwrap().ready.time(), None);
    let pod = mk_pod(|pod| pod["status"]["conditions"] = json!([]));
    assert_eq!(pod.record.unwrap().ready.time(), None);
}

#[test]
fn a_static_pod_goes_by_the_uid_of_its_mirror() {
    let pod = mk_pod(|pod| {
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123456789abcdef"});
    });
    assert_eq!(pod.record.unwrap().uid.to_string(), "u-1");
}

#[test]
fn a_node_becomes_a_record() {
    let created = "2026-11-01T00:00:05Z";
    let node = mk_node(&json!({"name": "n1", "labels": {"zone": "a"}, "creationTimestamp": created}));
    let expected = NodeRecord {
        name: "n1".into(),
        labels: Labels::from_iter([("zone", "a")]),
        created: WallTime(1_793_491_205_000_000),
        kubelet: None,
    };
    assert_eq!(node_record(&node), Some(expected));
    assert_eq!(node_record(&mk_node(&json!({"name": "n1"}))), None);
    assert_eq!(node_record(&mk_node(&json!({"creationTimestamp": created}))), None);
}

#[test]
fn a_node_tells_where_its_kubelet_is() {
    let node = json!({
        "metadata": {"name": "n1", "creationTimestamp": "2026-11-01T00:00:05Z",
            "annotations": {"metrics.k8s.io/resource-metrics-path": "/virtual", "other": "x"}},
        "status": {
            "addresses": [{"type": "Hostname", "address": "n1.test"}, {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "Pigeon", "address": "grey"}, {"type": "ExternalIP", "address": ""}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10255}}}});
    let node: Node = serde_json::from_value(node).unwrap();
    let kubelet = *node_record_with_kubelet(&node).unwrap().kubelet.unwrap();
    let addresses =
        vec![(AddressType::Hostname, "n1.test".into()), (AddressType::InternalIp, "10.0.0.1".into())];
    assert_eq!(kubelet, KubeletRecord { addresses, port: Some(10255), path: Some("/virtual".into()) });
    let node = json!({"metadata": {"name": "n1", "creationTimestamp": "2026-11-01T00:00:05Z"}, "status": {
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}}});
    let node: Node = serde_json::from_value(node).unwrap();
    assert_eq!(node_record_with_kubelet(&node).unwrap().kubelet, Some(Box::default()));
}

proptest! {
    /// Whatever ids the statuses hold, a pod has all its running containers or none.
    #[test]
    fn a_pod_has_all_its_running_containers_or_none(ids in prop::collection::vec("(containerd://)?[a-f0-9/ ]{0,4}", 0..4)) {
        let statuses: Vec<Value> = ids
            .iter()
            .enumerate()
            .map(|(n, id)| {
                let mut status = mk_running(&format!("c{n}"), "");
                status["containerID"] = json!(id);
                status
            })
            .collect();
        let pod = mk_pod(|pod| pod["status"]["containerStatuses"] = json!(statuses));
        let found = pod.record.unwrap().containers.len();
        prop_assert!(found == 0 || found == ids.len());
    }
}
