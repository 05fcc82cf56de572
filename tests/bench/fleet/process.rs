//! What processes and threads have used, as the kernel counts it.

use std::{collections::BTreeMap, fs, path::Path};

use rustix::process::Pid;

/// User and system time so far, seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    /// Of a process.
    pub(crate) fn of(process: Pid) -> Self {
        Self::read(Path::new(&format!("/proc/{}/stat", process.as_raw_nonzero()))).unwrap_or_default()
    }

    /// Of this process's threads, by the names they were given.
    pub(crate) fn of_threads() -> BTreeMap<String, Self> {
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for thread in fs::read_dir("/proc/self/task").unwrap().flatten() {
            // A thread may end meanwhile.
            let Ok(name) = fs::read_to_string(thread.path().join("comm")) else { continue };
            let Some(cpu) = Self::read(&thread.path().join("stat")) else { continue };
            let sum = all.entry(name.trim().to_owned()).or_default();
            *sum = sum.and(cpu);
        }
        all
    }

    fn read(stat: &Path) -> Option<Self> {
        let stat = fs::read_to_string(stat).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let seconds = |field: usize| {
            Some(fields[field].parse::<f64>().ok()? / rustix::param::clock_ticks_per_second() as f64)
        };
        Some(Self { user: seconds(11)?, system: seconds(12)? })
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }

    pub(crate) fn all(self) -> f64 {
        self.user + self.system
    }
}

/// Resident memory of this process, KiB.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
