//! Wall time that never goes backwards. Pure: the caller brings both clocks.

use kubevitals::sample::{BootTime, WallTime};

/// Pairs each tick with a wall time that always advances.
///
/// Consumers drop samples whose timestamp did not advance (the VPA does), so a wall clock that is set back must
/// not take our timestamps with it: they advance at half speed until the clock has caught up. A clock that is
/// set forward is followed at once. Rates never see any of this; they use the monotonic clock alone.
#[derive(Debug, Default)]
pub struct WallAnchor {
    last: Option<(BootTime, WallTime)>,
}

impl WallAnchor {
    /// The wall time to publish for a tick at `now`, when the system's wall clock says `wall`.
    pub fn at(&mut self, now: BootTime, wall: WallTime) -> WallTime {
        let published = match self.last {
            None => wall,
            Some((then, before)) => {
                let slowest = before.0.saturating_add((now.0.saturating_sub(then.0) / 2).max(1));
                WallTime(wall.0.max(slowest))
            }
        };
        self.last = Some((now, published));
        published
    }

    /// How far the published time is ahead of `wall`, microseconds.
    #[must_use]
    pub fn ahead_of(&self, wall: WallTime) -> u64 {
        self.last.map_or(0, |(_, published)| published.0.saturating_sub(wall.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_steady_clock_is_published_as_it_is() {
        let mut anchor = WallAnchor::default();
        for n in 1..5 {
            assert_eq!(anchor.at(BootTime(n * 100), WallTime(7000 + n * 100)), WallTime(7000 + n * 100));
        }
    }

    #[test]
    fn a_clock_set_back_is_approached_at_half_speed() {
        let mut anchor = WallAnchor::default();
        anchor.at(BootTime(0), WallTime(1_000_000));
        assert_eq!(anchor.at(BootTime(1000), WallTime(1000)), WallTime(1_000_500));
        assert_eq!(anchor.ahead_of(WallTime(1000)), 999_500);
    }

    #[test]
    fn a_clock_set_forward_is_followed_at_once() {
        let mut anchor = WallAnchor::default();
        anchor.at(BootTime(0), WallTime(10));
        assert_eq!(anchor.at(BootTime(1000), WallTime(3_600_000_000)), WallTime(3_600_000_000));
    }

    proptest! {
        #[test]
        fn published_time_always_advances(steps in proptest::collection::vec((1_u64..1 << 30, any::<u32>()), 1..50)) {
            let (mut anchor, mut now, mut before) = (WallAnchor::default(), 0, None);
            for (elapsed, wall) in steps {
                now += elapsed;
                let published = anchor.at(BootTime(now), WallTime(wall.into()));
                prop_assert!(before.is_none_or(|before| published > before));
                before = Some(published);
            }
        }
    }
}
