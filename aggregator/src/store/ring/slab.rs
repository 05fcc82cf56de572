//! The records of all rings of a node, in one piece of memory.
//!
//! Hundreds of thousands of small blocks cost the allocator 16 bytes each, and what is looked at together, the rings of a
//! node, lies on as many pages as there are rings: half the time of storing a tick went into finding those.

use super::track::Track;

/// Bytes of a word. Words are read and written whole, so there is one behind the last record.
const WORD: usize = 16;

/// Bytes of a line of the processor's cache.
const LINE: usize = 64;

/// One part in so many may be dead, and about as much is spare, for what takes the place of that: a ring is packed anew each
/// time it has come round twice, and may need more room than before.
const DEAD: usize = 16;
const SPARE: usize = 14;

/// Where those records are for which there is no place within 4 GiB: what they hold is not found again.
const NOWHERE: u32 = u32::MAX;

/// Records by the place where a ring's begin.
#[derive(Debug, Default)]
pub(in crate::store) struct Slab {
    /// As many as are used, and a word.
    bytes: Vec<u8>,
    used: usize,
    /// Bytes that no ring has any more.
    dead: usize,
}

impl Slab {
    /// The bytes from the `nth` on of those that begin at `start`, the lowest first. What lies behind a ring's records
    /// is another's.
    pub(super) fn word(&self, start: u32, nth: usize) -> Option<u128> {
        let (word, _) = self.bytes.get(place(start, nth)?..)?.split_first_chunk::<WORD>()?;
        Some(u128::from_le_bytes(*word))
    }

    /// Sets those bits of such a word that are set in `own`; the others stay.
    pub(super) fn set_word(&mut self, start: u32, nth: usize, own: u128, bits: u128) {
        let rest = place(start, nth).and_then(|at| self.bytes.get_mut(at..));
        if let Some((word, _)) = rest.and_then(<[u8]>::split_first_chunk_mut::<WORD>) {
            *word = (u128::from_le_bytes(*word) & !own | bits).to_le_bytes();
        }
    }

    /// How many bytes there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Looks at a byte of each line; the number says nothing.
    pub(in crate::store) fn look_over(&self) -> u32 {
        self.bytes.iter().step_by(LINE).fold(0, |sum, &byte| sum ^ u32::from(byte))
    }

    /// Makes room for `size` bytes in the place of `held` bytes from `start`, and says where it begins. What it holds means
    /// nothing.
    pub(super) fn change(&mut self, start: u32, held: usize, size: usize) -> u32 {
        if start != NOWHERE && size <= held {
            self.dead += held - size;
            return start;
        }
        self.dead += if start == NOWHERE { 0 } else { held };
        let end = self.used + size + WORD;
        let Ok(start) = u32::try_from(self.used) else { return NOWHERE };
        if self.bytes.capacity() < end {
            self.bytes.reserve_exact(end - self.bytes.len() + self.used / SPARE);
        }
        self.bytes.resize(end, 0);
        self.used += size;
        start
    }

    /// Moves the records together when more than [`DEAD`] of the slab is dead. Then they lie in the order in which a tick
    /// goes over them, and the processor reads ahead.
    pub(in crate::store) fn tidy(&mut self, tracks: &mut [Track]) {
        if self.dead <= self.used / DEAD {
            return;
        }
        let live = self.used.saturating_sub(self.dead);
        let mut bytes = Vec::with_capacity(live + live / SPARE + WORD);
        for track in tracks {
            let (start, size) = track.records();
            let records = place(start, 0).and_then(|at| self.bytes.get(at..at.checked_add(size)?));
            let Some(records) = records.filter(|records| !records.is_empty()) else { continue };
            // What is moved together ends before where it ended.
            track.moved(u32::try_from(bytes.len()).unwrap_or(NOWHERE));
            bytes.extend_from_slice(records);
        }
        (self.used, self.dead) = (bytes.len(), 0);
        bytes.resize(self.used + WORD, 0);
        self.bytes = bytes;
    }
}

fn place(start: u32, nth: usize) -> Option<usize> {
    if start == NOWHERE { None } else { usize::try_from(start).ok()?.checked_add(nth) }
}
