//! Clients that do what no client should: the server refuses them, and answers others meanwhile.

use std::time::{Duration, Instant};

use kubevitals::wire::{ListRequest, Selection};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tonic::Code;

use crate::{
    caller::{Caller, post, target},
    rig::{DEADLINE, Rig},
};

/// What an honest caller may wait for an answer while others attack, on busy cores.
const PROMPT: Duration = Duration::from_secs(5);

async fn answers(admin: &Caller) {
    let begun = Instant::now();
    admin.list(ListRequest::default()).await.unwrap();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_over_the_limits_is_refused_at_each_of_them() {
    let rig = Rig::start();
    let admin = Caller::new(&rig, &rig.admin()).await;
    let selector = |length: usize| Selection { label_selector: "a".repeat(length), ..Selection::default() };
    let long = admin.select(selector((64 << 10) + 1)).await.unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument, "{long}");
    let huge = admin.select(selector(2 << 20)).await.unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange, "more than a message may be: {huge}");
    let names = (0..50_000).map(|n| format!("n{n}")).collect();
    let many = admin.select(Selection { names, ..Selection::default() }).await.unwrap_err();
    assert_eq!(many.code(), Code::InvalidArgument, "{many}");
    answers(&admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_metadata_is_refused_and_the_next_request_is_not() {
    let rig = Rig::start();
    let admin = Caller::new(&rig, &rig.admin()).await;
    let mut request = admin.request(ListRequest::default());
    for n in 0..2000 {
        let key = tonic::metadata::MetadataKey::from_bytes(format!("x-{n}").as_bytes()).unwrap();
        request.metadata_mut().insert(key, "x".repeat(100).parse().unwrap());
    }
    let refused = admin.client().list(request).await.unwrap_err();
    eprintln!("endless metadata: {refused}");
    let admin = Caller::new(&rig, &rig.admin()).await;
    answers(&admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection_alone() {
    let rig = Rig::start();
    let admin = Caller::new(&rig, &rig.admin()).await;
    let target = target(&rig);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let garbage: [Vec<u8>; 4] = [
        vec![0xff; 4096],
        [preface.clone(), vec![0xff; 4096]].concat(),
        [preface, vec![0; 9], vec![0x13; 4096]].concat(),
        b"POST /kubevitals.v1.Query/List HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
    ];
    for bytes in garbage {
        let mut stream = target.connect(target.tls(None, b"h2")).await.unwrap();
        drop(stream.write_all(&bytes).await);
        let mut answer = Vec::new();
        drop(timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the server ends it"));
        answers(&admin).await;
    }
    // Frames of gRPC that hold no message.
    let mut codes = Vec::new();
    for body in [&[0_u8, 0, 0, 0, 9, 1][..], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 2, 0xff, 0xff], &[9; 64]] {
        codes.push(post(&rig, &rig.admin(), body).await);
    }
    eprintln!("frames without a message: {codes:?}");
    assert!(codes.iter().all(|code| code.as_deref() != Some("0")), "{codes:?}");
    answers(&admin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_ask_nothing_hold_up_nobody() {
    let rig = Rig::start();
    let admin = Caller::new(&rig, &rig.admin()).await;
    let target = target(&rig);
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(target.connect(target.tls(None, b"h2")).await.unwrap());
    }
    answers(&admin).await;
    let newcomer = Caller::new(&rig, &rig.admin()).await;
    answers(&newcomer).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_at_a_time_are_told_to_come_back() {
    let rig = Rig::start();
    let reader = Caller::new(&rig, &rig.reader()).await;
    // From then on its connection is no stranger's, and all that it asks is counted together. What it may elsewhere is
    // another question than the one that hangs.
    let elsewhere = Selection { namespaces: vec!["elsewhere".to_owned()], ..Selection::default() };
    assert!(reader.select(elsewhere).await.unwrap().usages.is_empty());
    rig.api.cluster.reviews.of_access.fail(crate::apiserver::reviews::Fault::Hang);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..80 {
        let reader = reader.clone();
        waiting.spawn(async move { reader.list(ListRequest::default()).await.unwrap_err().code() });
    }
    let mut codes = Vec::new();
    while let Some(code) = waiting.join_next().await {
        codes.push(code.unwrap());
    }
    let turned_away = codes.iter().filter(|&&code| code == Code::ResourceExhausted).count();
    assert_eq!(turned_away, 80 - 64, "{codes:?}");
    // Those that waited for the review were told that it could not be found out.
    assert_eq!(codes.iter().filter(|&&code| code == Code::Unavailable).count(), 64, "{codes:?}");
}
