//! Load, metrics, certificates and the end of the process.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    apiserver::{
        ApiServer,
        dial::Target,
        reviews::{Fault, User},
    },
    program::{Program, built, dies_with_us},
    rig::{Answer, BASES, DEADLINE, NODE, Rig, Who, ask, get},
};

/// How long the stand-in takes for a decision, while requests that wait for it are in flight.
const LATE: Duration = Duration::from_secs(4);

/// A rig that is ready, and whose decisions about those who are new come late.
async fn late(flags: &[&str]) -> Rig {
    let rig = Rig::with(ApiServer::start(), flags);
    rig.agent(NODE, &[rig.ingest()]);
    rig.until(&Who::nobody(), "/readyz", |answer| answer.status == 200).await;
    rig.api.cluster.reviews.of_access.fail(Fault::Late(LATE));
    rig
}

/// Requests that wait for a decision, each of a user of its own.
async fn waiting(rig: &Rig, count: usize) -> Vec<JoinHandle<Answer>> {
    let reviews = &rig.api.cluster.reviews;
    let before = reviews.of_access.count();
    let ask = |n: usize| {
        let token = format!("reader-{n}");
        reviews.issue(&token, User::new(&token, &["readers"]));
        let (target, who) = (rig.target(), Who::bearer(&token));
        tokio::spawn(async move { get(&target, &who, &format!("{}/nodes", BASES[0])).await })
    };
    let asked = (0..count).map(ask).collect();
    reviews.of_access.wait_for(before + count).await;
    asked
}

async fn answered(waiting: Vec<JoinHandle<Answer>>) {
    for request in waiting {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().unwrap())
}

async fn is_refused(target: &Target) -> bool {
    target.http2(None).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn c110_over_the_limit_only_probes_and_administrators_are_served() {
    let rig = late(&["--max-requests-inflight=2"]).await;
    let waiting = waiting(&rig, 2).await;
    let in_flight =
        rig.aggregator.metrics().get("apiserver_current_inflight_requests{request_kind=\"readOnly\"}");
    assert!((in_flight - 2.0).abs() < 0.5, "{in_flight}");

    let answer = rig.get(&rig.reader(), "/version").await;
    assert_eq!((answer.status, header(&answer, "retry-after")), (429, Some("1")));
    assert_eq!(header(&answer, "content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.text(), "Too many requests, please try again later.");
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(rig.get(&Who::nobody(), path).await.status, 200, "{path}");
    }
    for path in ["/version", BASES[0]] {
        assert_eq!(rig.get(&rig.admin(), path).await.status, 200, "{path}");
    }
    answered(waiting).await;
    rig.api.cluster.reviews.of_access.recover();
    // The places are free again.
    rig.until(&rig.reader(), &format!("{}/nodes", BASES[0]), |answer| answer.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c115_after_the_signal_readiness_fails_at_once_and_all_else_is_served_for_the_delay() {
    const DELAY: Duration = Duration::from_secs(6);
    let mut rig = Rig::with(ApiServer::start(), &["--shutdown-delay=6s"]);
    rig.agent(NODE, &[rig.ingest()]);
    rig.until(&Who::nobody(), "/readyz", |answer| answer.status == 200).await;
    let reader = rig.reader();
    let signalled = Instant::now();
    rig.aggregator.program.signal(Signal::TERM);
    let unready = rig.until(&Who::nobody(), "/readyz", |answer| answer.status == 500).await;
    assert!(signalled.elapsed() < DELAY / 2, "{:?}", signalled.elapsed());
    assert!(unready.text().contains("[-]shutdown failed: reason withheld"), "{unready:?}");
    let target = rig.target();
    // Nobody knows on which side of the end a question falls that was asked late; that nobody is refused before it is seen
    // below.
    while signalled.elapsed() < DELAY / 2 {
        for (who, path) in [(&Who::nobody(), "/livez"), (&reader, &format!("{}/nodes", BASES[1]))] {
            assert_eq!(rig.get(who, path).await.status, 200, "{path} after {:?}", signalled.elapsed());
        }
        assert_eq!(rig.get(&Who::nobody(), "/readyz").await.status, 500);
        sleep(Duration::from_millis(50)).await;
    }
    while !is_refused(&target).await {
        assert!(signalled.elapsed() < DELAY + Duration::from_secs(3), "still open");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(signalled.elapsed() >= DELAY, "refused after {:?}", signalled.elapsed());
    eprintln!("c115: refused {:?} after the signal", signalled.elapsed());
    assert!(rig.aggregator.program.ended(DEADLINE).success());
    let log = rig.aggregator.program.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["message"], "starting");
    // The commit behind it is that of the last build, which need not be this test's.
    assert!(lines[0]["version"].as_str().unwrap().starts_with(env!("CARGO_PKG_VERSION")), "{log}");
    // Numbers are numbers, for those who search logs.
    assert!(lines.iter().any(|line| line["delay_s"] == DELAY.as_secs_f64()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c116_a_request_in_flight_completes_and_then_the_process_ends_well() {
    let mut rig = late(&["--shutdown-delay=0s"]).await;
    let waiting = waiting(&rig, 3).await;
    rig.aggregator.program.signal(Signal::TERM);
    let target = rig.target();
    while !is_refused(&target).await {
        sleep(Duration::from_millis(20)).await;
    }
    answered(waiting).await;
    let done = Instant::now();
    assert!(rig.aggregator.program.ended(DEADLINE).success());
    eprintln!("c116: ended {:?} after the last answer", done.elapsed());
    assert!(done.elapsed() < Duration::from_secs(3), "{:?}", done.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn c117_while_draining_new_requests_are_told_to_come_back_later() {
    let mut rig = late(&["--shutdown-delay=0s", "--shutdown-send-retry-after"]).await;
    let waiting = waiting(&rig, 1).await;
    rig.aggregator.program.signal(Signal::TERM);
    let path = format!("{}/nodes", BASES[0]);
    let answer = rig.until(&rig.admin(), &path, |answer| answer.status == 429).await;
    assert_eq!(header(&answer, "retry-after"), Some("5"));
    assert!(header(&answer, "content-type").unwrap().starts_with("text/plain"), "{answer:?}");
    let mut connection = rig.target().http1(None).await.unwrap();
    let answer = ask(&mut connection, &Who::nobody(), &path).await.unwrap();
    assert_eq!((answer.status, header(&answer, "connection")), (429, Some("close")));
    // Over HTTP/2 the connection ends too, without such a header.
    let mut connection = rig.target().http2(None).await.unwrap();
    assert_eq!(ask(&mut connection, &Who::nobody(), &path).await.unwrap().status, 429);
    let begun = Instant::now();
    while !connection.is_closed() {
        assert!(begun.elapsed() < DEADLINE, "still open");
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.get(&Who::nobody(), "/livez").await.status, 200);
    assert_eq!(rig.get(&Who::nobody(), "/readyz").await.status, 500);
    answered(waiting).await;
    assert!(rig.aggregator.program.ended(DEADLINE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn c119_metrics_are_served_to_those_who_may_see_them() {
    let rig = Rig::start();
    let (reader, path) = (rig.reader(), format!("{}/nodes", BASES[1]));
    assert_eq!(rig.get(&reader, &path).await.status, 200);
    assert_eq!(rig.get(&Who::nobody(), &path).await.status, 403);
    let labels =
        "verb=\"LIST\",group=\"metrics.k8s.io\",version=\"v1beta1\",resource=\"nodes\",subresource=\"\"";
    let series = |code| format!("\napiserver_request_total{{{labels},code=\"{code}\"}} 1\n");
    // A request is counted when its last byte was taken, which may be a moment after the client has it.
    let answer = rig
        .until(&reader, "/metrics", |answer| {
            [200, 403].iter().all(|code| answer.text().contains(&series(code)))
        })
        .await;
    assert_eq!(header(&answer, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for name in ["apiserver_request_duration_seconds_count{", "apiserver_response_sizes_sum{"] {
        assert!(answer.text().contains(&format!("\n{name}{labels}")), "{name}: {}", answer.text());
    }
    assert!(!answer.text().contains("# EOF"));
    let open = reader.header("accept", "application/openmetrics-text");
    let answer = rig.get(&open, "/metrics").await;
    assert!(header(&answer, "content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(answer.text().ends_with("# EOF\n"));
}

/// Writes a new certificate and its key as the kubelet does: a new directory, and a link that is renamed over the
/// old one.
fn mount(directory: &Path, version: &str) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = directory.join(version);
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(files.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::os::unix::fs::symlink(version, directory.join("draft")).unwrap();
    std::fs::rename(directory.join("draft"), directory.join("current")).unwrap();
    made.cert.pem()
}

#[tokio::test(flavor = "multi_thread")]
async fn c106_a_swapped_secret_serves_within_seconds_and_open_connections_live_on() {
    let files = tempfile::tempdir().unwrap();
    let directory = files.path();
    let old = mount(directory, "1");
    std::fs::write(directory.join("token"), "secret").unwrap();
    let file = |name: &str| directory.join(name).display().to_string();
    let mut command = dies_with_us(built("kubevitals-aggregator"));
    command
        .args(["serve", "--names=paths", "--log-format=json"])
        .args([
            "--listen=127.0.0.1:0",
            "--ingest-listen=127.0.0.1:0",
            "--query-listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
        ])
        .args(["--api-token-file", &file("token"), "--agent-token-file", &file("token")])
        .args(["--tls-cert-file", &file("current/tls.crt"), "--tls-key-file", &file("current/tls.key")]);
    let mut program = Program::start("kubevitals-aggregator", &mut command);
    let address = ([127, 0, 0, 1], program.port("api")).into();
    let target = |ca_pem| Target { address, name: "localhost".to_owned(), ca_pem };
    let who = Who::bearer("secret");
    let mut open = target(old.clone()).http2(None).await.unwrap();
    assert_eq!(ask(&mut open, &who, BASES[0]).await.unwrap().status, 200);
    let new = target(mount(directory, "2"));
    let swapped = Instant::now();
    while new.http2(None).await.is_err() {
        assert!(swapped.elapsed() < Duration::from_secs(60), "not served yet");
        sleep(Duration::from_millis(100)).await;
    }
    eprintln!("c106: served {:?} after the swap", swapped.elapsed());
    assert!(swapped.elapsed() < Duration::from_secs(10), "{:?}", swapped.elapsed());
    assert!(is_refused(&target(old)).await);
    assert_eq!(ask(&mut open, &who, BASES[0]).await.unwrap().status, 200);
    program.signal(Signal::TERM);
    assert!(program.ended(DEADLINE).success());
}
