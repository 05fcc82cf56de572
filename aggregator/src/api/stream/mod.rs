//! Lists as response bodies: made piece by piece while the client takes them, so that a list of everything is never
//! in memory as a whole.
//!
//! `produce` visits the source and writes; `plan` holds what a Kubernetes protobuf body needs to know before its
//! first byte; [`super::gzip`] compresses; `budget` keeps all lists together within bounds. A short list is one piece
//! with a known length. What is written is [`super::encode`]'s business.

mod budget;
mod plan;
mod produce;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::PollSemaphore;

pub use self::{budget::Budget, produce::ListRequest};

use self::{plan::Planned, produce::Producer};
use super::{
    encode::{
        envelope,
        list::{ListKind, ListWriter},
    },
    gzip::Gzip,
    source::Source,
};

/// What is longer is compressed for clients that accept gzip, bytes. The bound of Kubernetes' own servers.
const COMPRESS_ABOVE: usize = 128 * 1024;

/// Size of a piece before compression, bytes: some hundred pods, encoded in less than a millisecond. With the last item
/// it stays within the 64 KiB that the connection takes at a time.
const PIECE: usize = 62 * 1024;

/// Pieces after which others have their turn at the worker: about a millisecond of work. What is compressed is so small
/// that the connection would take dozens of pieces at a time.
const PIECES_AT_A_TIME: u32 = 4;

/// A list's body, ready to be sent.
#[derive(Debug)]
pub struct List {
    /// The bytes.
    pub body: Body,
    /// How many there are, when all of them are known.
    pub length: Option<usize>,
    /// Whether they are compressed.
    pub gzip: bool,
}

/// There are too many long lists at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Makes a list's first piece, and with it the decision between a whole body and a stream. The stream ends with an
/// error at `deadline`.
pub async fn list(
    source: Arc<dyn Source>,
    request: ListRequest,
    writer: ListWriter,
    gzip: bool,
    budget: &Budget,
    deadline: Instant,
) -> Result<List, TooMany> {
    let is_protobuf = writer.frame_len().is_some();
    let (meta, kind) = (writer.type_meta(), request.kind());
    let mut producer = Producer::new(source, request, writer);
    let mut first = Vec::new();
    // Most lists are done with the first step, and wait for nobody.
    producer.step(&mut first, COMPRESS_ABOVE + 1);
    // Nodes are few, and what is kept of them is small.
    let is_short = producer.is_done() || kind == ListKind::Nodes;
    let place = if is_short { None } else { Some(budget.place().ok_or(TooMany)?) };
    while !producer.is_done() && first.len() <= COMPRESS_ABOVE {
        let _turn = budget.turn().await;
        producer.step(&mut first, COMPRESS_ABOVE + 1);
    }
    let mut rest = if is_protobuf {
        // The length of the whole message stands before its first byte.
        let planned = Planned::of(producer, budget).await;
        let mut body = envelope::open(meta.api_version, meta.kind, first.len() + planned.length());
        body.append(&mut first);
        first = body;
        Rest::Planned(planned)
    } else {
        Rest::Producer(producer)
    };
    // Even a planned rest may be nothing but the end of the envelope.
    while first.len() <= COMPRESS_ABOVE && rest.write(&mut first) {}
    if first.len() <= COMPRESS_ABOVE {
        return Ok(List { length: Some(first.len()), body: Body::from(first), gzip: false });
    }
    let pieces = Pieces {
        first: Some(first),
        rest,
        gzip: gzip.then(Gzip::default),
        turns: budget.turns(),
        deadline,
        made: 0,
        ended: false,
        _place: place,
    };
    Ok(List { body: Body::new(pieces), length: None, gzip })
}

/// What follows the first piece.
#[derive(Debug)]
enum Rest {
    Producer(Producer),
    Planned(Planned),
}

impl Rest {
    /// Appends some bytes; whether there may be more.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Producer(producer) => {
                if !producer.is_done() {
                    producer.step(out, PIECE);
                }
                !producer.is_done()
            }
            Self::Planned(planned) => planned.write(out, PIECE),
        }
    }
}

/// A body that is written while it is read. Dropping it ends the work.
#[derive(Debug)]
struct Pieces {
    first: Option<Vec<u8>>,
    rest: Rest,
    gzip: Option<Gzip>,
    turns: PollSemaphore,
    deadline: Instant,
    /// Pieces since others had the worker.
    made: u32,
    ended: bool,
    _place: Option<OwnedSemaphorePermit>,
}

/// Why a body ended early. The client sees a broken response, never a whole one with less in it.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the list was not taken within the request's time")]
    Late,
    #[error("the list met a fault in the server")]
    Fault,
}

impl Pieces {
    /// The next bytes; none at the end.
    fn next(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while out.is_empty() && !self.ended {
            let mut piece = self.first.take().unwrap_or_else(|| Vec::with_capacity(PIECE + PIECE / 8));
            let more = if piece.is_empty() { self.rest.write(&mut piece) } else { true };
            self.ended = !more;
            out = match &mut self.gzip {
                None => piece,
                Some(gzip) => gzip.compress(&piece, self.ended),
            };
        }
        out
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if Instant::now() >= self.deadline {
            self.ended = true;
            return Poll::Ready(Some(Err(axum::Error::new(Broken::Late))));
        }
        if self.made >= PIECES_AT_A_TIME {
            self.made = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.made += 1;
        // A turn that comes is kept until this is asked again. Hyper asks a body before it waits for room at its peer, so a
        // peer that takes nothing holds up nobody.
        let _turn = ready!(self.turns.poll_acquire(cx));
        // A panic here would end the connection, and with it the requests of others.
        let Ok(bytes) = catch_unwind(AssertUnwindSafe(|| self.next())) else {
            self.ended = true;
            return Poll::Ready(Some(Err(axum::Error::new(Broken::Fault))));
        };
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(Bytes::from(bytes)))))
    }
}

#[cfg(test)]
mod tests;
