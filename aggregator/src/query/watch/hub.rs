//! All feeds, found by what they are about.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    cursor::Cursor,
    feed::{Feed, Subject},
    look::Looker,
    position::Position,
    reader::Reader,
    seats::{Limits, Seats},
};
use crate::{
    metrics::watch::{Limit, Watch},
    query::access::Caller,
    view::View,
};

/// All that is watched; cheap to clone.
#[derive(Debug, Clone)]
pub struct Watches {
    view: View,
    seats: Seats,
    feeds: Arc<Mutex<Feeds>>,
    metrics: Watch,
    shutdown: CancellationToken,
}

type Feeds = HashMap<Arc<Subject>, Arc<Feed>, RandomState>;

/// Takes a feed out of the others when its task ends, in whatever way.
struct Listed {
    watches: Watches,
    feed: Arc<Feed>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.watches.forget(&self.feed, |_| true);
        // Somebody hears this only when the task ended before its time.
        self.feed.end(stopping());
    }
}

impl Watches {
    /// Nothing is watched yet. All watches end with `shutdown`.
    #[must_use]
    pub fn new(view: View, limits: Limits, metrics: Watch, shutdown: CancellationToken) -> Self {
        let seats = Seats::new(limits, metrics.clone());
        Self { view, seats, feeds: Arc::default(), metrics, shutdown }
    }

    /// The view that is watched.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    fn feeds(&self) -> MutexGuard<'_, Feeds> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more reader, who may read what it asks for. `RESOURCE_EXHAUSTED` when there is no place for it.
    pub fn open(&self, subject: Subject, caller: Caller, resume: Option<Position>) -> Result<Reader, Status> {
        if self.shutdown.is_cancelled() {
            return Err(stopping());
        }
        let seat = self.seats.sit(&caller.user().name)?;
        let mut feeds = self.feeds();
        let feed = match feeds.get(&subject) {
            Some(feed) => Arc::clone(feed),
            None => self.begin(&mut feeds, subject, &caller.user().name)?,
        };
        let resumed = resume.filter(|position| position.feed == feed.number);
        let cursor = resumed.map_or_else(Cursor::default, |Position { tick, .. }| Cursor::resumed(tick));
        // Under the lock, so that the feed does not end in between.
        Ok(Reader::new(feed, cursor, caller, seat, self.metrics.clone()))
    }

    fn begin(&self, feeds: &mut Feeds, subject: Subject, caller: &str) -> Result<Arc<Feed>, Status> {
        let most = self.seats.most_feeds();
        if feeds.len() >= most {
            let idle = feeds.values().find(|feed| feed.is_idle()).cloned();
            let idle = idle.ok_or_else(|| self.seats.over(Limit::Feeds, most))?;
            feeds.remove(&idle.subject);
            idle.end(Status::unavailable("another watch has taken its place"));
        }
        let subject = Arc::new(subject);
        let feed = Feed::new(Arc::clone(&subject), rand::random(), self.shutdown.child_token());
        let feed = Arc::new(feed);
        feeds.insert(subject, Arc::clone(&feed));
        self.count(feeds);
        let listed = Listed { watches: self.clone(), feed: Arc::clone(&feed) };
        let (looker, items) = (Looker::new(self.view.clone()), self.seats.items(caller));
        tokio::spawn(async move {
            let Listed { watches, feed } = &listed;
            let may_end = || watches.forget(feed, Feed::is_idle);
            feed.run(looker, items, watches.metrics.clone(), may_end).await;
        });
        Ok(feed)
    }

    /// Takes a feed out, if it is still there and `is_over` says so; whether nobody can find it now.
    fn forget(&self, feed: &Arc<Feed>, is_over: impl Fn(&Feed) -> bool) -> bool {
        let mut feeds = self.feeds();
        match feeds.get(&feed.subject) {
            Some(held) if Arc::ptr_eq(held, feed) && is_over(feed) => {
                feeds.remove(&feed.subject);
                self.count(&feeds);
                true
            }
            Some(held) => !Arc::ptr_eq(held, feed),
            None => true,
        }
    }

    fn count(&self, feeds: &Feeds) {
        self.metrics.feeds.set(i64::try_from(feeds.len()).unwrap_or(i64::MAX));
    }
}

/// What whoever watches is told when the server stops, or the feed has met a fault.
fn stopping() -> Status {
    Status::unavailable("the watch ends here; go on with `resume` at this or any other replica")
}

#[cfg(test)]
mod tests;
