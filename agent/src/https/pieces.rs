//! Response bodies cut into pieces, each with a time until which it must be taken.
//!
//! Hyper asks a body for its next piece when there is room for it. That makes two things possible here: no more than
//! a few pieces of a response wait outside of it, and the moment of each question says how fast the peer takes them.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::protocol::Last;

/// Size of a piece, bytes: four TLS records.
pub(super) const PIECE: usize = 64 << 10;

tokio::task_local! {
    /// When the task that sends a response over HTTP/2 is to be ended, once it sends. The body sets it and
    /// [`super::streams`] obeys: hyper does not ask a body anything while it waits for the peer.
    pub(super) static CUT: Cell<Option<Instant>>;
}

/// Over HTTP/1.1 there is no such task: there the connection itself is watched.
fn cut_at(moment: Instant) {
    let _over_http1 = CUT.try_with(|cut| cut.set(Some(moment)));
}

/// A response body with a deadline.
#[derive(Debug)]
pub(super) struct Pieces<B> {
    body: B,
    /// What is left of the last frame.
    rest: Bytes,
    /// For each piece.
    stall: Duration,
    /// For the whole body.
    end: Pin<Box<Sleep>>,
    /// Whether the connection ends with this response.
    _last: Option<Last>,
}

impl<B> Pieces<B> {
    /// A body that fails at `end`, and whose sender is to be cut off when a piece is not taken within `stall`.
    pub(super) fn new(body: B, stall: Duration, end: Instant, last: Option<Last>) -> Self {
        Self { body, rest: Bytes::new(), stall, end: Box::pin(sleep_until(end)), _last: last }
    }

    /// The next piece of the rest. The last byte comes alone: over HTTP/2 it is not asked for before the peer has
    /// made room for all others, so nothing of a response waits where no deadline watches over it.
    fn piece(&mut self) -> Option<Bytes> {
        let length = match self.rest.len() {
            0 => return None,
            1 => 1,
            more => (more - 1).min(PIECE),
        };
        Some(self.rest.split_to(length))
    }

    /// Hands out a frame; it is the client's turn now.
    fn hand_out<E>(&self, frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        cut_at(self.end.deadline().min(Instant::now() + self.stall));
        Poll::Ready(Some(Ok(frame)))
    }
}

impl<B> Body for Pieces<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("the time for this response is over".into())));
        }
        // Until there is a frame it is our turn, not the client's.
        cut_at(this.end.deadline());
        loop {
            if let Some(piece) = this.piece() {
                return this.hand_out(Frame::data(piece));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return this.hand_out(trailers),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body as AxumBody;
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    fn pieces(body: AxumBody) -> Pieces<AxumBody> {
        Pieces::new(body, STALL, Instant::now() + STALL * 3, None)
    }

    fn in_runtime<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_body_and_none_is_large(length in 0..4 * PIECE) {
            let sent: Bytes = (0..=250).cycle().take(length).collect();
            let (lengths, received) = in_runtime(async {
                let mut body = pieces(AxumBody::from(sent.clone()));
                let (mut lengths, mut received) = (Vec::new(), Vec::new());
                while !body.is_end_stream() {
                    prop_assert_eq!(body.size_hint().exact(), Some((sent.len() - received.len()) as u64));
                    let Some(frame) = body.frame().await else { break };
                    let piece = frame.unwrap().into_data().unwrap();
                    lengths.push(piece.len());
                    received.extend_from_slice(&piece);
                }
                Ok((lengths, received))
            })?;
            prop_assert_eq!(received, sent);
            prop_assert!(lengths.iter().all(|&length| (1..=PIECE).contains(&length)));
            prop_assert_eq!(lengths.last().copied(), (length > 0).then_some(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_fails_at_its_end() {
        let (_sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, BoxError>>(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let started = Instant::now();
        let outcome = pieces(AxumBody::from_stream(stream)).collect().await;
        assert_eq!(outcome.unwrap_err().to_string(), "the time for this response is over");
        assert!(started.elapsed() >= STALL * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn each_question_for_a_piece_moves_the_moment_of_the_cut_but_not_past_the_end() {
        let started = Instant::now();
        let scope = CUT.scope(Cell::new(None), async {
            let mut body = pieces(AxumBody::from(vec![0; PIECE]));
            assert_eq!(CUT.with(Cell::get), None);
            body.frame().await.unwrap().unwrap();
            assert_eq!(CUT.with(Cell::get), Some(started + STALL));
            tokio::time::sleep(STALL * 5 / 2).await;
            body.frame().await.unwrap().unwrap();
            assert_eq!(CUT.with(Cell::get), Some(started + STALL * 3));
        });
        scope.await;
    }
}
