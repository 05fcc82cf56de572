//! No judge has anything to say about any page that we serve.

use std::collections::BTreeSet;

use crate::{
    cgroups::Workload,
    program::{Agent, PATIENCE, wait_until},
    rig::NODE,
    stage::{OPEN_METRICS, Stage, TEXT, scrape},
    tools::{left_out, lint, open_metrics},
};

/// Families without a sample here, each with what it would take.
const EMPTY: [&str; 0] = [];

/// Names of the families that have no sample.
fn empty_families(page: &str) -> BTreeSet<&str> {
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let samples: BTreeSet<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let is_empty = |name: &&str| {
        !["", "_bucket"].iter().any(|suffix| samples.contains(format!("{name}{suffix}").as_str()))
    };
    names.filter(is_empty).collect()
}

/// Judges a page in the older form.
fn assert_clean(place: &str, page: &str) {
    let complaints = lint(page);
    assert!(complaints.is_empty(), "{place}:\n{complaints}");
    let empty = empty_families(page);
    eprintln!("{place}: {} lines; without samples: {empty:?}", page.lines().count());
    let unexpected: Vec<_> = empty.iter().filter(|name| !EMPTY.contains(name)).collect();
    assert!(unexpected.is_empty(), "{place}: no sample was brought about of {unexpected:?}");
}

fn judge(place: &str, port: u16, path: &str) {
    let page = scrape(port, path, TEXT);
    assert!(page.head.contains("text/plain; version=0.0.4"), "{}", page.head);
    assert_clean(place, &page.body);
    let page = scrape(port, path, OPEN_METRICS);
    assert!(page.head.contains("application/openmetrics-text; version=1.0.0"), "{}", page.head);
    let samples = open_metrics(&page.body).unwrap_or_else(|fault| panic!("{place}: {fault}\n{}", page.body));
    assert!(samples > 0, "{place}");
}

fn until_batches(agent: &Agent) {
    wait_until("ticks are counted", PATIENCE, || {
        let ticks = agent.metrics().get("kubevitals_agent_ticks_total");
        if ticks >= 5.0 { Ok(()) } else { Err(format!("{ticks} ticks")) }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn no_judge_complains_of_what_the_programs_say_of_themselves() {
    if left_out() {
        return;
    }
    let stage = Stage::new(&[]);
    let _web = stage.run(NODE, "web", [("main", Workload::pulse())]);
    let agent = stage.agent(NODE, &[]);
    tokio::task::block_in_place(|| until_batches(&agent));
    let reader = stage.rig.reader();
    let path = format!("/apis/metrics.k8s.io/v1/nodes/{NODE}");
    stage.rig.until(&reader, &path, |answer| answer.status == 200).await;
    judge("the agent's /metrics", agent.admin_port, "/metrics");
    judge("the aggregator's admin /metrics", stage.rig.aggregator.admin_port, "/metrics");
    let admin = stage.rig.admin();
    let page = stage.rig.get(&admin.clone().header("accept", TEXT), "/metrics").await;
    assert_clean("the API's /metrics", page.text());
    let page = stage.rig.get(&admin.header("accept", OPEN_METRICS), "/metrics").await;
    assert!(open_metrics(page.text()).is_ok_and(|samples| samples > 0), "{page:?}");
}
