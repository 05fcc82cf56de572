//! What autoscalers, dashboards and the aggregation layer ask for, and what they make of the answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    apiserver::{
        make::{Pod, node},
        poll::{Release, VERSIONS},
        reviews::User,
    },
    program::long,
    rig::{Answer, BASES, DEADLINE, NODE, Rig, Who, ask, get, ingest, target},
    wire,
};

/// What every pod here uses, in thousandths of a CPU for each container.
const MILLICORES: u64 = 250;

/// A rig whose node is measured and runs pods `web-0` to `web-2` with two containers each, all served.
async fn measured() -> Rig {
    let rig = Rig::start();
    rig.agent(NODE, &[rig.ingest()]);
    for number in 0..3 {
        rig.run(&web(number), MILLICORES);
    }
    let path = format!("{}/pods", BASES[0]);
    rig.until(&rig.admin(), &path, |answer| answer.status == 200 && answer.items().len() == 3).await;
    rig
}

fn web(number: usize) -> Pod {
    let pod = Pod::new("shop", &format!("web-{number}"), NODE);
    pod.label("app", "web").containers(&["main", "sidecar"])
}

/// Nanocores of a quantity.
fn nanocores(text: &str) -> u64 {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let scale = match text.trim_start_matches(digits) {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        other => panic!("unknown suffix {other}: {text}"),
    };
    digits.parse::<u64>().unwrap() * scale
}

/// As the controller asks: its compression is off, so it names no encoding.
fn controller(rig: &Rig) -> Who {
    let user = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    let who = rig.proxied(&User::new(user, &["readers", "system:serviceaccounts"]));
    who.header("accept", "application/vnd.kubernetes.protobuf, */*")
}

/// The controller's replica calculator: thousandths of a CPU by pod, each container's rounded up; a pod with no
/// container, or with one that lacks the resource, is missing.
fn values(answer: &Answer, version: &str) -> BTreeMap<String, u64> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/vnd.kubernetes.protobuf");
    let list = wire::pods(&answer.body, version);
    let value = |pod: &wire::PodMetrics| {
        let cpu = |container: &wire::ContainerMetrics| {
            let quantity = container.usage.iter().find(|usage| usage.key == "cpu")?;
            Some(nanocores(&quantity.value.as_ref()?.string).div_ceil(1_000_000))
        };
        let sum = pod.containers.iter().map(cpu).sum::<Option<u64>>()?;
        (!pod.containers.is_empty()).then(|| (pod.name(), sum))
    };
    list.items.iter().filter_map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn c122_an_hpa_reads_values_and_a_pod_just_started_is_absent_not_partial() {
    let rig = measured().await;
    rig.run(&Pod::new("shop", "db", NODE).label("app", "db"), 100);
    // The API server already says that it runs, and nobody has measured it.
    let started = web(9);
    rig.api.cluster.pods.put(started.object());
    let controller = controller(&rig);
    for version in VERSIONS {
        let path = format!("/apis/metrics.k8s.io/{version}/namespaces/shop/pods?labelSelector=app%3Dweb");
        let deadline = Instant::now() + DEADLINE;
        // Utilization and AverageValue are made of these sums.
        let expected = |sum: u64| (2 * MILLICORES..=2 * MILLICORES + 2).contains(&sum);
        loop {
            let values = values(&rig.get(&controller, &path).await, version);
            let names: Vec<&str> = values.keys().map(String::as_str).collect();
            assert_eq!(names, ["web-0", "web-1", "web-2"], "the started pod is not there at all");
            if values.values().all(|&sum| expected(sum)) {
                break;
            }
            assert!(Instant::now() < deadline, "{values:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
    // ContainerResource fails for all pods when one lacks the container, so each served pod has all of them.
    rig.fleet.run(&started, MILLICORES);
    let path = format!("{}/namespaces/shop/pods?labelSelector=app%3Dweb", BASES[1]);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let list = wire::pods(&rig.get(&controller, &path).await.body, "v1beta1");
        for pod in &list.items {
            let containers: Vec<&str> = pod.containers.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(containers, ["main", "sidecar"], "{}", pod.name());
        }
        if list.items.len() == 4 {
            break;
        }
        assert!(Instant::now() < deadline, "{} is never served", started.name);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c123_timestamps_never_go_back_for_a_poller_of_two_replicas() {
    let rig = Rig::start();
    let other = rig.replica("second");
    rig.agent(NODE, &[rig.ingest(), ingest(&other)]);
    for number in 0..3 {
        rig.run(&web(number), MILLICORES);
    }
    let (admin, path) = (rig.admin(), format!("{}/pods", BASES[1]));
    let targets = [rig.target(), target(&other)];
    for target in &targets {
        let deadline = Instant::now() + DEADLINE;
        while get(target, &admin, &path).await.items().len() < 3 {
            assert!(Instant::now() < deadline, "a replica serves nothing");
            sleep(Duration::from_millis(20)).await;
        }
    }
    // The real poller comes once a minute; a second and a bit is the shortest pause after which a timestamp of whole
    // seconds has to be new.
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..if long() { 60 } else { 10 } {
        let (mut seen, deadline) = (newest.clone(), Instant::now() + DEADLINE);
        // A batch may be late on a busy machine; a number never goes back.
        while seen.is_empty() || seen.iter().any(|(name, time)| newest.get(name) == Some(time)) {
            assert!(Instant::now() < deadline, "nothing newer than {newest:?} in round {round}");
            let list = get(&targets[round % 2], &admin, &path).await.items();
            assert_eq!(list.len(), 3);
            for pod in list {
                let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
                let (name, timestamp) = (text(&pod["metadata"]["name"]), text(&pod["timestamp"]));
                let before = seen.insert(name.clone(), timestamp.clone()).unwrap_or_default();
                assert!(before <= timestamp, "{name}: {timestamp} after {before} in round {round}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        newest = seen;
        sleep(Duration::from_millis(1500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c124_a_client_that_pages_ends_after_one_page() {
    let rig = measured().await;
    let who = rig.admin().header("accept", "application/json, */*");
    let (mut pages, mut more, mut names) = (0, String::new(), BTreeSet::new());
    loop {
        let path = format!("{}/pods?limit=1&continue={more}", BASES[1]);
        let list = rig.get(&who, &path).await.json();
        let items = list["items"].as_array().unwrap();
        names.extend(items.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()));
        pages += 1;
        more = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if more.is_empty() {
            break;
        }
        assert!(pages < 10, "it goes on and on");
    }
    assert_eq!((pages, names.len()), (1, 3));
}

/// The real polls come once a minute; a hundred rounds without a pause are more than the five minutes of the list.
#[tokio::test(flavor = "multi_thread")]
async fn c125_the_polls_of_an_api_server_get_only_200_and_304() {
    let rig = measured().await;
    for release in [Release::Beta, Release::Both, Release::Stable] {
        let mut seen: BTreeMap<(String, u16), usize> = BTreeMap::new();
        for _ in 0..if long() { 300 } else { 34 } {
            for polled in rig.api.poll(release) {
                *seen.entry((polled.path, polled.status)).or_default() += 1;
            }
        }
        eprintln!("c125 {release:?}: {seen:?}");
        assert!(seen.keys().all(|(_, status)| [200, 304].contains(status)), "{release:?}: {seen:?}");
        for path in ["/apis", "/openapi/v2", "/openapi/v3"] {
            assert!(
                seen.contains_key(&(path.to_owned(), 304)),
                "{path} is sent whole again and again: {seen:?}"
            );
        }
    }
    assert_eq!(rig.api.cluster.proxy.dials(), 1, "all over one connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn c127_a_deleted_pod_is_gone_with_the_event_and_not_with_a_later_scrape() {
    let rig = measured().await;
    let (admin, path) = (rig.admin(), format!("{}/namespaces/shop/pods", BASES[0]));
    let mut connection = rig.target().http2(admin.identity.as_ref()).await.unwrap();
    // Its containers go on and are measured: only the event says that it is gone.
    rig.api.cluster.pods.delete("shop", "web-1");
    let deleted = Instant::now();
    while ask(&mut connection, &admin, &path).await.unwrap().items().len() > 2 {
        assert!(deleted.elapsed() < DEADLINE, "it is still served");
    }
    eprintln!("c127: gone {:?} after its deletion", deleted.elapsed());
    let answer = rig.get(&admin, &format!("{path}/web-1")).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn c118_a_restart_behind_an_api_server_never_shows_as_a_wrong_answer() {
    let mut rig = measured().await;
    rig.api.cluster.reviews.issue("watcher", User::new("watcher", &["readers"]));
    assert!(rig.api.check_availability());
    let target = rig.api.target();
    let (answers, mut answered) = tokio::sync::watch::channel(0);
    let poller = tokio::spawn(async move {
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        let who = Who::bearer("watcher");
        let mut connection = target.http2(None).await.unwrap();
        loop {
            for base in BASES {
                let answer = ask(&mut connection, &who, base).await.unwrap();
                *statuses.entry(answer.status).or_default() += 1;
                answers.send_modify(|count| *count += 1);
                let whole = statuses.get(&200).is_some_and(|&count| count > 100);
                if answer.status == 200 && whole && statuses.contains_key(&503) {
                    return statuses;
                }
                assert!([200, 503].contains(&answer.status), "{answer:?}");
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    answered.wait_for(|&count| count > 20).await.expect("the poller goes on");
    let restarted = Instant::now();
    rig.aggregator = tokio::task::block_in_place(|| rig.aggregator.again());
    // Its authority is new; what writes it into the APIService is not part of this.
    rig.api.register(rig.address(), &rig.aggregator.api.authority());
    while !rig.api.check_availability() {
        assert!(restarted.elapsed() < DEADLINE, "the group stays unavailable");
        sleep(Duration::from_millis(20)).await;
    }
    eprintln!("c118: available {:?} after the restart began", restarted.elapsed());
    let statuses = tokio::time::timeout(DEADLINE, poller).await.expect("it comes back").unwrap();
    eprintln!("c118: {statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_follow_the_cluster_through_expired_versions_and_lost_connections() {
    let rig = measured().await;
    let (admin, path) = (rig.admin(), format!("{}/namespaces/shop/pods", BASES[0]));
    rig.api.disconnect();
    rig.api.cluster.pods.delete_unseen("shop", "web-0");
    let lost = Instant::now();
    rig.until(&admin, &path, |answer| answer.items().len() == 2).await;
    eprintln!("names are right {:?} after a lost connection and an expired version", lost.elapsed());
    rig.api.set_away(true);
    rig.logged("cannot watch the cluster", 1).await;
    rig.api.cluster.nodes.put(node("n2", &[]));
    rig.api.cluster.pods.delete_unseen("shop", "web-1");
    assert_eq!(rig.get(&admin, &path).await.items().len(), 2, "what is known stands");
    rig.api.set_away(false);
    let back = Instant::now();
    rig.until(&admin, &path, |answer| answer.items().len() == 1).await;
    eprintln!("names are right {:?} after the api server is back", back.elapsed());
}
