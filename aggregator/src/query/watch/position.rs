//! How far a reader was told, as a text that it gives back when it returns. Pure.

use std::fmt;

/// Longest text that is looked at.
const LONGEST: usize = 64;

/// A tick of one feed of one replica. Feeds are numbered at random, so that no other feed, also not one of another
/// replica or of a later time, has the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The feed's number.
    pub feed: u64,
    /// The tick up to which the reader was told everything.
    pub tick: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.feed, self.tick)
    }
}

impl Position {
    /// What [`Display`](fmt::Display) wrote. None for anything else: it may come from another version, and whoever says
    /// it is told everything.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (feed, tick) = text.get(..text.len().min(LONGEST))?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let position = Self { feed: number(feed)?, tick: number(tick)? };
        (position.to_string() == text).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_read_as_it_was_written(feed: u64, tick: u64) {
            let position = Position { feed, tick };
            prop_assert_eq!(Position::parse(&position.to_string()), Some(position));
        }

        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,80}|[0-9a-f+-]{0,40}") {
            if let Some(position) = Position::parse(&text) {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
