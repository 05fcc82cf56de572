//! What is sent to an aggregator, in small HTTP/2 frames.
//!
//! Whoever reads HTTP/2 frames begins with 8 KiB of memory a connection and doubles it, for as long as the connection lasts,
//! when a frame of more than half of that comes at the wrong place. A batch takes one of a few hundred bytes, but the first
//! one names everything on its node, and an aggregator has a connection to each.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;
use tonic::{
    body::Body,
    codegen::{Service, http::Request},
};

/// The largest frame, bytes: with its head half of what a reader begins with.
const LARGEST: usize = (4 << 10) - 9;

/// A way to an aggregator that sends no larger frames.
#[derive(Debug, Clone)]
pub struct SmallFrames<S>(pub S);

impl<S: Service<Request<Body>>> Service<Request<Body>> for SmallFrames<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        self.0.call(request.map(|body| Body::new(Cut { body, rest: Bytes::new() })))
    }
}

/// A body whose frames are cut.
struct Cut {
    body: Body,
    /// What is left of the last frame.
    rest: Bytes,
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(LARGEST);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt as _, StreamBody};
    use proptest::prelude::*;
    use tonic::codegen::http::HeaderMap;

    use super::*;

    proptest! {
        #[test]
        fn what_is_sent_comes_whole_in_frames_that_are_small(lengths in proptest::collection::vec(0_usize..20_000, 0..6)) {
            let data: Vec<Vec<u8>> = (0..).zip(&lengths).map(|(byte, &length)| vec![byte; length]).collect();
            let frames = data.iter().map(|data| Frame::data(Bytes::from(data.clone())));
            let frames: Vec<Result<Frame<Bytes>, Infallible>> =
                frames.chain([Frame::trailers(HeaderMap::new())]).map(Ok).collect();
            let body = Body::new(StreamBody::new(tonic::codegen::tokio_stream::iter(frames)));
            let mut cut = Cut { body, rest: Bytes::new() };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mut got, mut trailers) = (Vec::new(), 0);
            while let Some(frame) = runtime.block_on(cut.frame()) {
                match frame.unwrap().into_data() {
                    Ok(data) => {
                        prop_assert!(data.len() <= LARGEST);
                        got.extend_from_slice(&data);
                    }
                    Err(_) => trailers += 1,
                }
            }
            prop_assert_eq!((got, trailers), (data.concat(), 1));
        }
    }
}
