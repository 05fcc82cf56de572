//! The client library against the program: a watch that outlives the replica it began at.

use std::time::{Duration, Instant};

use kubevitals::{
    client::{Client, Event, Mirror, Watch},
    wire::{Selection, WatchRequest},
};
use tokio::time::timeout;

use crate::{
    apiserver::make::Pod,
    consumer::{READER, endpoint, options, pod, reader, until_served},
    program::PATIENCE,
    rig::{NODE, Rig, ingest},
};

/// A watch of one namespace, and what it told.
struct Watching {
    watch: Watch,
    mirror: Mirror,
}

impl Watching {
    fn new(client: &Client) -> Self {
        let selection = Some(Selection { namespaces: vec!["shop".to_owned()], ..Selection::default() });
        let request = WatchRequest { selection, ..WatchRequest::default() };
        Self { watch: client.watch(request), mirror: Mirror::default() }
    }

    /// Goes on until a whole picture is held that is of a later moment than `after`; says whether it was interrupted.
    async fn until_whole(&mut self, after: Instant) -> bool {
        let mut was_interrupted = false;
        loop {
            let event = timeout(PATIENCE, self.watch.next()).await.expect("an event in time").unwrap();
            was_interrupted |= matches!(event, Event::Interrupted(_));
            let is_news = !matches!(event, Event::Interrupted(_)) && Instant::now() > after;
            self.mirror.apply(event, Instant::now());
            if is_news && self.mirror.is_whole() && self.mirror.usages().count() == 2 {
                return was_interrupted;
            }
        }
    }
}

/// Two replicas with an authority each; whoever watches at the one that is killed goes on at the other.
#[tokio::test(flavor = "multi_thread")]
async fn watches_go_on_at_another_replica_when_theirs_is_killed() {
    let mut rig = Rig::start();
    let second = rig.replica("second");
    for name in ["web-0", "web-1"] {
        rig.run(&Pod::new("shop", name, NODE), 100);
    }
    rig.agent(NODE, &[rig.ingest(), ingest(&second)]);
    let authorities = rig.files.path().join("both.pem");
    std::fs::write(&authorities, rig.aggregator.api.authority() + &second.api.authority()).unwrap();
    let first = reader(&rig);
    for name in ["web-0", "web-1"] {
        until_served(&first, pod("shop", name)).await;
    }
    let both = options(&rig).ca_file(authorities).token(READER).endpoint(&endpoint(&second)).unwrap();
    // Each begins at the address after that of the one before.
    let client = Client::new(both);
    let mut watches: Vec<Watching> = (0..4).map(|_| Watching::new(&client)).collect();
    for watching in &mut watches {
        assert!(!watching.until_whole(Instant::now()).await);
    }
    tokio::task::block_in_place(|| rig.aggregator.program.kill());
    let after = Instant::now() + Duration::from_secs(1);
    let mut interrupted = 0;
    for watching in &mut watches {
        interrupted += usize::from(watching.until_whole(after).await);
    }
    assert_eq!(interrupted, 2, "those that were at the first replica, and no others");
    assert!(after.elapsed() < Duration::from_secs(10), "{:?}", after.elapsed());
}
