//! The node's own counters of a container, as the container itself reads them.
//!
//! A container sees its own cgroup. One that prints its counters five times a second leaves a log in which the container
//! runtime, on the node's clock, wrote beside each reading when it was taken. So no privilege is needed.

use k8s_openapi::jiff::Timestamp;

use crate::{forms::Pod, wait::seconds};

/// Prints `MEMORY INACTIVE CPU` on each line: bytes, bytes, and `NANOSECONDSn` or `MICROSECONDSu`. Version 2 or 1. The
/// loop starts no process but `sleep`, and uses little.
pub(crate) const PRINT_COUNTERS: &str = r#"
cd /sys/fs/cgroup
inactive() { while read -r key value; do [ "$key" != "$1" ] || i=$value; done <$2; }
while :; do
  if [ -f memory.current ]; then
    read -r m <memory.current; inactive inactive_file memory.stat
    while read -r key value; do [ "$key" != usage_usec ] || c=${value}u; done <cpu.stat
  else
    read -r m <memory/memory.usage_in_bytes; inactive total_inactive_file memory/memory.stat
    read -r c <cpuacct/cpuacct.usage; c=${c}n
  fi
  echo "$m $i $c"
  sleep 0.2
done
"#;

/// Load of a changing kind to put before it: some work, then rest.
pub(crate) const WORK: &str = r"
( while :; do n=0; while [ $n -lt 60000 ]; do n=$((n + 1)); done; sleep 0.5; done ) &
";

/// How late a line may have been stamped: on a node that is busy elsewhere, reading, printing and stamping drift apart.
const LATE: f64 = 0.5;

/// One line of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// When it was printed, in seconds since 1970.
    pub(crate) at: f64,
    /// CPU used since the container began, in core seconds.
    pub(crate) cpu: f64,
    /// Memory in use less inactive file pages, in bytes.
    pub(crate) working_set: u64,
}

/// Every reading of a log with timestamps; the last line may be cut off.
pub(crate) fn readings(log: &str) -> Vec<Reading> {
    log.lines().filter_map(reading).collect()
}

fn reading(line: &str) -> Option<Reading> {
    let [at, memory, inactive, cpu] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    let (memory, inactive): (u64, u64) = (memory.parse().ok()?, inactive.parse().ok()?);
    let cpu = match cpu.split_at_checked(cpu.len() - 1)? {
        (count, "n") => count.parse::<f64>().ok()? / 1e9,
        (count, "u") => count.parse::<f64>().ok()? / 1e6,
        _ => return None,
    };
    let at = seconds(at.parse::<Timestamp>().ok()?);
    Some(Reading { at, cpu, working_set: memory.saturating_sub(inactive) })
}

/// Between which two values the CPU counter was at a time; it never falls. What is stamped before was read before; what
/// is stamped after may have been read a little earlier.
fn cpu_at(readings: &[Reading], at: f64) -> Option<(f64, f64)> {
    let before = readings.iter().rev().find(|reading| reading.at <= at)?;
    let after = readings.iter().find(|reading| reading.at >= at + LATE)?;
    Some((before.cpu, after.cpu))
}

/// Between which two values the average usage was over a window that ended at a time, in cores.
fn cores(readings: &[Reading], end: f64, window: f64) -> Option<(f64, f64)> {
    let (begin_low, begin_high) = cpu_at(readings, end - window)?;
    let (end_low, end_high) = cpu_at(readings, end)?;
    Some(((end_low - begin_high) / window, (end_high - begin_low) / window))
}

/// Between which two values what is served for a pod's only container has to lie, in cores; `None` where the log does not
/// reach. A timestamp is cut to whole seconds, so the window may have ended at any time in its second.
pub(crate) fn allowed(readings: &[Reading], served: &Pod) -> Option<(f64, f64)> {
    let (second, window) = (served.timestamp as f64, served.window.as_secs_f64());
    (0_u8..=20).try_fold((f64::MAX, 0.0_f64), |all, step| {
        let (low, high) = cores(readings, second + f64::from(step) / 20.0, window)?;
        Some((all.0.min(low), all.1.max(high)))
    })
}

#[test]
fn readings_bound_the_usage_of_a_window() {
    let log = "2026-11-22T10:00:00.000000001Z 300 100 1000000000n\n\
               2026-11-22T10:00:10.5Z 50 100 3000000u\n\
               2026-11-22T10:00:20.5Z 5 0 7000000000n\nfailed to";
    let readings = readings(log);
    assert_eq!(readings.len(), 3);
    assert_eq!((readings[0].working_set, readings[1].working_set), (200, 0));
    let start = readings[0].at;
    assert_eq!(cpu_at(&readings, start + 5.0), Some((1.0, 3.0)));
    assert_eq!(cpu_at(&readings, start + 10.4), Some((1.0, 7.0)), "the second line may have been late");
    assert_eq!(cpu_at(&readings, start - 1.0), None);
    let (low, high) = cores(&readings, start + 20.0, 10.0).unwrap();
    assert!(low.abs() < 1e-6 && (high - 0.6).abs() < 1e-6, "{low} {high}");
}
