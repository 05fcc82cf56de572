//! The bench `watch` in small, over the same wire: whoever takes nothing of its stream delays no other, and wakes to the
//! newest numbers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "bench/watch/client.rs"]
mod client;
#[path = "bench/watch/server.rs"]
mod server;
#[path = "bench/list/world.rs"]
#[expect(dead_code, reason = "the nodes tick otherwise here")]
mod world;

use std::time::Duration;

use client::{Counted, Watcher};
use server::{Running, Scene};
use tokio::{sync::watch, task::JoinSet, time::timeout};

const PODS: usize = 300;
const EVERY: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(60);

/// A watcher who was told everything once.
async fn watcher(running: &Running) -> Watcher {
    let mut watcher = Watcher::begin(running.port, &running.authority, EVERY, true).await;
    while !watcher.read().await {}
    assert_eq!((watcher.counted.full, watcher.held()), (1, PODS));
    watcher.counted = Counted::default();
    watcher
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_takes_nothing_delays_no_other_and_wakes_to_the_newest() {
    let running = server::start(Scene { pods: PODS, changing: PODS, tick: EVERY }).await;
    let mut stuck = watcher(&running).await;
    let (end, ends) = watch::channel(false);
    let mut others = JoinSet::new();
    for _ in 0..3 {
        others.spawn(watcher(&running).await.run(ends.clone()));
    }
    // Far more than all buffers between here and there: each tick is some 70 kB.
    let mut quick = watcher(&running).await;
    let reading = async {
        for _ in 0..40 {
            while !quick.read().await {}
        }
    };
    timeout(DEADLINE, reading).await.expect("it is not delayed");
    others.spawn(quick.run(ends.clone()));
    let catching_up = async { while !stuck.read().await || stuck.counted.conflated == 0 {} };
    timeout(DEADLINE, catching_up).await.expect("it is told that ticks were left out");
    let (messages, conflated) = (stuck.counted.messages, stuck.counted.conflated);
    assert!(conflated >= 10, "{conflated} ticks left out");
    assert!(messages <= 30, "{messages} messages until then");
    for _ in 0..5 {
        while !stuck.read().await {}
    }
    end.send(true).unwrap();
    for other in others.join_all().await {
        assert_eq!(other.counted.full, 0);
        assert!(other.counted.conflated < conflated / 2, "{} ticks left out", other.counted.conflated);
        let common = stuck.digests.iter().filter(|(tick, _)| other.digests.contains_key(*tick));
        let (same, different): (Vec<_>, Vec<_>) =
            common.partition(|(tick, digest)| other.digests[*tick] == **digest);
        assert!(same.len() > 1 && different.is_empty(), "{} and {}", same.len(), different.len());
    }
}
