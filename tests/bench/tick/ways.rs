//! Ways to read the same counters once.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    time::Duration,
};

use cgroups_rs::fs::{
    Cgroup, cpu::CpuController, cpuacct::CpuAcctController, hierarchies, memory::MemController,
};
use kubevitals_agent::{
    cgroup::{
        Descriptors, Scope,
        clock::{boot_time, wall_time},
        detect,
    },
    history::History,
    node::{NodeMemory, NodeReader},
    sampler::{Sampler, Settings},
};

use crate::ground::Ground;

/// One way, ready to read everything once.
pub(crate) struct Way<'a> {
    pub(crate) name: &'static str,
    /// Cgroups that it reads, the node among them.
    pub(crate) cgroups: usize,
    pub(crate) sweep: Box<dyn FnMut() + 'a>,
}

/// Bytes of the longest file, and more.
const BUFFER: usize = 16 << 10;

/// The floor: descriptors that are kept, and nothing done with what was read.
pub(crate) fn floor(ground: &Ground) -> Way<'_> {
    let files: Vec<File> =
        ground.all().flat_map(|cgroup| &cgroup.files).map(|file| File::open(file).unwrap()).collect();
    let mut buffer = vec![0; BUFFER];
    let sweep = move || {
        for file in &files {
            assert!(file.read_at(&mut buffer, 0).unwrap() > 0);
        }
    };
    Way { name: "bare reads", cgroups: ground.all().count(), sweep: Box::new(sweep) }
}

/// Each file opened by its path, read into a text and taken apart.
pub(crate) fn naive(ground: &Ground) -> Way<'_> {
    let sweep = move || {
        for file in ground.all().flat_map(|cgroup| &cgroup.files) {
            let text = fs::read_to_string(file).unwrap();
            let values = text.lines().filter_map(|line| line.split(' ').next_back()?.parse::<u64>().ok());
            assert!(values.count() > 0);
        }
    };
    Way { name: "open, read, parse", cgroups: ground.all().count(), sweep: Box::new(sweep) }
}

/// The library cgroups-rs, its cgroups loaded once. Without the node, which it does not read.
pub(crate) fn cgroups_rs(ground: &Ground) -> Way<'_> {
    let loaded: Vec<Cgroup> = ground
        .cgroups
        .iter()
        .map(|cgroup| Cgroup::load(hierarchies::auto(), cgroup.path.trim_start_matches('/')))
        .collect();
    let v1 = ground.is_v1();
    let cgroups = loaded.len();
    let sweep = move || {
        for cgroup in &loaded {
            let memory: &MemController = cgroup.controller_of().unwrap();
            assert!(memory.memory_stat().usage_in_bytes > 0);
            if v1 {
                let cpu: &CpuAcctController = cgroup.controller_of().unwrap();
                assert!(cpu.cpuacct().usage > 0);
            } else {
                let cpu: &CpuController = cgroup.controller_of().unwrap();
                assert!(!cpu.cpu().stat.is_empty());
            }
        }
    };
    Way { name: "cgroups-rs", cgroups, sweep: Box::new(sweep) }
}

/// Batches that the agent keeps while it is measured: as few as it ever does, so that the history takes a checkpoint on
/// every fourth tick instead of every minute.
const KEPT: Duration = Duration::ZERO;

/// The agent's tick: events of discovery, the sweep, the batch, the history.
pub(crate) fn agent() -> Way<'static> {
    let mounts = detect(Path::new("/sys/fs/cgroup"), Path::new("/proc")).unwrap();
    let node = NodeReader::open(&mounts, Path::new("/proc"), NodeMemory::CgroupStat).unwrap();
    let settings = Settings {
        interval: Duration::from_secs(1),
        detail_every: 20,
        scope: Scope::Kubepods,
        node_memory: NodeMemory::CgroupStat,
        max_cgroups: 10_000,
    };
    let mut sampler = Sampler::new(settings, mounts, Descriptors::raised(), node).unwrap();
    let history = History::new(KEPT);
    let mut tick = move || -> usize {
        sampler.discover();
        let report = sampler.tick(boot_time(), wall_time());
        history.push(report.sequence, report.time, report.batch, sampler.chain());
        report.series
    };
    // The first one takes all cgroups in.
    let cgroups = tick();
    Way { name: "agent", cgroups, sweep: Box::new(move || _ = tick()) }
}
