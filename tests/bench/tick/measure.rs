//! CPU time, reads and allocations of sweeps.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{figure::median, ways::Way};

/// Sweeps of each way before the first that counts: the agent's history has to be full.
const WARM: usize = 4;

/// How long each way sweeps without a pause.
const HOT: Duration = Duration::from_secs(1);

/// CPU time of one sweep, microseconds.
pub(crate) fn sweep(way: &mut Way<'_>) -> f64 {
    let before = thread_cpu();
    (way.sweep)();
    thread_cpu().saturating_sub(before).as_secs_f64() * 1e6
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// CPU time of a sweep by each way, microseconds: the medians. Ways take turns, one sweep a second, so that each
/// finds the machine's caches as a second of other work leaves them, and a slow second harms all of them alike.
pub(crate) fn paced(ways: &mut [Way<'_>], rounds: usize) -> Vec<f64> {
    warm(ways);
    let mut all: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
    let mut due = Instant::now();
    for _ in 0..rounds {
        for (way, found) in ways.iter_mut().zip(&mut all) {
            due += Duration::from_secs(1);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            found.push(sweep(way));
        }
    }
    all.iter().map(|found| median(found)).collect()
}

/// The same without any pause, one way after the other.
pub(crate) fn hot(ways: &mut [Way<'_>]) -> Vec<f64> {
    warm(ways);
    ways.iter_mut()
        .map(|way| {
            let (begin, mut found) = (Instant::now(), Vec::new());
            while begin.elapsed() < HOT {
                found.push(sweep(way));
            }
            median(&found)
        })
        .collect()
}

fn warm(ways: &mut [Way<'_>]) {
    for _ in 0..WARM {
        for way in ways.iter_mut() {
            (way.sweep)();
        }
    }
}

/// Read calls of one sweep; `None` where the kernel does not count them.
pub(crate) fn reads(way: &mut Way<'_>) -> Option<u64> {
    let itself = reads_of(|| ())?;
    Some(reads_of(|| (way.sweep)())?.saturating_sub(itself))
}

fn reads_of(work: impl FnOnce()) -> Option<u64> {
    let before = read_calls()?;
    work();
    Some(read_calls()? - before)
}

/// Read calls of this thread so far (proc(5), `syscr`).
fn read_calls() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("syscr: ")?.parse().ok())
}

/// The most allocations of any of so many sweeps, and the bytes they took.
pub(crate) fn allocations(way: &mut Way<'_>, sweeps: usize) -> (u64, u64) {
    let counted = (0..sweeps).map(|_| {
        let counted = allocation_counter::measure(|| (way.sweep)());
        (counted.count_total, counted.bytes_total)
    });
    counted.max().unwrap_or_default()
}
