//! What kubectl finds out about the group: resources, versions, rights and schemas.

use crate::{
    bench::{Bench, check, usual},
    chain::{NOBODY, READER},
    row::row,
};

#[test]
fn c120_discovery_lists_both_versions_and_prefers_v1() {
    let rows = [
        row("api-resources --no-headers")
            .part("nodes metrics.k8s.io/v1 false NodeMetrics")
            .part("pods metrics.k8s.io/v1 true PodMetrics"),
        row("api-resources --no-headers --api-group=metrics.k8s.io")
            .lines(&["nodes metrics.k8s.io/v1 false NodeMetrics", "pods metrics.k8s.io/v1 true PodMetrics"]),
        row("api-resources --api-group=metrics.k8s.io --verbs=get,list -o name")
            .lines(&["nodes.metrics.k8s.io", "pods.metrics.k8s.io"]),
        // Nothing that the namespace and garbage collectors would act on.
        row("api-resources --api-group=metrics.k8s.io --verbs=delete -o name").lines(&[]),
        row("api-resources --api-group=metrics.k8s.io --verbs=deletecollection -o name").lines(&[]),
        row("api-versions").part("metrics.k8s.io/v1 metrics.k8s.io/v1beta1"),
        // The core resources keep their names.
        row("get pods -o name").part("pod/web-1").not("podmetrics"),
        row("get pod web-1 -o name").lines(&["pod/web-1"]),
    ];
    check(&usual(), &rows);
}

#[test]
fn c120_rights_are_told_before_they_are_needed() {
    let Some(bench) = Bench::start(&usual()) else { return };
    bench.check_as(READER, &[row("auth can-i list podmetrics").lines(&["yes"])]);
    bench.check_as(NOBODY, &[row("auth can-i list podmetrics").ends(1).part("no").whatever_it_says()]);
}

#[test]
fn c028_explain_describes_every_field() {
    let rows = [
        row("explain podmetrics")
            .part("KIND: PodMetrics")
            .part("containers <[]")
            .part("timestamp <")
            .part("window <"),
        row("explain podmetrics.containers.usage").part("usage <map[string]"),
        row("explain nodemetrics.usage").part("KIND: NodeMetrics").part("usage <map[string]"),
        row("explain nodemetrics.metadata.labels").part("labels <map[string]string>"),
        row("explain podmetrics --recursive").part("name <string>").part("usage <map[string]"),
        row("explain podmetrics --api-version=metrics.k8s.io/v1beta1").part("v1beta1"),
        row("explain podmetrics --output=plaintext-openapiv2")
            .since(27)
            .part("KIND: PodMetrics")
            .part("containers <[]"),
        row("explain podmetrics.containers.usage --output=plaintext-openapiv2")
            .since(27)
            .part("usage <map[string]"),
    ];
    check(&usual(), &rows);
}
