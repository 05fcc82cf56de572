//! `kubectl get`, `describe` and `wait` on the objects, in every form, and what is refused.

use crate::{
    apiserver::reviews::User,
    bench::{Bench, check, usual},
    chain::{NOBODY, READER},
    row::{refused, row},
};

const ALL: [&str; 4] = [
    "default db-0 700m 512Mi 2s",
    "default web-1 123m 80Mi 2s",
    "default web-2 80m 128Mi 2s",
    "kube-system dns 1m 8Mi 2s",
];

const OF_DEFAULT: [&str; 3] = ["db-0 700m 512Mi 2s", "web-1 123m 80Mi 2s", "web-2 80m 128Mi 2s"];

#[test]
fn c120_get_prints_the_table_that_the_server_makes() {
    let rows = [
        row("get podmetrics -A").part("NAMESPACE NAME CPU MEMORY WINDOW").part(ALL[1]),
        row("get podmetrics -A --no-headers").lines(&ALL),
        row("get podmetrics -A --no-headers -o wide").lines(&ALL),
        row("get podmetrics -A --no-headers --chunk-size=2").lines(&ALL),
        row("get podmetrics --no-headers --sort-by=.metadata.name").lines(&OF_DEFAULT),
        row("get podmetrics web-1 --no-headers").lines(&["web-1 123m 80Mi 2s"]),
        row("get podmetrics web-1 --no-headers --show-labels").lines(&["web-1 123m 80Mi 2s app=web"]),
        row("get podmetrics -A --no-headers -L app").part("kube-system dns 1m 8Mi 2s dns"),
        row("get nodes.metrics.k8s.io --no-headers").lines(&["n1 1500m 2Gi 2s", "n2 390m 1Gi 2s"]),
        row("get nodemetrics -o wide --no-headers").lines(&["n1 1500m 2Gi 2s", "n2 390m 1Gi 2s"]),
        row("get nodes.v1beta1.metrics.k8s.io n1 --no-headers").lines(&["n1 1500m 2Gi 2s"]),
        row("get pods.metrics.k8s.io --no-headers --field-selector metadata.name=web-1 -l")
            .and("app in (web)")
            .lines(&["web-1 123m 80Mi 2s"]),
        row("get podmetrics -A --no-headers --field-selector spec.nodeName=n2")
            .lines(&["default web-2 80m 128Mi 2s", "kube-system dns 1m 8Mi 2s"]),
    ];
    check(&usual(), &rows);
}

#[test]
fn c120_get_prints_objects_in_every_form() {
    let rows = [
        row("get podmetrics -A -o yaml")
            .part("apiVersion: metrics.k8s.io/v1 containers:")
            .part("kind: PodMetrics metadata:")
            .part("usage: cpu: 120m memory: 64Mi"),
        row("get podmetrics web-1 -o json").part("\"kind\": \"PodMetrics\"").part("\"window\": \"2s\""),
        row("get podmetrics.v1beta1.metrics.k8s.io web-1 -o json")
            .part("\"apiVersion\": \"metrics.k8s.io/v1beta1\""),
        row("get podmetrics -o name").lines(&[
            "podmetrics.metrics.k8s.io/db-0",
            "podmetrics.metrics.k8s.io/web-1",
            "podmetrics.metrics.k8s.io/web-2",
        ]),
        row("get podmetrics web-1 -o jsonpath={.containers[*].usage.cpu}").lines(&["120m 3m"]),
        row("get podmetrics --no-headers -o custom-columns=N:.metadata.name,W:.window")
            .lines(&["db-0 2s", "web-1 2s", "web-2 2s"]),
        row("get podmetrics --server-print=false --no-headers").part("web-1"),
        row("get nodemetrics n1 -o jsonpath={.usage.memory}").lines(&["2Gi"]),
        row("get --raw /apis/metrics.k8s.io/v1beta1/nodes")
            .part("{\"kind\":\"NodeMetricsList\",\"apiVersion\":\"metrics.k8s.io/v1beta1\","),
        row("get --raw /apis/metrics.k8s.io/v1/namespaces/default/pods/web-2")
            .part("{\"cpu\":\"80m\",\"memory\":\"128Mi\"}"),
        row("describe podmetrics web-1")
            .part("Name: web-1")
            .part("Labels: app=web")
            .part("Kind: PodMetrics")
            .part("Memory: 16Mi"),
        row("describe nodemetrics n2").part("Name: n2").part("Cpu: 390m").part("Window: 2s"),
    ];
    check(&usual(), &rows);
}

#[test]
fn c048_where_there_is_nothing_kubectl_says_so() {
    let rows = [
        row("get podmetrics -n none").says("No resources found in none namespace."),
        row("get podmetrics -A -l app=nosuch").says("No resources found"),
        row("get nodemetrics --field-selector metadata.name=n3").says("No resources found"),
        refused("get podmetrics nosuch", "Error from server (NotFound): pods \"nosuch\" not found"),
        refused(
            "get podmetrics late-0",
            "Error from server (NotFound): podmetrics.metrics.k8s.io \"default/late-0\" not found",
        ),
        refused(
            "get nodemetrics n3",
            "Error from server (NotFound): nodemetrics.metrics.k8s.io \"n3\" not found",
        ),
    ];
    check(&usual(), &rows);
}

#[test]
fn c120_what_cannot_be_is_refused_with_its_reason() {
    // What follows in brackets is the client's own wording.
    let watch = "Error from server (MethodNotAllowed): ";
    let method = "(MethodNotAllowed): the server does not allow this method on the requested resource";
    let deletion =
        "pods.metrics.k8s.io \"web-1\" is forbidden: User \"jane\" cannot delete resource \"pods\"";
    let listing = "pods.metrics.k8s.io is forbidden: User \"joe\" cannot list resource \"pods\"";
    let Some(bench) = Bench::start(&usual()) else { return };
    bench.check_as(
        READER,
        &[
            // The table comes first, then the refusal.
            row("get podmetrics -w --no-headers").ends(1).lines(&OF_DEFAULT).complains(watch),
            refused("get podmetrics --watch-only", watch),
            refused(
                "get podmetrics --field-selector status.phase=Running",
                "is not a known field selector: only \"metadata.name\"",
            ),
            refused("get podmetrics -l a=b=c", "found '=', expected: ',' or 'end of string'"),
            refused("delete podmetrics web-1", deletion),
            row("wait podmetrics/web-1 --timeout=10s --for=jsonpath={.containers[0].name}=app")
                .since(27)
                .part("condition met")
                .whatever_it_says(),
            refused(
                "wait podmetrics/web-1 --timeout=1s --for=jsonpath={.containers[0].name}=other",
                "timed out waiting for the condition",
            )
            .since(27),
        ],
    );
    bench.api().cluster.reviews.issue("root", User::new("root", &["system:masters"]));
    bench.check_as(
        "root",
        &[
            refused("delete podmetrics web-1", method),
            refused("annotate podmetrics web-1 a=b", method),
            refused("label nodemetrics n1 a=b", method),
        ],
    );
    bench.check_as(
        NOBODY,
        &[
            refused("get podmetrics", listing),
            refused("top nodes", "User \"joe\" cannot list resource \"nodes\""),
        ],
    );
}
