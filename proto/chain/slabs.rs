//! Memory for encoded batches, used again.
//!
//! Batches are cut one after the other from a few slabs. When all that were cut from a slab are dropped, as the history
//! does after a minute or two, it is filled anew: a tick allocates nothing, and a year of ticks leaves no holes in the heap.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use prost::Message;

/// Smallest slab, bytes.
const SLAB: usize = 16 << 10;

/// A slab has room for so many messages like the one it was made for.
const MESSAGES: usize = 16;

/// Most slabs that are remembered; those beyond are freed with their last batch. A history keeps about half as many.
const MOST: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Slabs {
    current: BytesMut,
    /// Full ones, the oldest first.
    full: VecDeque<BytesMut>,
}

impl Slabs {
    /// The message, encoded.
    pub(super) fn encode(&mut self, message: &impl Message) -> Bytes {
        self.reserve(message.encoded_len());
        // It cannot fail: there is room, and if there were none it would be made.
        let _ = message.encode(&mut self.current);
        self.current.split().freeze()
    }

    fn reserve(&mut self, length: usize) {
        if self.current.capacity() >= length {
            return;
        }
        let free = self.full.iter_mut().position(|slab| slab.try_reclaim(length));
        let next = free.and_then(|at| self.full.remove(at));
        let next = next.unwrap_or_else(|| BytesMut::with_capacity(SLAB.max(MESSAGES * length)));
        self.full.push_back(std::mem::replace(&mut self.current, next));
        if self.full.len() > MOST {
            self.full.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_whose_batches_are_dropped_is_filled_anew() {
        let (mut slabs, mut kept) = (Slabs::default(), VecDeque::new());
        for number in 0..10_000_u32 {
            let message = format!("batch {number} {}", "x".repeat(500));
            kept.push_back((slabs.encode(&message), message));
            if kept.len() > 60 {
                kept.pop_front();
            }
        }
        assert!(slabs.full.len() <= 60 * 520 / SLAB + 2, "{} slabs", slabs.full.len());
        for (encoded, message) in &kept {
            assert_eq!(String::decode(encoded.clone()).as_ref(), Ok(message));
        }
    }

    #[test]
    fn a_batch_that_is_kept_for_ever_is_left_alone_and_bounds_hold() {
        let mut slabs = Slabs::default();
        let kept: Vec<Bytes> = (0..4000_u32).map(|number| slabs.encode(&format!("{number:500}"))).collect();
        assert_eq!(slabs.full.len(), MOST);
        assert_eq!(String::decode(kept[0].clone()).unwrap().trim(), "0");
        let long = "y".repeat(5 * SLAB);
        assert_eq!(String::decode(slabs.encode(&long)).unwrap(), long);
    }
}
