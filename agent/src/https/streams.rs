//! Runs the requests of an HTTP/2 connection, each as a task, and ends those whose peer takes nothing.
//!
//! Ending one resets its stream, which frees what it holds and leaves the connection's other requests alone: behind
//! an API server they are those of other people.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::pieces::CUT;

/// What hyper gives its streams to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let watched = Watched { stream: Box::pin(stream), alarm: None };
        tokio::spawn(CUT.scope(Cell::new(None), watched));
    }
}

/// A stream that is dropped at the moment that [`CUT`] says.
struct Watched<F> {
    stream: Pin<Box<F>>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match CUT.with(Cell::get) {
            // It does not send yet; until then the server's own limits hold.
            None => Poll::Pending,
            Some(at) => this.alarm_at(at).poll(cx).map(|()| {
                tracing::debug!("response cut off: its client takes nothing");
            }),
        }
    }
}

impl<F> Watched<F> {
    fn alarm_at(&mut self, at: Instant) -> Pin<&mut Sleep> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_the_moment_of_the_cut_and_not_before_there_is_one() {
        let (alive, dead) = oneshot::channel::<()>();
        let started = Instant::now();
        Streams.execute(async move {
            let _alive = alive;
            tokio::time::sleep(Duration::from_secs(100)).await;
            CUT.with(|cut| cut.set(Some(Instant::now() + Duration::from_secs(7))));
            std::future::pending::<()>().await;
        });
        let _dropped = dead.await;
        assert!((107..110).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    }
}
