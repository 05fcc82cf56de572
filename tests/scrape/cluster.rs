//! Tokens of the cluster: the agent asks the aggregator, and that asks the cluster.

use serde_json::json;

use crate::{
    apiserver::{
        make::Pod,
        reviews::{Decision, Fault, User},
    },
    client::{Shown, scrape, status},
    program::{Agent, PATIENCE, wait_until},
    rig::{NODE, Rig, agent_user},
};

const FLAGS: [&str; 4] =
    ["--exporter-listen=127.0.0.1:0", "--exporter-auth=aggregator", "--names=uid", "--scope=all"];

/// A rig whose cluster lets `prometheus` and nobody else get `nodes/metrics` of the node, with an agent.
fn start() -> (Rig, Agent) {
    let rig = Rig::start();
    let pod = Pod::new("kube-system", "agent", NODE);
    let user = agent_user(NODE)
        .extra("authentication.kubernetes.io/pod-name", "agent")
        .extra("authentication.kubernetes.io/pod-uid", &pod.uid());
    rig.api.cluster.reviews.issue("agent", user);
    rig.api.cluster.pods.put(pod.object());
    std::fs::write(rig.files.path().join("first/token"), "agent").unwrap();
    for name in ["prometheus", "somebody"] {
        rig.api.cluster.reviews.issue(name, User::new(name, &["system:authenticated"]));
    }
    rig.api.cluster.reviews.rule(|spec| {
        let wanted = json!({"verb": "get", "version": "v1", "resource": "nodes", "subresource": "metrics", "name": NODE});
        Decision::when(spec["user"] == "prometheus" && spec["resourceAttributes"] == wanted)
    });
    let agent = Agent::with(NODE, "token", &[&rig.aggregator], &FLAGS);
    wait_until("a stream is open", PATIENCE, || {
        let open = agent.metrics().get("kubevitals_agent_streams_open");
        if open >= 1.0 { Ok(()) } else { Err(open.to_string()) }
    });
    (rig, agent)
}

#[test]
fn whoever_may_get_nodes_metrics_may_scrape_and_nobody_else() {
    let (rig, agent) = start();
    let port = agent.program.port("exporter");
    rig.api.cluster.reviews.of_access.forget();
    wait_until("the first tick is on the page", PATIENCE, || {
        match scrape(port, "/metrics/resource", Shown::Token("prometheus")) {
            (200, page) if page.contains("node_cpu_usage_seconds_total ") => Ok(()),
            (code, page) => Err(format!("{code}: {page}")),
        }
    });
    for page in ["/metrics/vitals", "/metrics", "/metrics/resource"] {
        assert_eq!(scrape(port, page, Shown::Token("prometheus")).0, 200, "{page}");
    }
    assert_eq!(rig.api.cluster.reviews.of_access.count(), 1, "what was found out is kept");
    let (code, text) = scrape(port, "/metrics/resource", Shown::Token("somebody"));
    assert!(
        code == 403 && text.contains("\"somebody\" cannot get resource \"nodes/metrics\""),
        "{code}: {text}"
    );
    for shown in [Shown::Nothing, Shown::Token("guessed"), Shown::Token("agent")] {
        assert_eq!(status(port, shown), 401, "{shown:?}");
    }
    let log = agent.program.log() + &rig.aggregator.program.log();
    for secret in ["prometheus", "guessed"] {
        assert!(!log.contains(secret), "a token is logged");
    }
    let metrics = rig.aggregator.metrics();
    let reviews = |outcome: &str| {
        metrics.get(&format!("kubevitals_aggregator_ingest_reviews_total{{outcome=\"{outcome}\"}}"))
    };
    let counted = ["allowed", "forbidden", "unauthenticated"].map(reviews);
    assert!(counted[0] >= 1.0 && counted[1] >= 1.0 && counted[2] >= 2.0, "{counted:?}");
}

#[test]
fn what_cannot_be_found_out_is_no_permission_and_what_was_found_out_counts_on() {
    let (rig, mut agent) = start();
    let port = agent.program.port("exporter");
    assert_eq!(status(port, Shown::Token("prometheus")), 200);
    rig.api.cluster.reviews.of_access.fail(Fault::Status(500));
    rig.api.cluster.reviews.issue("late", User::new("prometheus", &[]).extra("new", "one"));
    assert_eq!(status(port, Shown::Token("late")), 503);
    rig.api.cluster.reviews.of_access.recover();
    wait_until("it is found out now", PATIENCE, || match status(port, Shown::Token("late")) {
        200 => Ok(()),
        code => Err(code.to_string()),
    });
    // Without any aggregator.
    drop(rig);
    assert_eq!(status(port, Shown::Token("prometheus")), 200);
    assert_eq!(status(port, Shown::Token("never-seen")), 503);
    agent.program.signal(rustix::process::Signal::TERM);
    assert!(agent.program.ended(PATIENCE).success());
}
