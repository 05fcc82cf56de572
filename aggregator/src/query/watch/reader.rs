//! One watch: what its reader is told, one message whenever there is room for it.
//!
//! Nothing runs between two messages but what the transport asks for, so a reader that takes nothing costs nothing but its
//! place. What time brings (a tick, a heartbeat, another look at the caller's rights, the end) is waited for only then.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use kubevitals::wire;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{
    cursor::{Cursor, Part},
    feed::{Feed, Published},
    hub::stopping,
    message::{Outgoing, timestamp},
    position::Position,
    seats::Seat,
};
use crate::{
    metrics::watch::{End, Watch},
    query::access::{Caller, Verb},
};

/// A reader hears something at least this often, or each tick if those are rarer.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The caller's rights are looked at again after this long, and up to a quarter later, so that those who came together
/// do not ask together.
const RECHECK: Duration = Duration::from_secs(60);

/// Shortest wait.
const AGAIN: Duration = Duration::from_millis(20);

/// What one reader asks for, beside what it shares with others.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Where it was when it was cut off.
    pub resume: Option<Position>,
    /// For how long it wants to watch at most.
    pub timeout: Option<Duration>,
}

/// A watch.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    pictures: watch::Receiver<Published>,
    cursor: Cursor,
    caller: Caller,
    began: Instant,
    /// When it was told something last.
    told: Instant,
    deadline: Option<Instant>,
    recheck: Instant,
    shutdown: CancellationToken,
    metrics: Watch,
    end: End,
    _seat: Seat,
}

/// What there is to do next.
enum Next {
    Tell(Box<Outgoing>),
    Recheck,
    End(End, Status),
    /// Something may have changed.
    Look,
}

impl Reader {
    pub(super) fn new(
        feed: Arc<Feed>,
        cursor: Cursor,
        caller: Caller,
        seat: Seat,
        terms: &Terms,
        metrics: Watch,
        shutdown: CancellationToken,
    ) -> Self {
        let (pictures, began) = (feed.subscribe(), Instant::now());
        // A time limit beyond the end of the clock is none.
        let deadline = terms.timeout.and_then(|timeout| began.checked_add(timeout));
        let (end, recheck) = (End::Caller, began + later());
        Self { feed, pictures, cursor, caller, began, told: began, deadline, recheck, shutdown, metrics, end, _seat: seat }
    }

    /// The messages. Each is made when it is asked for.
    pub fn messages(self) -> impl Stream<Item = Result<Outgoing, Status>> + Send {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            let message = reader.next().await;
            let is_over = message.is_err();
            Some((message, (!is_over).then_some(reader)))
        })
    }

    /// The next message, as soon as there is something to tell; an error is the end.
    async fn next(&mut self) -> Result<Outgoing, Status> {
        loop {
            match self.now() {
                Next::Tell(message) => {
                    self.told = Instant::now();
                    self.metrics.messages.inc();
                    self.metrics.bytes.inc_by(message.len() as u64);
                    self.metrics.conflated.inc_by(message.own.conflated);
                    return Ok(*message);
                }
                Next::Recheck => self.recheck().await?,
                Next::End(end, status) => {
                    self.end = end;
                    return Err(status);
                }
                Next::Look => self.wait().await,
            }
        }
    }

    /// What to do at this moment.
    fn now(&mut self) -> Next {
        let now = Instant::now();
        if self.shutdown.is_cancelled() {
            return Next::End(End::Shutdown, stopping());
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Next::End(End::Deadline, Status::deadline_exceeded("the time for this watch is over"));
        }
        if self.recheck <= now {
            return Next::Recheck;
        }
        let published = self.pictures.borrow_and_update().clone();
        if let Some(why) = &published.ended {
            let end = if why.code() == Code::ResourceExhausted { End::Limit } else { End::Shutdown };
            return Next::End(end, Status::clone(why));
        }
        // A feed that has rested is looked at anew first.
        let is_fresh = |looked| looked + self.feed.subject.every >= self.began;
        if !published.looked.is_some_and(is_fresh) {
            return Next::Look;
        }
        if let Some(part) = self.cursor.next(&published.picture) {
            return Next::Tell(Box::new(self.part(part, &published)));
        }
        match self.heartbeat(&published) {
            Some(message) if self.told + self.pause() <= now => Next::Tell(Box::new(message)),
            _ => Next::Look,
        }
    }

    /// Waits for the next thing that can happen.
    async fn wait(&mut self) {
        let until = (self.told + self.pause()).min(self.recheck);
        let until = self.deadline.map_or(until, |deadline| deadline.min(until));
        // A heartbeat that is due while there is no picture yet is looked for now and then.
        let until = until.max(Instant::now() + AGAIN);
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = sleep_until(until) => {}
            // It never fails, because the feed has the sender.
            _changed = self.pictures.changed() => {}
        }
    }

    /// The longest silence.
    fn pause(&self) -> Duration {
        HEARTBEAT.max(self.feed.subject.every)
    }

    async fn recheck(&mut self) -> Result<(), Status> {
        let subject = Arc::clone(&self.feed.subject);
        let outcome = tokio::select! {
            () = self.shutdown.cancelled() => return Ok(()),
            outcome = self.caller.recheck(Verb::Watch, &subject.selection) => outcome,
        };
        self.recheck = Instant::now() + later();
        outcome.inspect_err(|_| self.end = End::Denied)
    }

    fn part(&self, part: Part, published: &Published) -> Outgoing {
        let Part { full, items, complete, conflated } = part;
        let own = wire::WatchResponse {
            full,
            more: complete.is_none(),
            time: Some(timestamp(published.wall)),
            position: complete.map(|tick| self.position(tick)).unwrap_or_default(),
            conflated,
            ..wire::WatchResponse::default()
        };
        Outgoing { own, items }
    }

    /// That all is as it was told; none before the first picture.
    fn heartbeat(&self, published: &Published) -> Option<Outgoing> {
        let own = wire::WatchResponse {
            time: Some(timestamp(published.wall)),
            position: self.position(self.cursor.told()?),
            ..wire::WatchResponse::default()
        };
        Some(Outgoing { own, items: bytes::Bytes::new() })
    }

    fn position(&self, tick: u64) -> String {
        Position { feed: self.feed.number, tick }.to_string()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.metrics.ended(self.end);
    }
}

fn later() -> Duration {
    RECHECK + RECHECK.mul_f64(rand::random::<f64>() / 4.0)
}
