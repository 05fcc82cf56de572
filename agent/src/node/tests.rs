//! Over plain directories with the files that each kind of root has.

use std::fs;

use super::*;
use crate::cgroup::{Hierarchy, Tree};

struct Fake {
    dir: tempfile::TempDir,
    mounts: Mounts,
}

impl Fake {
    fn new(version: Version) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let tree = Tree::open(&dir.path().join("root"), version).unwrap();
        let mut mounts = Mounts::unified(tree);
        if version == Version::V1 {
            mounts.hierarchy = Hierarchy::V1;
        }
        let fake = Self { dir, mounts };
        fake.write("proc/stat", "cpu  100 20 3 9999 777 4 5 88 0 0\ncpu0 1\ncpu1 1\nintr 0\n");
        fake.write(
            "proc/meminfo",
            "MemTotal: 800 kB\nMemFree: 200 kB\nInactive(file): 40 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB\n",
        );
        fake
    }

    fn v2_root() -> Self {
        let fake = Self::new(Version::V2);
        fake.write("root/memory.stat", "anon 8192\nfile 40960\ninactive_file 4096\n");
        fake.write("root/cpu.stat", "usage_usec 123\nuser_usec 1\nsystem_usec 1\n");
        fake
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join(file), text).unwrap();
    }

    fn open(&self, formula: NodeMemory) -> NodeReader {
        NodeReader::open(&self.mounts, &self.dir.path().join("proc"), formula).unwrap()
    }
}

/// CPU nanoseconds and working set of one sample.
fn numbers(reader: &mut NodeReader) -> (u64, u64) {
    let sample = reader.sample(&mut Buffer::new()).unwrap();
    (sample.cpu.0, sample.working_set.bytes())
}

#[test]
fn a_version_2_root_has_anon_and_file_less_inactive_file() {
    let fake = Fake::v2_root();
    let mut reader = fake.open(NodeMemory::CgroupStat);

    assert_eq!(numbers(&mut reader), (123_000, 45_056));

    assert_eq!((reader.memory_source(), reader.cpu_source()), (MemorySource::RootStat, CpuSource::Cgroup));
    assert!(reader.memory_stat_took() > Duration::ZERO);
    let details = reader.details(&mut Buffer::new()).unwrap();
    assert_eq!(details.get(Detail::MemoryUsage), Some(49_152));
    assert_eq!(details.get(Detail::Swap), Some(40_960));
    assert_eq!(details.get(Detail::MemoryPeak), None);
}

#[test]
fn the_older_formula_is_total_less_free_less_inactive_file() {
    let fake = Fake::v2_root();
    let mut reader = fake.open(NodeMemory::MemInfo);
    assert_eq!(numbers(&mut reader), (123_000, 560 * 1024));
    assert_eq!(reader.memory_source().as_str(), "meminfo");
    assert_eq!(reader.memory_stat_took(), Duration::ZERO);
}

#[test]
fn a_root_with_memory_current_is_an_ordinary_cgroup_whatever_the_formula() {
    let fake = Fake::v2_root();
    fake.write("root/memory.current", "81920\n");
    fake.write("root/memory.swap.current", "4096\n");
    for formula in [NodeMemory::CgroupStat, NodeMemory::MemInfo] {
        let mut reader = fake.open(formula);
        assert_eq!(numbers(&mut reader), (123_000, 77_824));
        assert_eq!(reader.details(&mut Buffer::new()).unwrap().get(Detail::Swap), Some(4096));
    }
}

#[test]
fn a_version_1_root_is_usage_less_total_inactive_file() {
    let fake = Fake::new(Version::V1);
    let stat =
        "inactive_file 0\ntotal_cache 8192\ntotal_rss 4096\ntotal_swap 12288\ntotal_inactive_file 4096\n";
    fake.write("root/memory.stat", stat);
    fake.write("root/memory.usage_in_bytes", "81920\n");
    fake.write("root/cpuacct.usage", "17\n");
    let mut reader = fake.open(NodeMemory::MemInfo);
    assert_eq!(numbers(&mut reader), (17, 77_824));
    assert_eq!(reader.details(&mut Buffer::new()).unwrap().get(Detail::Swap), Some(12_288));
}

#[test]
fn an_old_kernel_without_the_roots_files_is_read_from_proc_and_says_so() {
    let fake = Fake::new(Version::V2);
    let mut reader = fake.open(NodeMemory::CgroupStat);
    assert_eq!((reader.memory_source(), reader.cpu_source()), (MemorySource::MemInfo, CpuSource::ProcStat));
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    assert_eq!(numbers(&mut reader), (132 * tick, 560 * 1024));
}

#[test]
fn capacity_is_cpus_online_and_total_memory() {
    let fake = Fake::v2_root();
    let capacity = fake.open(NodeMemory::CgroupStat).capacity();
    assert_eq!(capacity, Capacity { cpus: 2, memory_bytes: 800 * 1024 });
}

#[test]
fn a_root_that_lacks_a_file_or_a_key_gives_no_sample() {
    let fake = Fake::v2_root();
    let mut reader = fake.open(NodeMemory::CgroupStat);
    fake.write("root/memory.stat", "file 40960\ninactive_file 4096\n");
    let error = reader.sample(&mut Buffer::new()).unwrap_err();
    assert_eq!(error.to_string(), "memory.stat: anon: it is missing");

    fs::remove_file(fake.dir.path().join("root/memory.stat")).unwrap();
    fake.write("root/memory.current", "40960\n");
    let error = fake.open(NodeMemory::CgroupStat).sample(&mut Buffer::new()).unwrap_err();
    assert_eq!(error, ReadError::Failed { file: "memory.stat", errno: Errno::NOENT });
}

#[test]
fn without_proc_the_error_names_it() {
    let fake = Fake::v2_root();
    let error = NodeReader::open(&fake.mounts, Path::new("/nowhere"), NodeMemory::CgroupStat).unwrap_err();
    assert!(error.to_string().starts_with("proc: "), "{error}");
}
