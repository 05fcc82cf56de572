//! One selection that is watched, computed once for all who watch it.
//!
//! A task of its own looks each `every` and publishes pictures; readers come for them when they have room. Nothing that a
//! reader does is waited for here. While nobody watches, the feed rests: its picture stays for [`LINGER`], so that whoever
//! was cut off finds it and is told what changed since.

use std::{sync::Arc, time::Duration};

use kubevitals::wire;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};
use tonic::Status;

use super::{
    look::{Looker, Looks},
    picture::Picture,
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
    pub subject: Subject,
    /// Tells this feed from any other, also of other replicas.
    pub number: u64,
    pictures: watch::Sender<Published>,
    /// Somebody watches again.
    woken: Notify,
}

impl Feed {
    /// A feed that was not looked at yet.
    #[must_use]
    pub fn new(subject: Subject, number: u64) -> Self {
        let before =
            Published { picture: Arc::default(), looked: None, wall: Duration::ZERO, ended: None };
        Self { subject, number, pictures: watch::Sender::new(before), woken: Notify::new() }
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

    /// Looks until nobody has watched for a while and `may_end` agrees.
    pub async fn run(&self, mut looker: Looker, mut items: Items, metrics: Watch, may_end: impl Fn() -> bool) {
        loop {
            let began = Instant::now();
            let looks = looker.look(&self.subject).await;
            if let Err(status) = self.publish(&looker, looks, &mut items, began) {
                self.pictures.send_modify(|published| published.ended = Some(Arc::new(status)));
                return;
            }
            metrics.looked(began.elapsed());
            if self.is_idle() {
                if self.is_over().await && may_end() {
                    return;
                }
                continue;
            }
            sleep_until((began + self.subject.every).max(Instant::now())).await;
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
    fn publish(&self, looker: &Looker, looks: Looks, items: &mut Items, began: Instant) -> Result<(), Status> {
        items.resize(looks.found.len())?;
        let before = Arc::clone(&self.pictures.borrow().picture);
        let left = |item: &super::picture::Item| looker.left(&self.subject.selection, item);
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
