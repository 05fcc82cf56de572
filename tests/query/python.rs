//! A consumer in Python that has nothing but `query.proto`: `python/prepare` generates its client.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    apiserver::{SERVICE, make::Pod},
    consumer::{READER, pod, reader, until_served},
    program::{PATIENCE, built, skipped},
    rig::{NODE, Rig},
};

const TICKS: &str = "3";

/// What `python/prepare` made, beside the programs' own directory.
fn prepared() -> PathBuf {
    let programs = built("kubevitals-aggregator");
    let target = programs.ancestors().nth(2).expect("programs lie in target/PROFILE/");
    let made = target.join("query-python");
    assert!(made.join("recipe").exists(), "{} is missing: run tests/query/python/prepare", made.display());
    made
}

/// Runs the script, and returns what it printed.
fn run(rig: &Rig, namespace: &str) -> Vec<Value> {
    let made = prepared();
    let path = std::env::join_paths([made.join("packages"), made.join("generated")]).unwrap();
    let output = Command::new("timeout")
        .args([&PATIENCE.as_secs().to_string(), "python3"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/query/python/consumer.py"))
        .arg(format!("127.0.0.1:{}", rig.aggregator.program.port("query")))
        .arg(rig.files.path().join("first/ca.pem"))
        .args([SERVICE, READER, namespace, TICKS])
        .env("PYTHONPATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("timeout runs");
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}\n{log}", output.status);
    eprintln!("{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_python_client_lists_watches_and_explains() {
    if skipped("python") {
        return;
    }
    let rig = Rig::start();
    rig.agent(NODE, &[rig.ingest()]);
    for name in ["web-0", "web-1", "web-2"] {
        rig.run(&Pod::new("shop", name, NODE), 250);
    }
    let client = reader(&rig);
    for name in ["web-0", "web-1", "web-2"] {
        until_served(&client, pod("shop", name)).await;
    }
    let said = tokio::task::block_in_place(|| run(&rig, "shop"));
    let about = |what: &str| said.iter().filter(|line| line["what"] == what).collect::<Vec<_>>();

    let [reflection] = about("reflection")[..] else { panic!("{said:?}") };
    assert_eq!(reflection["methods"], json!(["List", "Watch", "Explain", "Raw"]));
    assert!(reflection["services"].as_array().unwrap().contains(&json!("grpc.health.v1.Health")));

    let used = about("usage");
    let names: Vec<_> = used.iter().map(|usage| usage["pod"].as_str().unwrap()).collect();
    assert_eq!(names, ["web-0", "web-1", "web-2"], "of two pages");
    assert!(used.iter().all(|usage| usage["cpu_nanocores"] == 250_000_000), "{used:?}");

    let ticks = about("tick");
    assert_eq!((&ticks[0]["full"], ticks.len()), (&json!(true), 3), "{ticks:?}");
    assert_eq!(ticks[0]["pods"], json!(["web-0", "web-1", "web-2"]));
    assert!(ticks[1..].iter().all(|tick| tick["full"] == false && tick["position"] == true), "{ticks:?}");

    let [explained] = about("explain")[..] else { panic!("{said:?}") };
    assert_eq!(explained["verdict"], "VERDICT_ABSENT");
    assert_eq!(explained["reason"], "ABSENCE_REASON_UNKNOWN");
    let [refused] = about("refused")[..] else { panic!("{said:?}") };
    assert_eq!(refused["code"], "INVALID_ARGUMENT");
}
