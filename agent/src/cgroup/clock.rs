//! The two clocks: one for differences, one for people. Nothing else in the agent asks the time of a sample.

use kubevitals::sample::{BootTime, WallTime};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// `CLOCK_BOOTTIME`: monotonic, and goes on while the machine is suspended.
#[must_use]
pub fn boot_time() -> BootTime {
    BootTime(micros(clock_gettime(ClockId::Boottime)))
}

/// `CLOCK_REALTIME`; it can jump, so no difference is ever taken from it.
#[must_use]
pub fn wall_time() -> WallTime {
    WallTime(micros(clock_gettime(ClockId::Realtime)))
}

/// `CLOCK_REALTIME` as of the kernel's last tick, by which it dates inodes: what is made later never has an earlier time.
#[must_use]
pub(crate) fn file_time() -> WallTime {
    WallTime(micros(clock_gettime(ClockId::RealtimeCoarse)))
}

/// Microseconds; a time before the clock's zero is zero.
fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_never_goes_back_and_wall_time_is_after_2025() {
        let first = boot_time();
        assert!(boot_time() >= first);
        assert!(wall_time() > WallTime(1_735_689_600_000_000));
    }

    #[test]
    fn microseconds_are_rounded_down() {
        assert_eq!(micros(Timespec { tv_sec: 2, tv_nsec: 1999 }), 2_000_001);
        assert_eq!(micros(Timespec { tv_sec: -2, tv_nsec: 0 }), 0);
    }
}
