//! Messages as protobuf, as the library's own codec does it, with buffers of the size of our messages.
//!
//! A buffer of each direction lives as long as its stream, and an aggregator has a stream for each node. The library
//! begins with 8 KiB and grows by that.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// A tick of a hundred containers is about as large, an acknowledgement much smaller. Larger ones grow it.
const BUFFER: usize = 512;

/// Messages that are ready are sent together until they are so much: with the last one mostly one frame of HTTP/2 (see
/// `frames`).
const TOGETHER: usize = 3 << 10;

/// Encodes `T` and decodes `U`.
#[derive(Debug, Clone)]
pub(crate) struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, TOGETHER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, TOGETHER))
    }
}
