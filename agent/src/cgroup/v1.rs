//! Which version 1 files mean what. The functions have the same names and results as those of `v2.rs`.
//!
//! The `total_` keys count a cgroup with its descendants, as `memory.usage_in_bytes` and `cpuacct.usage` do.
//! <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>

use kubevitals::sample::{CpuTime, Detail, Details};

use super::{
    file::{Buffer, Directory, Name, ReadError},
    text::{self, Remembered, TextError, keyed, required},
};

/// Where memory is broken down.
pub(super) const MEMORY_STAT: Name = Name(c"memory.stat");
/// Memory in use, bytes.
pub(super) const MEMORY_USAGE: Name = Name(c"memory.usage_in_bytes");
/// CPU time.
pub(super) const CPU: Name = Name(c"cpuacct.usage");
const INACTIVE_FILE: &str = "total_inactive_file";
const MEMORY_PEAK: Name = Name(c"memory.max_usage_in_bytes");
const OOM: Name = Name(c"memory.oom_control");

/// Inactive file pages of `memory.stat`, bytes; `place` is where they stood last in the same file.
pub(super) fn inactive_file(text: &[u8], place: &mut Remembered) -> Result<u64, TextError> {
    place.required(text, INACTIVE_FILE)
}

/// The same; the details that stand beside them are set.
pub(super) fn memory_stat(text: &[u8], details: &mut Details) -> Result<u64, TextError> {
    let keys = [INACTIVE_FILE, "total_rss", "total_cache", "total_swap"];
    let [inactive, anon, file, swap] = keyed(text, &keys)?;
    details.set(Detail::InactiveFile, inactive);
    details.set(Detail::Anon, anon);
    details.set(Detail::File, file);
    // Absent when the kernel does not account swap.
    details.set(Detail::Swap, swap);
    required(INACTIVE_FILE, inactive)
}

/// CPU time of `cpuacct.usage`: nanoseconds of the scheduler.
pub(super) fn cpu_time(text: &[u8]) -> Result<CpuTime, TextError> {
    required("value", text::value(text)?).map(CpuTime)
}

/// Throttling, from the `cpu` controller's `cpu.stat`.
pub(super) fn throttling(text: &[u8], details: &mut Details) -> Result<(), TextError> {
    let [periods, throttled, time] = keyed(text, &["nr_periods", "nr_throttled", "throttled_time"])?;
    details.set(Detail::CpuPeriods, periods);
    details.set(Detail::CpuThrottledPeriods, throttled);
    details.set(Detail::CpuThrottled, time);
    Ok(())
}

/// Details that have files of their own in the memory tree. Version 1 has no pressure.
pub(super) fn own_file_details(
    directory: &Directory,
    buffer: &mut Buffer,
    details: &mut Details,
) -> Result<(), ReadError> {
    if let Some(text) = directory.read_optional(MEMORY_PEAK, buffer)? {
        let peak = text::value(text).map_err(|e| MEMORY_PEAK.malformed(e))?;
        details.set(Detail::MemoryPeak, peak);
    }
    if let Some(text) = directory.read_optional(OOM, buffer)? {
        // The key came with Linux 4.13.
        let [kills] = keyed(text, &["oom_kill"]).map_err(|e| OOM.malformed(e))?;
        details.set(Detail::OomKills, kills);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cgroup on Linux 6.18, shortened.
    const STAT: &[u8] = b"cache 12288\nrss 8192\nswap 0\ninactive_file 4096\nhierarchical_memory_limit 9\n\
        total_cache 24576\ntotal_rss 16384\ntotal_swap 8192\ntotal_inactive_file 20480\ntotal_unevictable 0\n";

    #[test]
    fn the_hierarchical_keys_count() {
        let mut details = Details::default();

        assert_eq!(memory_stat(STAT, &mut details), Ok(20_480));
        assert_eq!(inactive_file(STAT, &mut Remembered::default()), Ok(20_480));

        assert_eq!(details.get(Detail::Anon), Some(16_384));
        assert_eq!(details.get(Detail::File), Some(24_576));
        assert_eq!(details.get(Detail::Swap), Some(8192));
    }

    #[test]
    fn a_memory_stat_without_inactive_file_is_no_zero() {
        let text = b"inactive_file 4096\n";
        for error in
            [memory_stat(text, &mut Details::default()), inactive_file(text, &mut Remembered::default())]
                .map(Result::unwrap_err)
        {
            assert_eq!(error.to_string(), "total_inactive_file: it is missing");
        }
    }

    #[test]
    fn cpu_time_is_nanoseconds_and_never_unlimited() {
        assert_eq!(cpu_time(b"1234567891\n"), Ok(CpuTime(1_234_567_891)));
        assert!(cpu_time(b"max\n").is_err());
    }

    #[test]
    fn throttled_time_is_nanoseconds() {
        let mut details = Details::default();
        throttling(b"nr_periods 10\nnr_throttled 3\nthrottled_time 5000000\n", &mut details).unwrap();
        assert_eq!(details.get(Detail::CpuPeriods), Some(10));
        assert_eq!(details.get(Detail::CpuThrottledPeriods), Some(3));
        assert_eq!(details.get(Detail::CpuThrottled), Some(5_000_000));
    }
}
