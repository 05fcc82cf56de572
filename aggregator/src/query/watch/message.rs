//! One message on its way: what all readers have in common, and the few bytes that are one reader's own.

use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use kubevitals::wire;
use prost::Message as _;
use tonic::{
    Status,
    codec::{Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstCodec;

/// A [`wire::WatchResponse`] whose items are encoded already.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// All fields but `usages` and `absent`.
    pub own: wire::WatchResponse,
    /// Fields `usages` and `absent`.
    pub items: Bytes,
}

impl Outgoing {
    /// Its size, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.own.encoded_len() + self.items.len()
    }
}

/// Since 1970, on the wire.
pub(super) fn timestamp(since: Duration) -> prost_types::Timestamp {
    // Whoever lives to see the seconds overflow is told the last moment.
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: since.subsec_nanos().cast_signed() }
}

/// Writes messages as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Encoded;

impl Codec for Encoded {
    type Encode = Outgoing;
    type Decode = wire::WatchRequest;
    type Encoder = Self;
    type Decoder = <ProstCodec<wire::WatchResponse, wire::WatchRequest> as Codec>::Decoder;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<wire::WatchResponse, wire::WatchRequest>::default().decoder()
    }
}

impl Encoder for Encoded {
    type Item = Outgoing;
    type Error = Status;

    fn encode(&mut self, message: Outgoing, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.size());
        message.own.encode(buffer).map_err(|error| Status::internal(error.to_string()))?;
        buffer.put(message.items);
        Ok(())
    }
}
