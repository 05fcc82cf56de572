//! What a container costs in the store: memory, a sample that is stored, and a rate that is read.
//!
//! `cargo bench -p kubevitals --bench query` prints a line for each figure. Rings are filled as 300,000 containers of
//! 5000 nodes would fill them, and visited in the order of nodes (as ingest does) or in no order (as a list does), so
//! that each visit finds them where they lie in so large a store: in memory, not in the processor's cache.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and prints what it measured"
)]

use std::{fs, hint::black_box, time::Duration};

use kubevitals::sample::{BootTime, CpuTime, Sample, WorkingSet};
use kubevitals_aggregator::{
    store::ring::{Ring, Samples},
    usage::{Window, usage},
};
use rustix::time::{ClockId, clock_gettime};

const CONTAINERS: usize = 300_000;
const SAMPLES: usize = 62;
const SECOND: u64 = 1_000_000;

/// How often each figure is measured; the median is printed.
const RUNS: usize = 5;

fn main() {
    let before = resident();
    let mut rings: Vec<Ring> = (0..CONTAINERS).map(|_| Ring::new(SAMPLES)).collect();
    let mut tick = 0;
    while tick < 2 * SAMPLES as u64 {
        tick += 1;
        store(&mut rings, tick);
    }
    println!("memory of a container's ring: {} bytes", (resident() - before) / CONTAINERS);
    figure("a sample stored", || {
        tick += 1;
        store(&mut rings, tick);
    });
    for seconds in [15, 60] {
        let window = Window {
            length: Duration::from_secs(seconds),
            shortest: Duration::from_millis(250),
            until: BootTime(u64::MAX),
            not_before: None,
        };
        figure(&format!("a rate over {seconds} s, containers in order"), || {
            for ring in &rings {
                black_box(usage(ring, &window).unwrap());
            }
        });
        figure(&format!("a rate over {seconds} s, containers in no order"), || {
            for nth in 0..CONTAINERS {
                // The factor shares no divisor with their number, so that each is visited once.
                black_box(usage(&rings[nth * 7_654_321 % CONTAINERS], &window).unwrap());
            }
        });
    }
}

/// One tick of every container: most use a little CPU, each at its own rate that varies, some nothing; one in three
/// has memory that changes.
fn store(rings: &mut [Ring], tick: u64) {
    for (nth, ring) in (0..).zip(rings) {
        let noise = (tick * 7919 + nth * 104_729) % 997;
        let held = Samples::from(&*ring).newest().map_or(0, |newest| newest.cpu.0);
        let rate = [0, 200_000, 1_500_000, 4_000_000, 30_000_000][usize::try_from(nth % 5).unwrap()];
        let units = 5000 + (nth % 40_000) + if nth % 3 == 0 { noise / 8 } else { 0 };
        let sample = Sample {
            time: BootTime(tick * SECOND + nth % 60 * 15 + noise / 4),
            cpu: CpuTime(held + rate / 2 + rate * noise / 997),
            working_set: WorkingSet::from_units(u32::try_from(units).unwrap()),
        };
        ring.push(sample).unwrap();
    }
}

/// Prints the CPU time that each container takes in a visit of all of them.
fn figure(what: &str, mut visit: impl FnMut()) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begin = cpu_time();
            visit();
            cpu_time().saturating_sub(begin)
        })
        .collect();
    times.sort_unstable();
    println!("{what}: {:.0} ns", times[RUNS / 2].as_nanos() as f64 / CONTAINERS as f64);
}

/// What this thread has used: on a busy machine others' work counts less than on a wall clock.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
