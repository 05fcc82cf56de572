//! Values beside CPU time and working set, each of which may be absent.

/// Declares the details once, for the enum, its list and its names.
macro_rules! details {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A value beside CPU time and working set; each is optional. Gauges are bytes; counters count since
        /// the cgroup was made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Detail { $($(#[$doc])* $name,)* }

        impl Detail {
            /// All, in the order of their numbers on the wire.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Name with unit, as in metrics and in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

details! {
    /// v1 `memory.usage_in_bytes`, v2 `memory.current`.
    MemoryUsage = "memory_usage_bytes",
    /// v1 `total_rss`, v2 `anon`.
    Anon = "anon_bytes",
    /// v1 `total_cache`, v2 `file`.
    File = "file_bytes",
    /// v1 `total_inactive_file`, v2 `inactive_file`.
    InactiveFile = "inactive_file_bytes",
    /// v1 `total_swap`, v2 `memory.swap.current`; node: `SwapTotal` − `SwapFree`.
    Swap = "swap_bytes",
    /// v2 `memory.peak`, v1 `memory.max_usage_in_bytes`.
    MemoryPeak = "memory_peak_bytes",
    /// `oom_kill` of `memory.events` (v2) or `memory.oom_control` (v1).
    OomKills = "oom_kills",
    /// `cpu.stat` `nr_periods`.
    CpuPeriods = "cpu_periods",
    /// `cpu.stat` `nr_throttled`.
    CpuThrottledPeriods = "cpu_throttled_periods",
    /// v1 `throttled_time`, v2 `throttled_usec` × 1000.
    CpuThrottled = "cpu_throttled_ns",
    /// `cpu.pressure` some total.
    CpuPressureSome = "cpu_pressure_some_us",
    /// `cpu.pressure` full total.
    CpuPressureFull = "cpu_pressure_full_us",
    /// `memory.pressure` some total.
    MemoryPressureSome = "memory_pressure_some_us",
    /// `memory.pressure` full total.
    MemoryPressureFull = "memory_pressure_full_us",
    /// `io.pressure` some total.
    IoPressureSome = "io_pressure_some_us",
    /// `io.pressure` full total.
    IoPressureFull = "io_pressure_full_us",
}

/// How many details there are.
pub const DETAILS: usize = Detail::ALL.len();

/// The details of one subject. Kept apart from each value is whether there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// One bit per detail.
    pub(super) present: u16,
    values: [u64; DETAILS],
}

impl Details {
    /// The value, if there is one.
    #[must_use]
    pub fn get(&self, detail: Detail) -> Option<u64> {
        let present = self.present & Self::bit(detail) != 0;
        self.values.get(detail as usize).copied().filter(|_| present)
    }

    /// Sets or clears it.
    pub fn set(&mut self, detail: Detail, value: Option<u64>) {
        self.present &= !Self::bit(detail);
        if let Some(slot) = self.values.get_mut(detail as usize) {
            *slot = value.unwrap_or(0);
            self.present |= if value.is_some() { Self::bit(detail) } else { 0 };
        }
    }

    /// Those that are present.
    pub fn iter(&self) -> impl Iterator<Item = (Detail, u64)> + '_ {
        Detail::ALL.iter().filter_map(|&detail| self.get(detail).map(|value| (detail, value)))
    }

    pub(super) fn bit(detail: Detail) -> u16 {
        1 << (detail as u8)
    }
}

const _: () = assert!(DETAILS <= 16, "the bits of `present`");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_keep_absent_apart_from_zero() {
        let mut details = Details::default();
        details.set(Detail::Swap, Some(0));
        assert_eq!(details.get(Detail::Swap), Some(0));
        assert_eq!(details.get(Detail::OomKills), None);
        assert_eq!(details.iter().collect::<Vec<_>>(), [(Detail::Swap, 0)]);
    }
}
