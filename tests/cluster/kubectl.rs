//! The kubectl on this machine, as people use it.

use std::process::Stdio;

use tokio::{process::Command, time::timeout};

use crate::{
    measured,
    pods::{BURN, container, spec},
    stage::{Stage, on_stage},
};

/// Longest a call may take.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(60);

/// What kubectl prints, or what it complains about.
pub(crate) async fn kubectl(stage: &Stage, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(&stage.settings.kubectl);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(ANSWER, command.output()).await.expect("kubectl ends").expect("kubectl starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(printed)
    } else {
        Err(format!("{}: {}{printed}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

/// Cells of a table without its head.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn top_prints_every_node_with_numbers() {
    on_stage("top-nodes", async |stage| {
        let printed = kubectl(&stage, &["top", "nodes", "--no-headers"]).await.unwrap();
        let rows = rows(&printed);
        for node in stage.nodes_with_agents().await {
            let row = rows.iter().find(|row| row[0] == node);
            let row = row.unwrap_or_else(|| panic!("{node} is missing: {printed}"));
            measured!("{}", row.join("  "));
            assert!(row[1].ends_with('m') && row[2].ends_with('%') && row[3].ends_with("Mi"), "{row:?}");
        }
    });
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn top_prints_pods_and_their_containers() {
    on_stage("top-pods", async |stage| {
        let burn = |name| container(&stage, name, BURN, Some(50));
        stage.run("two", spec(&[burn("app"), burn("sidecar")])).await;
        let settled = std::time::Duration::from_secs(60);
        stage.served("two", settled, |pod| pod.window.as_secs() >= 10).await;
        let top = async |more: &[&str]| {
            let arguments = ["top", "pods", "--no-headers", "--namespace", &stage.namespace];
            kubectl(&stage, &[&arguments, more].concat()).await.unwrap()
        };
        // The numbers are those of the API a moment before or after; the load is steady.
        let before = used(&stage).await;
        let pods = top(&[]).await;
        let after = used(&stage).await;
        let pods = rows(&pods);
        measured!("{}; the API said {before:.1} m and {after:.1} m", pods[0].join("  "));
        assert_eq!((pods.len(), pods[0][0]), (1, "two"));
        let millicores: f64 = pods[0][1].trim_end_matches('m').parse().unwrap();
        // kubectl cuts off each container's fraction.
        assert!((before.min(after) - 5.0..=before.max(after) + 5.0).contains(&millicores), "{pods:?}");
        let containers = top(&["--containers"]).await;
        let containers = rows(&containers);
        let names: Vec<_> = containers.iter().map(|row| (row[0], row[1])).collect();
        assert_eq!(names, [("two", "app"), ("two", "sidecar")]);
    });
}

/// What both containers use together, in millicores.
async fn used(stage: &Stage) -> f64 {
    let served = stage.served("two", std::time::Duration::from_secs(10), |_| true).await;
    served.containers.values().map(|usage| usage.nanocores as f64 / 1e6).sum()
}
