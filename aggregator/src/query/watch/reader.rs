//! One watch: what its reader is told, one message whenever there is room for it.
//!
//! Nothing runs between two messages but what the transport asks for, so a reader that takes nothing costs nothing but its
//! place. What time brings (a tick, a heartbeat, another look at the caller's rights, the end) is waited for only then.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, Stream,
    future::{BoxFuture, MaybeDone, maybe_done, pending},
    stream,
};
use kubevitals::wire;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tonic::Status;

use super::{
    cursor::{Cursor, Part},
    feed::{Feed, Published},
    message::{Outgoing, timestamp},
    position::Position,
    seats::Seat,
};
use crate::{
    metrics::watch::Watch,
    query::{
        access::{Caller, Verb},
        guard::STALLED_WATCH,
    },
};

/// A reader hears something at least this often, or each tick if those are rarer.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The caller's rights are looked at again after this long, and up to a quarter later, so that those who came together
/// do not ask together.
const RECHECK: Duration = Duration::from_secs(60);

/// While the rights are looked at, the reader is told on for this long, which is as long as the cluster is asked for one
/// review: a cluster that does not answer at once must not make watches fall silent. Who was away for longer is told nothing
/// before the answer.
const OVERDUE: Duration = Duration::from_secs(30);

/// Shortest wait.
const AGAIN: Duration = Duration::from_millis(20);

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
    /// It has not asked for more since.
    is_sated: bool,
    /// When the caller's rights are to be looked at again.
    recheck: Instant,
    /// That look, once it has begun.
    asking: Option<Asking>,
    metrics: Watch,
    _seat: Seat,
}

/// A look at the caller's rights that is under way.
struct Asking(MaybeDone<BoxFuture<'static, Result<Caller, Status>>>);

impl Asking {
    fn begin(caller: &Caller, feed: &Feed) -> Self {
        let (mut caller, subject) = (caller.clone(), Arc::clone(&feed.subject));
        let asking = async move {
            caller.recheck(Verb::Watch, &subject.selection).await?;
            Ok(caller)
        };
        Self(maybe_done(asking.boxed()))
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}

/// What there is to do next.
enum Next {
    Tell(Box<Outgoing>),
    End(Status),
    /// Nothing for now.
    Wait,
}

impl Reader {
    pub(super) fn new(feed: Arc<Feed>, cursor: Cursor, caller: Caller, seat: Seat, metrics: Watch) -> Self {
        let (pictures, began) = (feed.subscribe(), Instant::now());
        let (told, recheck) = (began, began + later());
        let (is_sated, asking) = (false, None);
        Self { feed, pictures, cursor, caller, began, told, is_sated, recheck, asking, metrics, _seat: seat }
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
        self.is_sated = false;
        loop {
            self.look_again().await?;
            match self.now() {
                Next::Tell(message) => {
                    (self.told, self.is_sated) = (Instant::now(), true);
                    self.metrics.told(&message);
                    return Ok(*message);
                }
                Next::End(status) => return Err(status),
                Next::Wait => self.wait().await,
            }
        }
    }

    /// Begins to look at the caller's rights when it is time, and takes the outcome once it is there. It is waited for
    /// only by who is overdue. An error is the end.
    async fn look_again(&mut self) -> Result<(), Status> {
        let now = Instant::now();
        if self.recheck > now {
            return Ok(());
        }
        let Asking(asking) =
            self.asking.get_or_insert_with(|| Asking::begin(&self.caller, self.feed.as_ref()));
        if self.recheck + OVERDUE < now {
            (&mut *asking).await;
        } else {
            // Polled, so that it goes on, and left there if it is not over.
            let _is_over = futures_util::poll!(&mut *asking);
        }
        let Some(outcome) = Pin::new(asking).take_output() else { return Ok(()) };
        self.asking = None;
        self.caller = outcome?;
        self.recheck = Instant::now() + later();
        Ok(())
    }

    /// What to do at this moment.
    fn now(&mut self) -> Next {
        let now = Instant::now();
        let published = self.pictures.borrow_and_update().clone();
        if let Some(why) = &published.ended {
            return Next::End(Status::clone(why));
        }
        // A feed that has rested is looked at anew first.
        let is_fresh = |looked| looked + self.feed.subject.every >= self.began;
        if !published.looked.is_some_and(is_fresh) {
            return Next::Wait;
        }
        if let Some(part) = self.cursor.next(&published.picture) {
            return Next::Tell(Box::new(self.part(part, &published)));
        }
        match self.heartbeat(&published) {
            Some(message) if self.told + self.pause() <= now => Next::Tell(Box::new(message)),
            _ => Next::Wait,
        }
    }

    /// Waits for the next thing that can happen.
    async fn wait(&mut self) {
        let heartbeat = self.told + self.pause();
        let until = if self.asking.is_some() { heartbeat } else { heartbeat.min(self.recheck) };
        // A heartbeat that is due while there is no picture yet is looked for now and then.
        let until = until.max(Instant::now() + AGAIN);
        let asked = async {
            match &mut self.asking {
                Some(Asking(asking)) => asking.await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(until) => {}
            () = asked => {}
            // It never fails, because the feed has the sender.
            _changed = self.pictures.changed() => {}
        }
    }

    /// The longest silence.
    fn pause(&self) -> Duration {
        HEARTBEAT.max(self.feed.subject.every)
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
        // The server ended it, see [`STALLED_WATCH`].
        if self.is_sated && self.told.elapsed() >= STALLED_WATCH {
            self.metrics.cut_off.inc();
        }
    }
}

fn later() -> Duration {
    RECHECK + RECHECK.mul_f64(rand::random::<f64>() / 4.0)
}
