//! No judge has anything to say about any page that we serve.

use std::{collections::BTreeSet, fs};

use kubevitals::wire::{Level, Selection};

use crate::{
    apiserver::{AGGREGATOR, ApiServer, access::Grant},
    caller::Caller,
    cgroups::Workload,
    program::{Agent, PATIENCE, dies_with_us, wait_until},
    rig::NODE,
    stage::{OPEN_METRICS, Stage, TEXT, scrape},
    tools::{left_out, lint, open_metrics},
};

const README: &str = include_str!("../../README.md");

/// Enough that everything is counted.
const FLAGS: [&str; 4] =
    ["--kubelet-fallback", "--ca-secret=authority", "--ca-config-map=authority", "--namespace=kube-system"];

/// What lets a scraper in.
const TOKEN: &str = "scrapes-the-node";

/// The metrics that the README has a row for.
fn documented() -> BTreeSet<&'static str> {
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let names = rows.flat_map(|(names, _)| names.split(", `"));
    let names = names.filter_map(|name| name.split(['`', '{']).next());
    // Rows of several levels at once are the business of `exporter/vitals.rs`.
    names.filter(|name| name.contains('_') && !name.starts_with('-') && !name.ends_with('_')).collect()
}

/// The families that have a sample.
fn sampled(page: &str) -> BTreeSet<String> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next());
    let families = names.flat_map(|name| ["", "_bucket"].map(|suffix| name.strip_suffix(suffix)));
    families.flatten().map(str::to_owned).collect()
}

/// Judges a page in the older form.
fn assert_clean(place: &str, page: &str) {
    let complaints = lint(page);
    assert!(complaints.is_empty(), "{place}:\n{complaints}");
    eprintln!("{place}: {} lines", page.lines().count());
}

/// Judges both forms of a page, and returns the families that it has.
fn judge(place: &str, port: u16, path: &str) -> BTreeSet<String> {
    let page = scrape(port, path, TEXT);
    assert!(page.head.contains("text/plain; version=0.0.4"), "{}", page.head);
    assert_clean(place, &page.body);
    let families = sampled(&page.body);
    let page = scrape(port, path, OPEN_METRICS);
    assert!(page.head.contains("application/openmetrics-text; version=1.0.0"), "{}", page.head);
    let samples = open_metrics(&page.body).unwrap_or_else(|fault| panic!("{place}: {fault}\n{}", page.body));
    assert!(samples > 0, "{place}");
    families
}

fn until_batches(agent: &Agent) {
    wait_until("ticks are counted", PATIENCE, || {
        let ticks = agent.metrics().get("kubevitals_agent_ticks_total");
        if ticks >= 5.0 { Ok(()) } else { Err(format!("{ticks} ticks")) }
    });
}

/// A request to the exporter, so that it has something to count.
fn ask_exporter(agent: &Agent, token: &str) {
    let mut curl = dies_with_us("curl");
    curl.args(["--silent", "--insecure", "--noproxy", "*", "--max-time", "10", "--output", "/dev/null"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("https://127.0.0.1:{}/metrics/resource", agent.program.port("exporter")));
    assert!(curl.status().is_ok_and(|status| status.success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_judge_complains_of_what_the_programs_say_of_themselves() {
    if left_out() {
        return;
    }
    let api = ApiServer::start();
    for resource in ["secrets", "configmaps"] {
        let grant = Grant::new(AGGREGATOR, &["get", "create", "update", "patch"], "", resource);
        api.cluster.grant(grant.namespace("kube-system"));
    }
    let stage = Stage::before(api, &FLAGS);
    let _web = stage.run(NODE, "web", [("main", Workload::pulse())]);
    fs::write(stage.rig.files.path().join("scraper"), TOKEN).unwrap();
    let token = format!("--exporter-token-file={}", stage.rig.files.path().join("scraper").display());
    let agent = stage.agent(NODE, &["--exporter-listen=127.0.0.1:0", "--exporter-auth=aggregator", &token]);
    tokio::task::block_in_place(|| until_batches(&agent));
    let reader = stage.rig.reader();
    let path = format!("/apis/metrics.k8s.io/v1/nodes/{NODE}");
    stage.rig.until(&reader, &path, |answer| answer.status == 200).await;
    let nodes = Selection { level: Level::Nodes.into(), ..Selection::default() };
    let told = Caller::new(&stage.rig, &reader).await.select(nodes).await.unwrap();
    assert_eq!(told.usages.len(), 1, "{told:?}");
    for token in [TOKEN, "another"] {
        ask_exporter(&agent, token);
    }
    let mut families = BTreeSet::new();
    for path in ["/metrics", "/metrics/resource", "/metrics/vitals"] {
        families.extend(judge(&format!("the agent's {path}"), agent.admin_port, path));
    }
    let admin_port = stage.rig.aggregator.admin_port;
    families.extend(judge("the aggregator's admin /metrics", admin_port, "/metrics"));
    let unseen: Vec<_> = documented().into_iter().filter(|&name| !families.contains(name)).collect();
    assert_eq!(unseen, [""; 0], "metrics of the README that were not judged");
    let admin = stage.rig.admin();
    let page = stage.rig.get(&admin.clone().header("accept", TEXT), "/metrics").await;
    assert_clean("the API's /metrics", page.text());
    let page = stage.rig.get(&admin.header("accept", OPEN_METRICS), "/metrics").await;
    assert!(open_metrics(page.text()).is_ok_and(|samples| samples > 0), "{page:?}");
}
