//! What is told: the API's numbers, by every condition, with a window of the caller's, page by page.

use std::{collections::BTreeMap, time::Duration};

use kubevitals::wire::{
    AbsenceReason, Level, ListRequest, ListResponse, Owner, PodRef, RawRequest, Selection, Source, Usage,
    raw_request::Subject,
};
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    api::forms,
    apiserver::{make::Pod, reviews::User},
    caller::{Caller, name, names, post},
    fleet::{Load, MEMORY},
    rig::{BASES, NODE, Rig},
};

fn all() -> ListRequest {
    ListRequest::default()
}

fn selected(selection: Selection) -> ListRequest {
    ListRequest { selection: Some(selection), ..all() }
}

/// Three pods of two containers each, two of which a Deployment owns.
async fn shop() -> (Rig, Caller) {
    let rig = Rig::start();
    rig.agent(NODE, &[rig.ingest()]);
    for (nth, pod) in ["web-1", "web-2", "db-0"].into_iter().enumerate() {
        let app = pod.split('-').next().unwrap();
        let pod = Pod::new("shop", pod, NODE).label("app", app).containers(&["main", "side"]);
        let load = |millicores| Load { millicores, memory: MEMORY };
        let nth = u64::try_from(nth).unwrap();
        rig.fleet.run_with(&pod, &[load(100 * (nth + 1)), load(50)]);
        rig.api.cluster.pods.put(owned(pod, app));
    }
    let admin = Caller::new(&rig, &rig.admin()).await;
    admin.until(&all(), |answer| answer.usages.len() == 3).await;
    (rig, admin)
}

fn owned(pod: Pod, app: &str) -> Value {
    let hashed = pod.label("pod-template-hash", "6d5f8");
    let (kind, name) = match app {
        "web" => ("ReplicaSet", format!("{app}-6d5f8")),
        _ => ("StatefulSet", app.to_owned()),
    };
    let mut object = hashed.object();
    object["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "Node", "name": "no-controller", "uid": "x"},
        {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true},
    ]);
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_window_gives_the_apis_numbers() {
    let (rig, admin) = shop().await;
    // Both answers are of the same tick when the one before and the one after are the same.
    for _ in 0..100 {
        let before = admin.list(all()).await.unwrap();
        let pods = rig.get(&rig.admin(), &format!("{}/pods", BASES[0])).await.items();
        let containers = selected(Selection { level: Level::Containers.into(), ..Selection::default() });
        let containers = admin.list(containers).await.unwrap();
        if admin.list(all()).await.unwrap() != before {
            continue;
        }
        assert_eq!((before.usages.len(), containers.usages.len(), pods.len()), (3, 6, 3));
        let mut each = containers.usages.iter();
        for (theirs, ours) in pods.iter().map(forms::pod).zip(&before.usages) {
            assert_eq!(theirs.timestamp, u64::try_from(ours.time.unwrap().seconds).unwrap());
            assert_eq!(theirs.window, Duration::try_from(ours.window.unwrap()).unwrap());
            assert_eq!((ours.source(), ours.held), (Source::Agent, false));
            let two: BTreeMap<String, forms::Usage> = each.by_ref().take(2).map(container).collect();
            let sum: u64 = two.values().map(|usage| usage.nanocores).sum();
            assert_eq!((&theirs.containers, ours.cpu_nanocores), (&two, sum));
        }
        let node = rig.get(&rig.admin(), &format!("{}/nodes/{NODE}", BASES[0])).await.json();
        let nodes = selected(Selection { level: Level::Nodes.into(), ..Selection::default() });
        let nodes = admin.list(nodes).await.unwrap().usages;
        assert_eq!(forms::usage(&node["usage"]).nanocores, nodes[0].cpu_nanocores);
        return;
    }
    panic!("no two answers of one tick");
}

/// A container by its name.
fn container(of: &Usage) -> (String, forms::Usage) {
    let subject = of.subject.as_ref().unwrap();
    assert_eq!((subject.pod_uid.len(), subject.container_id.len()), (36, 64));
    (subject.container.clone(), forms::Usage { nanocores: of.cpu_nanocores, memory: of.working_set_bytes })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_condition_selects() {
    let (rig, admin) = shop().await;
    let none = Selection::default;
    let found = async |selection: Selection| names(&admin.select(selection).await.unwrap().usages);
    let web = ["shop/web-1", "shop/web-2"];
    assert_eq!(found(Selection { label_selector: "app=web".to_owned(), ..none() }).await, web);
    assert_eq!(found(Selection { names: vec!["db-0".to_owned()], ..none() }).await, ["shop/db-0"]);
    assert_eq!(found(Selection { node: "other".to_owned(), ..none() }).await, [] as [&str; 0]);
    assert_eq!(found(Selection { namespaces: vec!["other".to_owned()], ..none() }).await, [] as [&str; 0]);
    let uid = Pod::new("shop", "web-2", NODE).uid();
    assert_eq!(found(Selection { uids: vec![uid], ..none() }).await, ["shop/web-2"]);
    let owner = |kind: &str, name: &str, uid: &str| Selection {
        owner: Some(Owner { kind: kind.to_owned(), name: name.to_owned(), uid: uid.to_owned() }),
        ..none()
    };
    assert_eq!(found(owner("Deployment", "web", "")).await, web);
    assert_eq!(found(owner("ReplicaSet", "web-6d5f8", "uid-web-6d5f8")).await, web);
    assert_eq!(found(owner("StatefulSet", "", "")).await, ["shop/db-0"]);
    assert_eq!(found(owner("Node", "", "")).await, [] as [&str; 0]);
    let side = Selection { level: Level::Containers.into(), containers: vec!["side".to_owned()], ..none() };
    assert_eq!(found(side).await, ["shop/db-0/side", "shop/web-1/side", "shop/web-2/side"]);
    drop(rig);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_the_callers_is_true_and_has_its_short_rates() {
    let (_rig, admin) = shop().await;
    let window = |seconds| ListRequest {
        window: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..selected(Selection { names: vec!["db-0".to_owned()], ..Selection::default() })
    };
    // The agents tick in steps of exactly 300 ms, so a window is within half of one of what is asked for.
    let length = |usage: &Usage| Duration::try_from(usage.window.unwrap()).unwrap();
    let least = Duration::from_millis(5850);
    let is_long = |answer: &ListResponse| answer.usages.first().is_some_and(|usage| length(usage) >= least);
    let answer = admin.until(&window(6), is_long).await;
    let usage = &answer.usages[0];
    assert!(length(usage) <= Duration::from_millis(6150), "{:?}", length(usage));
    assert_eq!((usage.cpu_nanocores, usage.working_set_bytes), (350_000_000, 2 * MEMORY));
    let short = usage.cpu_distribution.unwrap();
    // Constant load: every short rate is the rate.
    assert_eq!((short.p50, short.p99, short.max), (350_000_000, 350_000_000, 350_000_000));
    assert!((5..=20).contains(&short.count), "{short:?}");
    let without = ListRequest { without_distribution: true, ..window(1) };
    assert_eq!(admin.list(without).await.unwrap().usages[0].cpu_distribution, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_make_up_the_list_while_pods_come_and_go() {
    let (rig, admin) = shop().await;
    for nth in 0..40 {
        rig.run(&Pod::new("crowd", &format!("p-{nth:02}"), NODE).containers(&["a", "b"]), 10);
    }
    let containers = Selection {
        level: Level::Containers.into(),
        namespaces: vec!["crowd".to_owned()],
        ..Selection::default()
    };
    let request = ListRequest { page_size: 7, ..selected(containers) };
    let whole = ListRequest { page_size: 0, ..request.clone() };
    let whole = admin.until(&whole, |answer| answer.usages.len() == 80).await;
    let (told, pages) = admin.pages(request.clone()).await;
    assert_eq!((names(&told), pages), (names(&whole.usages), 12));
    // Each page sees another cluster; what is there all the time is told once, and in order.
    let churning = async {
        for nth in 0..40 {
            let pod = Pod::new("crowd", &format!("q-{nth:02}"), NODE);
            rig.run(&pod, 10);
            rig.fleet.end(&pod);
            rig.api.cluster.pods.delete("crowd", &pod.name);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let ((told, _), ()) = tokio::join!(admin.pages(request), churning);
    let stayed: Vec<String> = told.iter().map(name).filter(|name| name.contains("/p-")).collect();
    assert_eq!(stayed, names(&whole.usages));
    assert!(names(&told).is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_numbers_is_named_with_its_reason() {
    let (rig, admin) = shop().await;
    rig.api.cluster.pods.put(Pod::new("shop", "unmeasured", NODE).object());
    rig.api.cluster.nodes.put(crate::apiserver::make::node("silent", &[]));
    rig.api.cluster.pods.put(Pod::new("shop", "unheard", "silent").object());
    let answer = admin.until(&all(), |answer| answer.absent.len() == 2).await;
    let reasons: Vec<_> =
        answer.absent.iter().map(|one| (one.subject.as_ref().unwrap().pod.as_str(), one.reason())).collect();
    assert_eq!(reasons, [("unheard", AbsenceReason::NoAgent), ("unmeasured", AbsenceReason::NotMeasured)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_counters_say_what_the_rates_are_made_of() {
    let (_rig, admin) = shop().await;
    let pod = PodRef { namespace: "shop".to_owned(), name: "web-1".to_owned() };
    let mut request = RawRequest { subject: Some(Subject::Pod(pod)), after_time_us: 0 };
    let answer = admin.raw(request.clone()).await.unwrap();
    let containers: Vec<_> =
        answer.series.iter().map(|series| series.subject.as_ref().unwrap().container.clone()).collect();
    assert_eq!(containers, ["main", "side"]);
    let main = &answer.series[0];
    assert_eq!((main.ended, main.boot_id.as_str()), (false, "made-up"));
    for pair in main.samples.windows(2) {
        let (micros, used) = (pair[1].time_us - pair[0].time_us, pair[1].cpu_ns - pair[0].cpu_ns);
        assert!(micros > 0);
        assert_eq!(used, micros * 100, "100 thousandths of a CPU are 100 ns a microsecond");
    }
    let last = main.samples.last().unwrap();
    request.after_time_us = last.time_us;
    let later = admin.raw(request).await.unwrap();
    assert!(later.series[0].samples.iter().all(|sample| sample.time_us > last.time_us));
    let nothing = admin.raw(RawRequest::default()).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    let node = RawRequest { subject: Some(Subject::Node(NODE.to_owned())), after_time_us: 0 };
    assert_eq!(admin.raw(node).await.unwrap().series.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_request_is_told_with_its_field() {
    let (rig, admin) = shop().await;
    let faulty = ListRequest {
        selection: Some(Selection {
            level: Level::Nodes.into(),
            namespaces: vec!["a".to_owned()],
            label_selector: "a=(".to_owned(),
            ..Selection::default()
        }),
        window: Some(prost_types::Duration { seconds: 61, nanos: 0 }),
        page_size: 5001,
        page_token: "x".to_owned(),
        ..ListRequest::default()
    };
    let status = admin.list(faulty.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let told = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<&str> = told.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        ["selection.label_selector", "selection.namespaces", "window", "page_size", "page_token"]
    );
    eprintln!("{}", status.message());
    // Whoever may nothing at all learns that first of all about itself; a fault says nothing of the cluster.
    let nobody = Caller::new(&rig, &rig.proxied(&User::new("nobody", &[]))).await;
    assert_eq!(nobody.list(faulty).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_is_over_is_told_as_such_and_counted() {
    let (rig, admin) = shop().await;
    rig.api.cluster.reviews.of_access.fail(crate::apiserver::reviews::Fault::Hang);
    // By hand, as tonic's client would end the call itself.
    let reader = rig.reader().header("grpc-timeout", "300m");
    let begun = std::time::Instant::now();
    let status = post(&rig, &reader, &[0; 5]).await;
    let took = begun.elapsed();
    // DEADLINE_EXCEEDED.
    assert_eq!(status.as_deref(), Some("4"));
    assert!(took < Duration::from_secs(5), "{took:?}");
    drop(admin);
    let late = "kubevitals_aggregator_query_requests_total{method=\"list\",code=\"DEADLINE_EXCEEDED\"}";
    assert!(rig.aggregator.metrics().get(late) >= 1.0);
}
