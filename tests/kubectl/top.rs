//! `kubectl top`: the rows of the table of requests (facts 2.6), and what it makes of numbers that are missing.

use crate::{
    bench::{check, silent, usual},
    row::{refused, row},
};

const NODES: [&str; 3] =
    ["n1 1500m 38% 2048Mi 28%", "n2 390m 10% 1024Mi 14%", "n3 <unknown> <unknown> <unknown> <unknown>"];

#[test]
fn c120_top_nodes_shows_each_node_with_its_share() {
    let rows = [
        row("top nodes --no-headers").lines(&NODES),
        row("top nodes").part("NAME CPU(cores) CPU").part("n1 1500m 38% 2048Mi 28%"),
        row("top nodes --no-headers --sort-by=cpu").lines(&NODES),
        row("top nodes --no-headers --sort-by=memory").lines(&NODES),
        row("top nodes --no-headers --show-capacity").since(27).lines(&[
            "n1 1500m 37% 2048Mi 25%",
            "n2 390m 9% 1024Mi 12%",
            NODES[2],
        ]),
        row("top nodes --no-headers -l zone=b").lines(&[NODES[1]]),
        row("top node n1 --no-headers").lines(&[NODES[0]]),
        row("top nodes --no-headers --use-protocol-buffers=false").since(27).lines(&NODES),
        refused("top node nosuch", "Error from server (NotFound): nodes"),
    ];
    check(&usual(), &rows);
}

#[test]
fn c121_a_node_without_numbers_is_unknown_and_no_numbers_at_all_are_not_available_yet() {
    check(&usual(), &[row("top nodes --no-headers -l zone=a").lines(&[NODES[0], NODES[2]])]);
    let rows = [
        refused("top nodes", "metrics not available yet"),
        refused("top node n1", "Error from server (NotFound): nodemetrics.metrics.k8s.io \"n1\" not found"),
        refused("top pods", "Metrics not available for pod default/"),
    ];
    check(&silent(), &rows);
}

#[test]
fn c120_top_pods_shows_pods_and_containers() {
    let rows = [
        row("top pods").lines(&[
            "NAME CPU(cores) MEMORY(bytes)",
            "db-0 700m 512Mi",
            "web-1 123m 80Mi",
            "web-2 80m 128Mi",
        ]),
        row("top pods --no-headers --sort-by=memory").lines(&[
            "db-0 700m 512Mi",
            "web-2 80m 128Mi",
            "web-1 123m 80Mi",
        ]),
        row("top pods -A --containers --sort-by=memory --sum").since(27).lines(&[
            "NAMESPACE POD NAME CPU(cores) MEMORY(bytes)",
            "default db-0 db 700m 512Mi",
            "default web-2 app 80m 128Mi",
            "default web-1 app 120m 64Mi",
            "default web-1 proxy 3m 16Mi",
            "kube-system dns dns 1m 8Mi",
            "________ ________",
            "904m 728Mi",
        ]),
        row("top pods --all-namespaces --containers --no-headers").part("default web-1 proxy 3m 16Mi"),
        row("top pods --no-headers -l").and("app in (web)").lines(&["web-1 123m 80Mi", "web-2 80m 128Mi"]),
        row("top pods -A --no-headers --field-selector metadata.name=dns")
            .since(27)
            .lines(&["kube-system dns 1m 8Mi"]),
        row("top pod web-1 --no-headers").lines(&["web-1 123m 80Mi"]),
        row("top pod web-1 --no-headers --containers").lines(&["web-1 app 120m 64Mi", "web-1 proxy 3m 16Mi"]),
        row("top pods -n none").says("No resources found in none namespace."),
        refused("top pod nosuch", "Error from server (NotFound): pods \"nosuch\" not found"),
    ];
    check(&usual(), &rows);
}

#[test]
fn c120_top_with_swap_works_where_nobody_measures_swap() {
    let rows = [
        row("top nodes --no-headers --show-swap").since(34).part("n1 1500m 38% 2048Mi 28%"),
        row("top pods --no-headers --show-swap").since(34).part("web-1 123m 80Mi"),
    ];
    check(&usual(), &rows);
}
