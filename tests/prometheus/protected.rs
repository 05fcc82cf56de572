//! Prometheus scrapes the exporter as it would in a cluster: over TLS, with a bearer token, compressed.

use std::{fs, time::Duration};

use crate::{
    cgroups::Workload, program::wait_until, rig::NODE, server::Prometheus, stage::Stage, tools::left_out,
};

const SOON: Duration = Duration::from_secs(30);

const TOKEN: &str = "scrapes-the-node";

/// A scrape with a token, of a server whose certificate is of its own making.
fn job(token: &str) -> String {
    format!(
        "scheme: https\ntls_config: {{insecure_skip_verify: true}}\nauthorization: {{credentials: {token}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_the_exporter_over_tls_with_a_token_and_not_without() {
    if left_out() {
        return;
    }
    tokio::task::block_in_place(scrape);
}

fn scrape() {
    let stage = Stage::new();
    let _web = stage.run(NODE, "web", [("main", Workload::pulse())]);
    let file = stage.rig.files.path().join("scraper");
    fs::write(&file, TOKEN).unwrap();
    let token = format!("--exporter-token-file={}", file.display());
    let agent = stage.agent(NODE, &["--exporter-listen=127.0.0.1:0", &token, "--detail-interval=1s"]);
    let target = (NODE, agent.program.port("exporter"));
    let may =
        ["/metrics/resource", "/metrics/vitals"].map(|path| Prometheus::with(&job(TOKEN), path, &[target]));
    let may_not = Prometheus::with(&job("another"), "/metrics/resource", &[target]);
    for (prometheus, metric) in
        may.iter().zip(["container_cpu_usage_seconds_total", "kubevitals_container_memory_anon_bytes"])
    {
        wait_until(&format!("{metric} is scraped"), SOON, || {
            let samples = prometheus.raw(metric).len();
            if samples >= 5 { Ok(()) } else { Err(format!("{samples} samples")) }
        });
        assert_eq!(prometheus.refused(), [""; 0]);
    }
    let up = may_not.raw("up");
    assert!(up.len() >= 2 && up.iter().all(|sample| sample.1 < 0.5), "{up:?}");
}
