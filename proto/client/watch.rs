//! A stream of numbers that outlives its connections.

use std::{fmt, pin::Pin, time::Duration};

use futures_util::{Stream, stream::try_unfold};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tonic::Streaming;

use super::{Client, Error, Event, tick::Parts};
use crate::{backoff::Backoff, wire};

/// The first wait after a stream was lost.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait. All watchers of a replica that ended come back within this time, at random moments.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often a server tells at least that nothing changed, unless `every` is longer.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// So many heartbeats must be missing before the stream is taken for dead.
const MISSED: u32 = 3;

/// A watch. It reconnects by itself: to the next address, after a wait that grows, going on where it was if the server
/// can; otherwise the next event is a whole picture.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    /// What is asked next time; `resume` is where the last whole tick ended.
    request: wire::WatchRequest,
    stream: Option<Streaming<wire::WatchResponse>>,
    /// The next stream while it begins. Kept here, so that a caller who stops waiting and begins again finds it as far as
    /// it was: one who never waits for as long as that takes would never be told anything.
    opening: Option<Opening>,
    parts: Parts,
    backoff: Backoff,
    /// When to connect again.
    retry_at: Option<Instant>,
    /// Since when nothing came that was waited for. Kept here, so that a caller who stops waiting and begins again does
    /// not set it back.
    waiting_since: Option<Instant>,
    /// The token was refused, and read again since.
    was_refused: bool,
}

/// A stream that begins.
struct Opening(Pin<Box<dyn Future<Output = Result<Streaming<wire::WatchResponse>, Error>> + Send>>);

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

/// Begins a stream on a connection of its own.
async fn open(client: Client, request: wire::WatchRequest) -> Result<Streaming<wire::WatchResponse>, Error> {
    let link = client.0.connect().await?;
    let mut service = link.client();
    let opened = service.watch(link.request(request));
    match timeout(client.0.options.timeout, opened).await {
        Ok(opened) => Ok(opened?.into_inner()),
        Err(_) => Err(Error::TimedOut("the watch did not begin".to_owned())),
    }
}

impl Watch {
    pub(super) fn new(client: Client, request: wire::WatchRequest) -> Self {
        Self {
            client,
            request,
            stream: None,
            opening: None,
            parts: Parts::default(),
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            retry_at: None,
            waiting_since: None,
            was_refused: false,
        }
    }

    /// Waits for the next event; it may be given up at any moment without loss.
    ///
    /// What passes by itself is told as [`Event::Interrupted`] and tried again with the next call. An error is what
    /// does not: the request, or the caller's rights. After one, another call begins anew, after a wait.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if self.stream.is_none() {
                if let Some(at) = self.retry_at {
                    sleep_until(at).await;
                }
                let opening = self.opening.get_or_insert_with(|| {
                    Opening(Box::pin(open(self.client.clone(), self.request.clone())))
                });
                let opened = (&mut opening.0).await;
                self.opening = None;
                match opened {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) if self.may_be_replaced(&error) => continue,
                    Err(error) => return self.lost(error),
                }
            }
            match self.message().await {
                Ok(message) => match self.parts.take(message) {
                    Ok(None) => {}
                    Ok(Some((event, position))) => {
                        self.heard(position);
                        return Ok(event);
                    }
                    Err(error) => return self.lost(error),
                },
                Err(error) if self.may_be_replaced(&error) => {}
                Err(error) => return self.lost(error),
            }
        }
    }

    /// The same as a stream, which ends with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Event, Error>> {
        try_unfold(self, async |mut watch| Ok(Some((watch.next().await?, watch))))
    }

    async fn message(&mut self) -> Result<wire::WatchResponse, Error> {
        let silence = self.silence();
        let Some(stream) = &mut self.stream else {
            return Err(Error::Unavailable("not connected".to_owned()));
        };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        // What has come already is taken, however long ago that was.
        let message = timeout_at(since + silence, stream.message()).await;
        let message = message.map_err(|_| Error::Silent(silence))??;
        self.waiting_since = None;
        message.ok_or_else(|| Error::Unavailable("the aggregator ended the watch".to_owned()))
    }

    /// After this long without a word the connection is dead.
    fn silence(&self) -> Duration {
        let every = self.request.every.and_then(|every| Duration::try_from(every).ok());
        every.unwrap_or_default().max(HEARTBEAT).saturating_mul(MISSED)
    }

    fn heard(&mut self, position: String) {
        self.request.resume = position;
        self.backoff.reset();
        self.retry_at = None;
        self.was_refused = false;
    }

    /// A token that was refused may have been replaced since it was read: once, it is read and shown again at once.
    fn may_be_replaced(&mut self, error: &Error) -> bool {
        let again = matches!(error, Error::Unauthenticated(_)) && !self.was_refused;
        if again {
            self.was_refused = true;
            self.let_go();
        }
        again
    }

    fn lost(&mut self, error: Error) -> Result<Event, Error> {
        self.let_go();
        self.retry_at = Some(Instant::now() + self.backoff.next(rand::random()));
        if error.is_passing() {
            return Ok(Event::Interrupted(error));
        }
        self.was_refused = false;
        Err(error)
    }

    fn let_go(&mut self) {
        self.stream = None;
        self.parts.clear();
        self.waiting_since = None;
    }
}
