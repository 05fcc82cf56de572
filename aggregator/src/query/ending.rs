//! The end of an answer: its code is told to the caller and counted, also where a stream is cut off by the server's end,
//! by the caller's deadline, or by a fault.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use super::guard::{FAULT, LATE, Method};
use crate::metrics::query::Query as Metrics;

/// One request. It is over when this is dropped; one whose caller left before has the code CANCELLED.
#[derive(Debug)]
pub(super) struct Record {
    metrics: Metrics,
    method: Method,
    begun: Instant,
    code: Code,
    in_flight: Gauge,
    place: Option<OwnedSemaphorePermit>,
}

impl Record {
    pub(super) fn begin(metrics: &Metrics, method: Method) -> Self {
        let in_flight = metrics.in_flight(method.as_str());
        in_flight.inc();
        let (metrics, begun) = (metrics.clone(), Instant::now());
        Self { metrics, method, begun, code: Code::Cancelled, in_flight, place: None }
    }

    /// Keeps the request's place until the end.
    pub(super) fn keep(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.in_flight.dec();
        let took = self.begun.elapsed();
        self.metrics.answered(
            self.method.as_str(),
            code_name(self.code),
            self.method.is_timed().then_some(took),
        );
    }
}

/// The body of an answer, and the record that it completes.
pub(super) struct Ending {
    body: Body,
    record: Record,
    end: Option<Pin<Box<Sleep>>>,
    shutdown: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    is_over: bool,
}

impl Ending {
    /// A body that ends by `end`. With `shutdown` only streams do, since anything else is about to.
    pub(super) fn new(
        body: Body,
        headers: &HeaderMap,
        mut record: Record,
        end: Option<Instant>,
        shutdown: CancellationToken,
    ) -> Self {
        // An answer without a body has its code in its head.
        let status = Status::from_header_map(headers);
        if let Some(status) = &status {
            record.code = status.code();
        }
        let is_over = status.is_some() || body.is_end_stream();
        let stream = (!record.method.is_timed()).then(|| Box::pin(shutdown.cancelled_owned()));
        let end = end.map(|end| Box::pin(sleep_until(end.into())));
        Self { body, record, end, shutdown: stream, is_over }
    }

    /// Why the answer ends here, if it does.
    fn cut_off(&mut self, cx: &mut Context<'_>) -> Option<Status> {
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            return Some(Status::deadline_exceeded(LATE));
        }
        let is_stopping =
            |token: &mut Pin<Box<WaitForCancellationFutureOwned>>| token.as_mut().poll(cx).is_ready();
        self.shutdown
            .as_mut()
            .is_some_and(is_stopping)
            .then(|| Status::unavailable("the server stops; go on at another one"))
    }

    /// Ends the answer with a status of its own.
    fn trailers(&mut self, status: &Status) -> Frame<Bytes> {
        self.is_over = true;
        self.body = Body::empty();
        self.record.code = status.code();
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            tracing::error!(code = ?status.code(), "a status that no header can hold");
        }
        Frame::trailers(trailers)
    }

    fn note(&mut self, frame: Option<&Frame<Bytes>>) {
        let Some(frame) = frame else {
            self.is_over = true;
            return;
        };
        if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
            (self.record.code, self.is_over) = (status.code(), true);
        }
    }
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        // First, since a body may always have more.
        if let Some(status) = this.cut_off(cx) {
            return Poll::Ready(Some(Ok(this.trailers(&status))));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(cx)));
        match polled {
            Err(_) => Poll::Ready(Some(Ok(this.trailers(&Status::internal(FAULT))))),
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(frame)) => {
                if !matches!(frame, Some(Err(_))) {
                    this.note(frame.as_ref().and_then(|frame| frame.as_ref().ok()));
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_over { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}

/// As the specification of gRPC writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
