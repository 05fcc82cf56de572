//! One selection that is watched, computed once for all who watch it.
//!
//! A task of its own looks each `every` and publishes pictures; readers come for them when they have room. Nothing that a
//! reader does is waited for here. While nobody watches, the feed rests: its picture stays for [`LINGER`], so that whoever
//! was cut off finds it and is told what changed since.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    look::{Looker, Looks},
    picture::{Item, Picture},
    seats::Items,
};
use crate::{
    metrics::watch::Watch,
    query::{item::Wanted, selection::Selection},
};

/// For how long a feed that nobody watches is kept.
pub const LINGER: Duration = Duration::from_secs(60);

/// What is watched; equal ones share a feed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Which nodes, pods or containers.
    pub selection: Selection,
    /// Which numbers of them.
    pub wanted: Wanted,
    /// How often.
    pub every: Duration,
}

/// The newest picture, and when it was last true.
#[derive(Debug, Clone)]
pub struct Published {
    /// The picture.
    pub picture: Arc<Picture>,
    /// When the last look began; none before the first.
    pub looked: Option<Instant>,
    /// The same by the wall clock, since 1970.
    pub wall: Duration,
    /// Why it goes no further.
    pub ended: Option<Arc<Status>>,
}

/// What readers and the feed's task share.
#[derive(Debug)]
pub struct Feed {
    /// What is watched.
    pub subject: Arc<Subject>,
    /// Tells this feed from any other, also of other replicas.
    pub number: u64,
    pictures: watch::Sender<Published>,
    /// Somebody watches again.
    woken: Notify,
    /// It is to end.
    stop: CancellationToken,
}

impl Feed {
    /// A feed that was not looked at yet.
    #[must_use]
    pub fn new(subject: Arc<Subject>, number: u64, stop: CancellationToken) -> Self {
        let before = Published { picture: Arc::default(), looked: None, wall: Duration::ZERO, ended: None };
        Self { subject, number, pictures: watch::Sender::new(before), woken: Notify::new(), stop }
    }

    /// One more reader.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Published> {
        let pictures = self.pictures.subscribe();
        self.woken.notify_one();
        pictures
    }

    /// Whether nobody watches.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pictures.receiver_count() == 0
    }

    /// Ends it for good; whoever still watches is told `why`.
    pub fn end(&self, why: Status) {
        self.pictures.send_if_modified(|published| {
            let is_first = published.ended.is_none();
            published.ended.get_or_insert_with(|| Arc::new(why));
            is_first
        });
        self.stop.cancel();
    }

    /// Looks until nobody has watched for a while and `may_end` agrees, or it is ended.
    pub async fn run(&self, looker: Looker, items: Items, metrics: Watch, may_end: impl Fn() -> bool) {
        let looking = self.look(looker, items, metrics, may_end);
        if let Some(Err(status)) = self.stop.run_until_cancelled(looking).await {
            self.end(status);
        }
    }

    async fn look(
        &self,
        mut looker: Looker,
        mut items: Items,
        metrics: Watch,
        may_end: impl Fn() -> bool,
    ) -> Result<(), Status> {
        loop {
            let began = Instant::now();
            let looks = looker.look(&self.subject).await;
            self.publish(&looker, looks, &mut items, began)?;
            metrics.looked(began.elapsed());
            if self.is_idle() && self.is_over().await && may_end() {
                return Ok(());
            }
            sleep_until(began + self.subject.every).await;
        }
    }

    /// Waits until somebody watches again, or it has been long enough.
    async fn is_over(&self) -> bool {
        tokio::select! {
            () = self.woken.notified() => false,
            () = sleep(LINGER) => true,
        }
    }

    /// Makes the next picture.
    fn publish(
        &self,
        looker: &Looker,
        looks: Looks,
        items: &mut Items,
        began: Instant,
    ) -> Result<(), Status> {
        items.resize(looks.found.len())?;
        let before = Arc::clone(&self.pictures.borrow().picture);
        let left = |item: &Item| looker.left(&self.subject.selection, item);
        let next = before.next(looks.found, left, began);
        self.pictures.send_modify(|published| {
            if let Some(next) = next {
                published.picture = Arc::new(next);
            }
            published.looked = Some(began);
            published.wall = looks.wall;
        });
        Ok(())
    }
}
