//! Kubelets that hang, lie and break off: each fault stays with its node.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    alone::{FIRST, FLAGS, node_with_pod, page},
    api::forms,
    apiserver::{ApiServer, make::Pod},
    kubelet::{Kubelet, Manner, container, millis},
    program::long,
    rig::Rig,
};

/// How long the good ones are watched while the others go wrong: each bad one is polled twice and more.
fn watched() -> Duration {
    Duration::from_secs(if long() { 90 } else { 35 })
}

/// How long the good ones are watched before that.
const ALONE: Duration = Duration::from_secs(12);

/// A page every 10 s, looked at until the next one has come.
const OLDEST: f64 = 10.0 * 1.5 + 2.0;

const PODS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";

/// Names and ages of the pods that are served.
async fn ages(rig: &Rig) -> BTreeMap<String, f64> {
    let answer = rig.get(&rig.admin(), PODS).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let age = |item: &serde_json::Value| {
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let timestamp = forms::seconds(item["timestamp"].as_str().unwrap()) as f64;
        (item["metadata"]["name"].as_str().unwrap().to_owned(), now - timestamp)
    };
    answer.items().iter().map(age).collect()
}

/// Watches the good pods for a time: the oldest they were.
async fn oldest(rig: &Rig, time: Duration) -> f64 {
    let (begun, mut oldest) = (Instant::now(), 0.0_f64);
    while begun.elapsed() < time {
        let ages = ages(rig).await;
        for good in ["pod-of-good-1", "pod-of-good-2"] {
            let age = ages.get(good).unwrap_or_else(|| panic!("{good} is missing: {ages:?}"));
            oldest = oldest.max(*age);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    oldest
}

fn faulty(api: &ApiServer) -> Vec<(&'static str, Kubelet)> {
    let manners = [
        ("hangs-at-connect", Manner::HangsAtConnect),
        ("hangs-at-head", Manner::HangsAtHead),
        ("hangs-in-body", Manner::HangsInBody),
        ("breaks-off", Manner::BreaksOff),
        ("half-a-line", Manner::HalfALine),
        ("endless", Manner::Endless),
        ("redirects", Manner::Status(302)),
        ("unauthorized", Manner::Status(401)),
        ("forbidden", Manner::Status(403)),
        ("broken", Manner::Status(500)),
    ];
    let start = |(name, manner): (&'static str, Manner)| {
        let kubelet = node_with_pod(api, name, 100);
        kubelet.set(manner);
        (name, kubelet)
    };
    manners.into_iter().map(start).collect()
}

fn names_of(pod: &str) -> [&str; 3] {
    ["default", pod, "main"]
}

/// Kubelets whose pages are whole and whose numbers are not to be believed.
fn liars(api: &ApiServer) -> Vec<(&'static str, Kubelet)> {
    let counts_back =
        || container(names_of("pod-of-counts-back"), 2_000_000_000 - millis() / 1000, 4096, millis(), 1);
    let from_the_future =
        || container(names_of("pod-of-from-the-future"), millis() / 1000, 4096, millis() + 3_600_000, 1);
    let from_long_ago =
        || container(names_of("pod-of-from-long-ago"), millis() / 1000, 4096, millis() / 1000, 1);
    let stands_still = || container(names_of("pod-of-stands-still"), 5, 4096, 1_700_000_000_000_u64, 1);
    let of_others = || page("pod-of-good-1", 9000, 1 << 40) + &page("pod-of-good-2", 9000, 1 << 40);
    let twice = || page("pod-of-twice", 100, 4096) + &container(names_of("pod-of-twice"), 9, 1, millis(), 1);
    let lie = |name, page: fn() -> String| {
        let kubelet = node_with_pod(api, name, 100);
        kubelet.set_page(page);
        (name, kubelet)
    };
    vec![
        lie("counts-back", counts_back),
        lie("from-the-future", from_the_future),
        lie("from-long-ago", from_long_ago),
        lie("stands-still", stands_still),
        lie("of-others", of_others),
        lie("twice", twice),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_stays_with_its_node() {
    let api = ApiServer::start();
    let good = [node_with_pod(&api, "good-1", 250), node_with_pod(&api, "good-2", 750)];
    let rig = Rig::with(api, &FLAGS);
    rig.api.cluster.nodes.delete("", "n1");
    let both = |pods: &BTreeMap<String, f64>| pods.len() == 2;
    let begun = Instant::now();
    while !both(&ages(&rig).await) {
        assert!(begun.elapsed() < FIRST, "the good ones are not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let alone = oldest(&rig, ALONE).await;
    let bad: Vec<_> = faulty(&rig.api).into_iter().chain(liars(&rig.api)).collect();
    let (memory, begun) = (rig.aggregator.program.footprint().1, Instant::now());
    let among = oldest(&rig, watched()).await;
    eprintln!(
        "oldest numbers of 2 good nodes: {alone:.1} s alone, {among:.1} s among {} bad ones for {:?}; resident {} -> {} KiB, peak {} KiB",
        bad.len(),
        begun.elapsed(),
        memory,
        rig.aggregator.program.footprint().1,
        rig.aggregator.program.peak(),
    );
    assert!(among < OLDEST, "{among}");
    let served = ages(&rig).await;
    eprintln!("served: {served:?}");
    assert_eq!(served.keys().collect::<Vec<_>>(), ["pod-of-good-1", "pod-of-good-2"]);
    for (pod, cpu) in [("pod-of-good-1", "250"), ("pod-of-good-2", "750")] {
        let answer = rig.get(&rig.admin(), &format!("{PODS}/{pod}")).await.json();
        let usage = answer["containers"][0]["usage"]["cpu"].as_str().unwrap();
        assert!(
            usage.starts_with(cpu) || usage.starts_with(&(cpu.parse::<u32>().unwrap() - 1).to_string()),
            "{usage}"
        );
    }
    check_counted(&rig);
    for (name, _) in &bad[..10] {
        let said = faults_said(&rig, name);
        // On busy cores one that is endless is late by turns.
        let is_news = said.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(!said.is_empty() && is_news, "{name} is logged when it is another fault: {said:?}");
    }
    assert_eq!(good.iter().map(Kubelet::connections).max(), Some(1), "their connections are kept");
    // One that mends is served again.
    let (_, mended) = &bad[0];
    mended.set(Manner::Good);
    rig.until(&rig.admin(), &format!("{PODS}/pod-of-hangs-at-connect"), |answer| answer.status == 200).await;
}

/// What is logged about the polls of a node that failed.
fn faults_said(rig: &Rig, node: &str) -> Vec<String> {
    let log = rig.aggregator.program.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let about = lines.filter(|line| {
        line["node"] == node
            && line["message"].as_str().is_some_and(|text| text.starts_with("cannot poll the kubelet"))
    });
    about.map(|line| line["error"].to_string()).collect()
}

/// Each kind of fault is counted under its name.
fn check_counted(rig: &Rig) {
    let metrics = rig.aggregator.metrics();
    let prefix = "kubevitals_aggregator_kubelet";
    for outcome in ["ok", "timeout", "broken", "unauthorized", "forbidden", "status", "content", "unfinished"]
    {
        let count = metrics.get(&format!("{prefix}_polls_total{{outcome=\"{outcome}\"}}"));
        eprintln!("polls {outcome}: {count}");
        assert!(count > 0.5, "{outcome}");
    }
    for reason in ["future", "foreign_pod", "duplicate"] {
        let count = metrics.get(&format!("{prefix}_refused_total{{reason=\"{reason}\"}}"));
        assert!(count > 0.5, "{reason}");
    }
    assert!((metrics.get("kubevitals_aggregator_failing_kubelets") - 10.0).abs() < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_fit_says_what_to_do() {
    let api = ApiServer::start();
    let page = || String::new();
    let nameless = Kubelet::start(&api.pki.serving, &["node.test"], page);
    let strange = Kubelet::start(&api.pki.stranger, &["127.0.0.1"], page);
    api.cluster.nodes.put(nameless.node("nameless"));
    api.cluster.nodes.put(strange.node("strange"));
    api.cluster.pods.put(Pod::new("default", "p", "nameless").object());
    let rig = Rig::with(api, &FLAGS);
    rig.logged("certificate is not made out to 127.0.0.1 but to ", 1).await;
    rig.logged("certificate is not of a known authority: give the kubelet a certificate of the cluster", 1)
        .await;
    rig.logged("node has no address of --kubelet-preferred-address-types", 1).await;
}
