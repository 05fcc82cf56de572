//! Which version 2 files mean what. The functions have the same names and results as those of `v1.rs`.
//!
//! Everything here counts a cgroup with its descendants.
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>

use kubevitals::sample::{CpuTime, Detail, Details};

use super::{
    file::{Buffer, Directory, Name, ReadError},
    text::{self, Fault, Pressure, Remembered, TextError, keyed, required},
};

/// Where memory is broken down.
pub(super) const MEMORY_STAT: Name = Name(c"memory.stat");
/// Memory in use, bytes.
pub(super) const MEMORY_USAGE: Name = Name(c"memory.current");
/// CPU time and throttling.
pub(super) const CPU: Name = Name(c"cpu.stat");
const INACTIVE_FILE: &str = "inactive_file";
const MEMORY_PEAK: Name = Name(c"memory.peak");
const MEMORY_SWAP: Name = Name(c"memory.swap.current");
const MEMORY_EVENTS: Name = Name(c"memory.events");

/// The pressure files, and the details their two totals are.
const PRESSURES: [(Name, Detail, Detail); 3] = [
    (Name(c"cpu.pressure"), Detail::CpuPressureSome, Detail::CpuPressureFull),
    (Name(c"memory.pressure"), Detail::MemoryPressureSome, Detail::MemoryPressureFull),
    (Name(c"io.pressure"), Detail::IoPressureSome, Detail::IoPressureFull),
];

/// Inactive file pages of `memory.stat`, bytes; `place` is where they stood last in the same file.
pub(super) fn inactive_file(text: &[u8], place: &mut Remembered) -> Result<u64, TextError> {
    place.required(text, INACTIVE_FILE)
}

/// The same; the details that stand beside them are set.
pub(crate) fn memory_stat(text: &[u8], details: &mut Details) -> Result<u64, TextError> {
    let [inactive, anon, file] = keyed(text, &[INACTIVE_FILE, "anon", "file"])?;
    details.set(Detail::InactiveFile, inactive);
    details.set(Detail::Anon, anon);
    details.set(Detail::File, file);
    required(INACTIVE_FILE, inactive)
}

/// CPU time of `cpu.stat`: microseconds there, nanoseconds here.
pub(super) fn cpu_time(text: &[u8]) -> Result<CpuTime, TextError> {
    let [usage] = keyed(text, &["usage_usec"])?;
    nanoseconds("usage_usec", required("usage_usec", usage)?).map(CpuTime)
}

/// Throttling, from `cpu.stat` too; its keys are there only where the cpu controller is on.
pub(super) fn throttling(text: &[u8], details: &mut Details) -> Result<(), TextError> {
    let [periods, throttled, time] = keyed(text, &["nr_periods", "nr_throttled", "throttled_usec"])?;
    details.set(Detail::CpuPeriods, periods);
    details.set(Detail::CpuThrottledPeriods, throttled);
    details.set(Detail::CpuThrottled, time.map(|time| nanoseconds("throttled_usec", time)).transpose()?);
    Ok(())
}

/// Details that have files of their own.
pub(super) fn own_file_details(
    directory: &Directory,
    buffer: &mut Buffer,
    details: &mut Details,
) -> Result<(), ReadError> {
    for (name, detail) in [(MEMORY_PEAK, Detail::MemoryPeak), (MEMORY_SWAP, Detail::Swap)] {
        if let Some(text) = directory.read_optional(name, buffer)? {
            details.set(detail, text::value(text).map_err(|e| name.malformed(e))?);
        }
    }
    if let Some(text) = directory.read_optional(MEMORY_EVENTS, buffer)? {
        let [kills] = keyed(text, &["oom_kill"]).map_err(|e| MEMORY_EVENTS.malformed(e))?;
        details.set(Detail::OomKills, kills);
    }
    pressures(directory, &PRESSURES, buffer, details)
}

/// Pressure totals; each file may be missing or switched off.
pub(crate) fn pressures(
    directory: &Directory,
    files: &[(Name, Detail, Detail)],
    buffer: &mut Buffer,
    details: &mut Details,
) -> Result<(), ReadError> {
    for &(name, on_some, on_full) in files {
        if let Some(text) = directory.read_optional(name, buffer)? {
            let Pressure { some, full } = text::pressure(text).map_err(|e| name.malformed(e))?;
            details.set(on_some, some);
            details.set(on_full, full);
        }
    }
    Ok(())
}

fn nanoseconds(what: &'static str, micros: u64) -> Result<u64, TextError> {
    micros.checked_mul(1000).ok_or(TextError { what, fault: Fault::TooLarge })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn cpu_time_is_given_in_nanoseconds() {
        let text = b"usage_usec 2500000\nuser_usec 1\nsystem_usec 2\nnice_usec 0\n";
        assert_eq!(cpu_time(text), Ok(CpuTime(2_500_000_000)));
        assert!(cpu_time(b"user_usec 1\n").is_err());
        assert!(cpu_time(b"usage_usec 18446744073709552\n").is_err(), "would overflow as nanoseconds");
    }

    #[test]
    fn without_the_cpu_controller_throttling_is_absent() {
        let mut details = Details::default();
        throttling(b"usage_usec 1\nuser_usec 1\nsystem_usec 0\n", &mut details).unwrap();
        assert_eq!(details, Details::default());
    }

    #[test]
    fn throttled_time_is_given_in_nanoseconds() {
        let mut details = Details::default();
        throttling(b"usage_usec 1\nnr_periods 10\nnr_throttled 3\nthrottled_usec 5000\n", &mut details)
            .unwrap();
        assert_eq!(details.get(Detail::CpuThrottled), Some(5_000_000));
    }

    #[test]
    fn the_plain_keys_of_memory_stat_count() {
        let text =
            b"anon 8192\nfile 12288\nkernel 4096\ninactive_anon 0\ninactive_file 4096\nactive_file 8192\n";
        let mut details = Details::default();
        assert_eq!(memory_stat(text, &mut details), Ok(4096));
        assert_eq!(inactive_file(text, &mut Remembered::default()), Ok(4096));
        assert_eq!(details.get(Detail::File), Some(12_288));
        assert_eq!(details.get(Detail::Swap), None);
    }

    #[test]
    fn files_that_are_not_there_leave_their_details_absent() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.events"), "low 0\noom 2\noom_kill 1\n").unwrap();
        fs::write(dir.path().join("io.pressure"), "some avg10=0.00 total=5\n").unwrap();
        let mut details = Details::default();

        let directory = Directory::open(dir.path()).unwrap();
        own_file_details(&directory, &mut Buffer::new(), &mut details).unwrap();

        let found: Vec<_> = details.iter().collect();
        assert_eq!(found, [(Detail::OomKills, 1), (Detail::IoPressureSome, 5)]);
    }

    #[test]
    fn a_garbled_optional_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.swap.current"), "oops\n").unwrap();
        let directory = Directory::open(dir.path()).unwrap();

        let error = own_file_details(&directory, &mut Buffer::new(), &mut Details::default()).unwrap_err();

        assert_eq!(error.to_string(), "memory.swap.current: value: not a number");
    }
}
