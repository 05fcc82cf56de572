use std::time::Duration;

use futures_util::StreamExt as _;
use kubevitals::wire;
use tokio::time::Instant;
use tonic::{Code, Request};

use super::{
    super::{
        model::Reader as Client,
        service::{Decoded, decoded},
        world::World,
    },
    *,
};
use crate::{
    auth::{
        Authenticator,
        access::Authorizer,
        access_review::AccessReviews,
        fake::{Answer, FakeCluster, access_review},
        token::StaticTokens,
    },
    metrics::auth::Auth,
    query::{access::Access, faults::Faults},
};

type Stop = CancellationToken;

fn watches(world: &World, limits: Limits) -> (Watches, Stop) {
    let stop = Stop::new();
    (Watches::new(world.view.clone(), limits, Watch::default(), stop.clone()), stop)
}

fn access(authorizer: Authorizer) -> Access {
    let tokens = StaticTokens::new([("alice", "alice"), ("bob", "bob")]);
    Access::new(Authenticator::Tokens(tokens), authorizer)
}

async fn caller(access: &Access, name: &str) -> Caller {
    let mut request = Request::new(());
    request.metadata_mut().insert("authorization", format!("Bearer {name}").parse().unwrap());
    access.caller(&mut request).await.unwrap()
}

async fn alice() -> Caller {
    caller(&access(Authorizer::Named), "alice").await
}

fn subject(every_ms: u64) -> Subject {
    let every = prost_types::Duration::try_from(Duration::from_millis(every_ms)).unwrap();
    let request = wire::WatchRequest { every: Some(every), ..wire::WatchRequest::default() };
    Subject::read(&request, Duration::from_secs(60), &mut Faults::default()).unwrap()
}

async fn open(watches: &Watches, resume: &str) -> Decoded {
    let reader = watches.open(subject(1000), alice().await, Position::parse(resume)).unwrap();
    decoded(Box::pin(reader.messages()))
}

/// A pod with numbers.
fn world() -> World {
    let mut world = World::new();
    world.pod("p", "u", "n0", "web", &["x".to_owned()]);
    (0..20).for_each(|_| world.tick("n0", |_| true, Duration::ZERO));
    world
}

/// One pod more, which has no numbers yet.
fn change(world: &mut World, nth: u32) {
    world.pod(&format!("q{nth}"), &format!("v{nth}"), "n0", "web", &[format!("y{nth}")]);
}

#[tokio::test(start_paused = true)]
async fn the_first_picture_comes_at_once_then_changes_and_heartbeats() {
    let mut world = world();
    let (watches, _stop) = watches(&world, Limits::default());
    let (mut watch, began) = (open(&watches, "").await, Instant::now());
    let first = watch.next().await.unwrap().unwrap();
    assert!(first.full && !first.more && first.usages.len() == 1);
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    change(&mut world, 0);
    let second = watch.next().await.unwrap().unwrap();
    assert!(!second.full && second.usages.is_empty() && second.absent.len() == 1);
    assert!(began.elapsed() <= Duration::from_secs(2));
    let heartbeat = watch.next().await.unwrap().unwrap();
    assert_eq!((heartbeat.position, heartbeat.absent.len()), (second.position, 0));
    assert!((5..=7).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn those_who_watch_the_same_share_one_feed_and_one_encoding() {
    let world = world();
    let (watches, _stop) = watches(&world, Limits::default());
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(Box::pin(watches.open(subject(1000), alice().await, None).unwrap().messages()));
    }
    let mut all = Vec::new();
    for watch in &mut sent {
        all.push(watch.next().await.unwrap().unwrap().items.as_ptr());
    }
    assert!(all.windows(2).all(|two| two[0] == two[1]));
    assert_eq!(watches.metrics.feeds.get(), 1);
    let other = watches.open(subject(2000), alice().await, None).unwrap();
    assert_eq!(watches.metrics.feeds.get(), 2);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn whoever_returns_within_a_minute_is_told_what_changed_and_elsewhere_everything() {
    let mut world = world();
    let (here, _stop) = watches(&world, Limits::default());
    let (elsewhere, _stop) = watches(&world, Limits::default());
    let mut client = Client::default();
    client.take(&open(&here, "").await.next().await.unwrap().unwrap());
    change(&mut world, 0);
    tokio::time::sleep(Duration::from_secs(50)).await;
    let message = open(&here, &client.position).await.next().await.unwrap().unwrap();
    assert!(!message.full && message.absent.len() == 1 && message.conflated == 0);
    assert!(open(&elsewhere, &client.position).await.next().await.unwrap().unwrap().full);
    assert!(open(&here, "forged").await.next().await.unwrap().unwrap().full);
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!((here.metrics.feeds.get(), here.metrics.items.get()), (0, 0), "it is forgotten");
    assert!(open(&here, &client.position).await.next().await.unwrap().unwrap().full);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_delays_no_other_and_wakes_to_the_newest() {
    let mut world = world();
    let (watches, _stop) = watches(&world, Limits::default());
    let (mut quick, mut stuck) = (open(&watches, "").await, open(&watches, "").await);
    let (mut reader, mut late) = (Client::default(), Client::default());
    reader.take(&quick.next().await.unwrap().unwrap());
    late.take(&stuck.next().await.unwrap().unwrap());
    for nth in 0..30 {
        change(&mut world, nth);
        let changed = Instant::now();
        reader.take(&quick.next().await.unwrap().unwrap());
        assert!(changed.elapsed() <= Duration::from_secs(1));
    }
    let message = stuck.next().await.unwrap().unwrap();
    assert_eq!((message.full, message.conflated, message.absent.len()), (false, 29, 30));
    late.take(&message);
    assert_eq!(late.held, reader.held);
    assert_eq!(watches.metrics.conflated.get(), 29);
}

#[tokio::test(start_paused = true)]
async fn limits_are_told_by_name_and_an_idle_feed_gives_way() {
    let mut world = world();
    let limits = Limits { feeds: 2, items: 3, watches_of_one: 2, ..Limits::default() };
    let (watches, _stop) = watches(&world, limits);
    let mut first = open(&watches, "").await;
    first.next().await.unwrap().unwrap();
    let second = watches.open(subject(2000), alice().await, None).unwrap();
    let refused = watches.open(subject(3000), alice().await, None).unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "watches of one caller: at most 2")
    );
    let bob = || async { caller(&access(Authorizer::Named), "bob").await };
    let refused = watches.open(subject(3000), bob().await, None).unwrap_err();
    assert_eq!(refused.message(), "different selections that are watched: at most 2");
    drop(second);
    let mut third = decoded(Box::pin(watches.open(subject(3000), bob().await, None).unwrap().messages()));
    assert!(third.next().await.unwrap().unwrap().full);
    assert_eq!(watches.metrics.feeds.get(), 2);
    // More than there is room for.
    (0..5).for_each(|nth| change(&mut world, nth));
    let over = first.next().await.unwrap().unwrap_err();
    assert_eq!((over.code(), over.message()), (Code::ResourceExhausted, "watched items: at most 3"));
    assert!(first.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn all_watches_end_when_the_server_stops() {
    let world = world();
    let (watches, stop) = watches(&world, Limits::default());
    let mut watch = open(&watches, "").await;
    watch.next().await.unwrap().unwrap();
    stop.cancel();
    let began = Instant::now();
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(100));
    let refused = watches.open(subject(1000), alice().await, None).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_watch_any_more_is_told_within_a_minute_and_a_quarter() {
    let world = world();
    let (watches, _stop) = watches(&world, Limits::default());
    let may = |allowed: bool| {
        move |_: &str, _: &serde_json::Value| access_review(&serde_json::json!({"allowed": allowed}))
    };
    let (cluster, client) = FakeCluster::new(may(true));
    let metrics = Auth::default();
    let reviews = AccessReviews::new(client, Duration::from_secs(10), Duration::from_secs(10), &metrics);
    let access = access(Authorizer::Delegated { reviews, metrics: metrics.authorization.clone() });
    let began = Instant::now();
    let reader = watches.open(subject(60_000), caller(&access, "alice").await, None).unwrap();
    let mut watch = decoded(Box::pin(reader.messages()));
    watch.next().await.unwrap().unwrap();
    cluster.set(may(false));
    let mut last = watch.next().await.unwrap();
    while last.is_ok() {
        last = watch.next().await.unwrap();
    }
    assert_eq!(last.unwrap_err().code(), Code::PermissionDenied);
    assert!((60..=76).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_makes_no_watch_fall_silent() {
    let metrics = Auth::default();
    let granted = |_: &str, _: &serde_json::Value| access_review(&serde_json::json!({"allowed": true}));
    let (cluster, client) = FakeCluster::new(granted);
    let reviews = AccessReviews::new(client, Duration::from_secs(1), Duration::from_secs(1), &metrics);
    let access = access(Authorizer::Delegated { reviews, metrics: metrics.authorization.clone() });
    let world = world();
    let (watches, _stop) = watches(&world, Limits::default());
    let reader = watches.open(subject(1000), caller(&access, "alice").await, None).unwrap();
    let mut watch: Decoded = decoded(Box::pin(reader.messages()));
    cluster.set(|_: &str, _: &serde_json::Value| Answer::Hang);
    let (began, mut heard) = (Instant::now(), Instant::now());
    while began.elapsed() < Duration::from_secs(240) {
        watch.next().await.unwrap().unwrap();
        assert!(heard.elapsed() < Duration::from_secs(7), "silent for {:?}", heard.elapsed());
        heard = Instant::now();
    }
    assert!(!cluster.calls().is_empty());
}
