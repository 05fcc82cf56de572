//! A connection that waits for its peer to take what is written, but not for ever.
//!
//! Memory for what is written and not taken is held by hyper and by TLS; an error here is what frees it. How long a
//! response as a whole may take is not known here, see [`super::pieces`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How long a peer may take to take what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// Without taking anything.
    pub(super) stall: Duration,
    /// From the first wait until nothing is left to write. None where something may always be left, as on an HTTP/2
    /// connection that many responses share.
    pub(super) whole: Option<Duration>,
}

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] when patience is at an end. Reading is passed on.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    blocked: Option<Blocked>,
}

/// Something is left to write.
#[derive(Debug)]
struct Blocked {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Patience) -> Self {
        Self { stream, patience, blocked: None }
    }

    /// The peer took something, so it may take its time for the next.
    fn progress(&mut self) {
        let patience = self.patience;
        if let Some(blocked) = &mut self.blocked {
            let end = patience.end(blocked.since);
            blocked.end.as_mut().reset(end);
        }
    }

    /// What a write that must wait returns.
    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let patience = self.patience;
        let blocked = self.blocked.get_or_insert_with(|| {
            let since = Instant::now();
            Blocked { since, end: Box::pin(sleep_until(patience.end(since))) }
        });
        blocked.end.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn written(&mut self, outcome: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(written) => {
                self.progress();
                Poll::Ready(written)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn flushed(&mut self, outcome: Poll<io::Result<()>>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match outcome {
            Poll::Ready(flushed) => {
                self.blocked = None;
                Poll::Ready(flushed)
            }
            Poll::Pending => self.wait(cx),
        }
    }
}

impl Patience {
    /// When it ends, if the peer takes nothing from now on.
    fn end(self, since: Instant) -> Instant {
        let stall = Instant::now() + self.stall;
        self.whole.map_or(stall, |whole| stall.min(since + whole))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.flushed(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.flushed(outcome, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    fn patient(whole: Option<Duration>) -> (Patient<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(10);
        (Patient::new(ours, Patience { stall: STALL, whole }), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_after_the_stall_time() {
        let (mut stream, _peer) = patient(None);
        let started = Instant::now();
        let error = stream.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((STALL..STALL + Duration::from_secs(1)).contains(&started.elapsed()));
    }

    /// Takes one byte each ten seconds.
    async fn trickle(mut peer: DuplexStream) {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            if peer.read_u8().await.is_err() {
                return;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_little_is_waited_for_as_long_as_the_whole_allows() {
        let (mut stream, peer) = patient(None);
        tokio::spawn(trickle(peer));
        stream.write_all(&[0; 100]).await.unwrap();

        let whole = Duration::from_secs(90);
        let (mut stream, peer) = patient(Some(whole));
        tokio::spawn(trickle(peer));
        let started = Instant::now();
        let error = stream.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((whole..whole + Duration::from_secs(1)).contains(&started.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nothing_is_left_to_write_does_not_count() {
        let (mut stream, mut peer) = patient(Some(STALL));
        for _ in 0..3 {
            stream.write_all(&[0; 10]).await.unwrap();
            let (written, _read) = tokio::join!(stream.write_all(&[0; 10]), async {
                tokio::time::sleep(STALL / 2).await;
                peer.read_exact(&mut [0; 20]).await.unwrap();
            });
            written.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(STALL * 2).await;
        }
    }
}
