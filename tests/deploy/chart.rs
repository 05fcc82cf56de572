//! The chart renders what the overlays are, takes metrics-server's values, and refuses what it does not know.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    objects::{Objects, arguments, container, name, pod},
    render::{self, chart, try_chart},
};

/// Labels that only a chart adds.
const OF_CHARTS: [&str; 4] = [
    "helm.sh/chart",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
];

fn without_chart_labels(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !OF_CHARTS.contains(&key.as_str()));
            fields.values_mut().for_each(without_chart_labels);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_chart_labels),
        _ => {}
    }
}

/// By kind and name, without what only a chart has, and without the namespace, which helm makes by itself.
fn comparable(objects: &Objects) -> BTreeMap<String, Value> {
    let all = objects.all.iter().filter(|object| object["kind"] != "Namespace");
    let entry = |object: &Value| {
        let mut object = object.clone();
        without_chart_labels(&mut object);
        (format!("{} {}", object["kind"].as_str().unwrap(), name(&object)), object)
    };
    let entries: BTreeMap<_, _> = all.map(entry).collect();
    assert_eq!(entries.len(), objects.all.iter().filter(|object| object["kind"] != "Namespace").count());
    entries
}

fn assert_same(overlay: &Objects, chart: &Objects) {
    let (overlay_objects, chart_objects) = (comparable(overlay), comparable(chart));
    let keys = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&overlay_objects), keys(&chart_objects), "{} and {}", overlay.name, chart.name);
    for (key, object) in overlay_objects {
        assert_eq!(object, chart_objects[&key], "left: {}, right: {}: {key}", overlay.name, chart.name);
    }
}

#[test]
fn the_chart_renders_every_overlay() {
    if render::skipped() {
        return;
    }
    for (overlay, values) in render::SAME {
        assert_same(&render::kustomize(overlay), &chart(values));
    }
}

/// What the chart renders with some values more, and not without them.
fn added(without: &[&str], more: &[&str]) -> Objects {
    let mut with = chart(&[without, more].concat());
    let without = comparable(&chart(without));
    with.all.retain(|object| {
        !without.contains_key(&format!("{} {}", object["kind"].as_str().unwrap(), name(object)))
    });
    with
}

#[test]
fn the_chart_renders_the_monitoring_of_the_exporter() {
    if render::skipped() {
        return;
    }
    let mut with = added(&["exporter.enabled=true"], &["podMonitor.enabled=true"]);
    with.all.retain(|object| object["metadata"]["name"] != "kubevitals-agent");
    assert_same(&render::kustomize("chart/monitoring/exporter"), &with);
}

#[test]
fn the_chart_renders_the_monitoring_objects() {
    if render::skipped() {
        return;
    }
    let monitoring = [
        "serviceMonitor.enabled=true",
        "podMonitor.enabled=true",
        "prometheusRule.enabled=true",
        "dashboard.enabled=true",
    ];
    let mut with = added(&[], &monitoring);
    let mut overlay = render::kustomize("chart/monitoring");
    for objects in [&mut with, &mut overlay] {
        for config_map in objects.all.iter_mut().filter(|object| object["kind"] == "ConfigMap") {
            let text = config_map["data"]["kubevitals.json"].as_str().unwrap();
            config_map["data"]["kubevitals.json"] = serde_json::from_str(text).unwrap();
        }
    }
    assert_same(&overlay, &with);
}

/// Values that metrics-server's chart has too, with what they must do.
#[test]
fn values_of_metrics_servers_users_work() {
    if render::skipped() {
        return;
    }
    let objects = chart(&[
        "image.repository=registry.example/kv",
        "image.tag=v9",
        "image.pullPolicy=Always",
        "imagePullSecrets[0].name=registry",
        "nameOverride=vitals",
        "namespaceOverride=elsewhere",
        "serviceAccount.annotations.a=b",
        "apiService.annotations.a=b",
        "commonLabels.team=a",
        "podLabels.pod=b",
        "podAnnotations.note=c",
        "deploymentAnnotations.note=d",
        "priorityClassName=high",
        "replicas=3",
        "revisionHistoryLimit=2",
        "args={--window=10s}",
        "service.annotations.a=b",
        "service.labels.c=d",
        "service.port=8443",
        "resources.requests.cpu=1",
        "extraVolumes[0].name=tmp",
        "extraVolumeMounts[0].name=tmp",
        "extraVolumeMounts[0].mountPath=/tmp",
        "extraVolumeMounts[0].readOnly=true",
        "nodeSelector.disk=ssd",
        "tolerations[0].operator=Exists",
        "affinity.nodeAffinity.a=b",
        "dnsConfig.nameservers={1.1.1.1}",
        "schedulerName=mine",
        "hostUsers=false",
    ]);
    let deployment = objects.aggregator();
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["spec"]["revisionHistoryLimit"], 2);
    assert_eq!(deployment["metadata"]["namespace"], "elsewhere");
    assert_eq!(deployment["metadata"]["labels"]["team"], "a");
    assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/name"], "vitals");
    assert_eq!(deployment["metadata"]["annotations"]["note"], "d");
    assert!(deployment["spec"]["selector"]["matchLabels"].get("team").is_none());
    let template = &deployment["spec"]["template"]["metadata"];
    assert_eq!((&template["labels"]["pod"], &template["annotations"]["note"]), (&json!("b"), &json!("c")));
    let (pod, container) = (pod(deployment), container(deployment));
    assert_eq!(container["image"], "registry.example/kv:v9");
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "registry");
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["nodeSelector"], json!({"disk": "ssd", "kubernetes.io/os": "linux"}));
    assert_eq!(pod["tolerations"][0]["operator"], "Exists");
    assert_eq!(pod["affinity"]["nodeAffinity"]["a"], "b");
    assert_eq!(pod["dnsConfig"]["nameservers"][0], "1.1.1.1");
    assert_eq!((&pod["schedulerName"], &pod["hostUsers"]), (&json!("mine"), &json!(false)));
    assert_eq!(pod["volumes"][0]["name"], "tmp");
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/tmp");
    assert!(arguments(deployment).contains(&"--window=10s".to_owned()));
    let service = objects.get("Service", "kubevitals-aggregator");
    assert_eq!(service["spec"]["ports"][0]["port"], 8443);
    assert_eq!(
        (&service["metadata"]["annotations"]["a"], &service["metadata"]["labels"]["c"]),
        (&json!("b"), &json!("d"))
    );
    let api_service = objects.get("APIService", "v1beta1.metrics.k8s.io");
    assert_eq!(api_service["metadata"]["annotations"]["a"], "b");
    assert_eq!(api_service["spec"]["service"]["namespace"], "elsewhere");
}

#[test]
fn names_follow_the_release_and_its_override() {
    if render::skipped() {
        return;
    }
    let objects = chart(&["fullnameOverride=vitals"]);
    for (kind, name) in [
        ("Deployment", "vitals-aggregator"),
        ("DaemonSet", "vitals-agent"),
        ("Service", "vitals-ingest"),
        ("ClusterRole", "vitals:aggregator"),
        ("ResourceQuota", "vitals-critical-pods"),
    ] {
        objects.get(kind, name);
    }
    assert!(arguments(objects.aggregator()).contains(&"--ca-secret=vitals-ca".to_owned()));
}

/// What is refused, with a word that says why.
const REFUSED: &[(&[&str], &str)] = &[
    (&["replica=2"], "replica"),
    (&["agent.enable=true"], "enable"),
    (&["addonResizer.enabled=true"], "addonResizer"),
    (&["replicas=two"], "replicas"),
    (&["tls.type=helm"], "tls"),
    (&["tls.type=existingSecret"], "tls.existingSecret.name"),
    (&["tls.type=cert-manager", "tls.certManager.existingIssuer.enabled=true"], "existingIssuer.name"),
    (&["apiService.versions={v2}"], "versions"),
    (&["agent.enabled=false"], "nothing would be measured"),
    (&["hostNetwork.enabled=true"], "containerPort"),
    (&["serviceAccount.create=false"], "serviceAccount.name"),
    (&["apiService.insecureSkipTLSVerify=true", "apiService.caBundle=a"], "caBundle"),
    (&["containerPort=70000"], "containerPort"),
    (&["exporter.port=0"], "exporter"),
    (&["exporter.auth=none"], "auth"),
    (&["query.port=off"], "query"),
    (&["image.digest=latest"], "digest"),
];

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    if render::skipped() {
        return;
    }
    for (values, word) in REFUSED {
        match try_chart(values) {
            Ok(_) => panic!("{values:?} were accepted"),
            Err(error) => assert!(error.contains(word), "{values:?}: {error}"),
        }
    }
}

/// Every value is in the schema, and the schema has none that values.yaml does not explain.
#[test]
fn the_schema_knows_exactly_the_values() {
    let read = |file: &str| std::fs::read_to_string(render::repository("deploy/chart").join(file)).unwrap();
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    compare("", &values, &schema, &schema);
}

fn compare(path: &str, values: &Value, schema: &Value, root: &Value) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{path}");
    let values = values.as_object().unwrap_or_else(|| panic!("{path} is no object"));
    let keys = |object: &serde_json::Map<String, Value>| {
        object.keys().cloned().collect::<std::collections::BTreeSet<_>>()
    };
    let mut known = keys(properties);
    // Helm's own, which a chart's user may give.
    known.remove("global");
    assert_eq!(known, keys(values), "left: schema, right: values.yaml, at {path:?}");
    for (key, value) in values {
        compare(&format!("{path}.{key}"), value, &properties[key], root);
    }
}

#[test]
fn chart_and_programs_have_one_version() {
    let chart: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(render::repository("deploy/chart/Chart.yaml")).unwrap(),
    )
    .unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    for (file, named) in [
        ("deploy/Containerfile", format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"))),
        ("README.md", format!("?ref=v{}'", env!("CARGO_PKG_VERSION"))),
        ("deploy/README.md", format!("?ref=v{}'", env!("CARGO_PKG_VERSION"))),
    ] {
        let text = std::fs::read_to_string(render::repository(file)).unwrap();
        assert!(text.contains(&named), "{file}: {named}");
    }
}
