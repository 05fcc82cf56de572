//! Over plain directories that look like cgroups; the real ones are in `cgroup/real.rs`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kubevitals::sample::CpuTime;

use super::*;
use crate::cgroup::{Hierarchy, RESERVE};

/// Three version 1 hierarchies with one cgroup, `/a`.
struct Fake {
    dir: tempfile::TempDir,
    mounts: Mounts,
}

impl Fake {
    fn v1() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = |name: &str| {
            fs::create_dir_all(dir.path().join(name).join("a")).unwrap();
            Tree::open(&dir.path().join(name), Version::V1).unwrap()
        };
        let mounts = Mounts {
            hierarchy: Hierarchy::V1,
            cpu: tree("cpuacct"),
            throttling: Some(tree("cpu")),
            memory: tree("memory"),
            tasks: None,
        };
        let fake = Self { dir, mounts };
        fake.write("memory/a/memory.stat", "total_cache 8192\ntotal_rss 4096\ntotal_inactive_file 4096\n");
        fake.write("memory/a/memory.usage_in_bytes", "40960\n");
        fake.write("cpuacct/a/cpuacct.usage", "1000001\n");
        fake.write("cpu/a/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 99\n");
        fake
    }

    fn v2() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let mounts = Mounts::unified(Tree::open(dir.path(), Version::V2).unwrap());
        let fake = Self { dir, mounts };
        fake.write("a/memory.stat", "anon 4096\nfile 8192\ninactive_file 4096\n");
        fake.write("a/memory.current", "40960\n");
        fake.write(
            "a/cpu.stat",
            "usage_usec 7\nuser_usec 7\nnr_periods 4\nnr_throttled 2\nthrottled_usec 99\n",
        );
        fake
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    fn open(&self, descriptors: &Descriptors) -> Result<CgroupReader, ReadError> {
        CgroupReader::open(&self.mounts, &CgroupPath::new("/a").unwrap(), descriptors)
    }
}

/// A budget that keeps files and directories, one that keeps files, and one that keeps nothing.
fn budgets() -> [Descriptors; 3] {
    [1 << 20, RESERVE + 3, 0].map(Descriptors::with_limit)
}

#[test]
fn a_version_1_cgroup_is_read_from_its_separate_trees() {
    let fake = Fake::v1();
    for descriptors in budgets() {
        let mut reader = fake.open(&descriptors).unwrap();
        let details = reader.details(&mut Buffer::new()).unwrap();
        let sample = reader.sample(&mut Buffer::new()).unwrap();
        assert_eq!(sample.cpu, CpuTime(1_000_001));
        assert_eq!(sample.working_set.bytes(), 36_864);
        assert_eq!(details.get(Detail::MemoryUsage), Some(40_960));
        assert_eq!(details.get(Detail::Anon), Some(4096));
        assert_eq!(details.get(Detail::CpuThrottled), Some(99));
        assert_eq!(details.get(Detail::Swap), None);
        assert_eq!(details.get(Detail::MemoryPeak), None);
    }
}

#[test]
fn a_version_2_cgroup_is_read_from_one_directory() {
    let fake = Fake::v2();
    fake.write("a/memory.swap.current", "0\n");
    for descriptors in budgets() {
        let mut reader = fake.open(&descriptors).unwrap();
        let sample = reader.sample(&mut Buffer::new()).unwrap();
        assert_eq!((sample.cpu, sample.working_set.bytes()), (CpuTime(7000), 36_864));
        let details = reader.details(&mut Buffer::new()).unwrap();
        assert_eq!(details.get(Detail::Swap), Some(0));
        assert_eq!(details.get(Detail::CpuThrottled), Some(99_000));
    }
}

#[test]
fn memory_only_version_2_has_is_read_beside_version_1_cpu_time() {
    let (v1, v2) = (Fake::v1(), Fake::v2());
    let mounts =
        Mounts { memory: v2.mounts.memory.clone(), hierarchy: Hierarchy::Hybrid, ..v1.mounts.clone() };
    let mut reader =
        CgroupReader::open(&mounts, &CgroupPath::new("/a").unwrap(), &Descriptors::with_limit(0)).unwrap();

    let sample = reader.sample(&mut Buffer::new()).unwrap();
    let details = reader.details(&mut Buffer::new()).unwrap();

    assert_eq!(sample.cpu, CpuTime(1_000_001));
    assert_eq!(details.get(Detail::File), Some(8192));
    assert_eq!(details.get(Detail::CpuThrottled), Some(99));
}

#[test]
fn details_of_the_sample_are_not_read_again() {
    let fake = Fake::v2();
    let mut reader = fake.open(&Descriptors::with_limit(0)).unwrap();
    let mut beside = Details::default();
    reader.sample_beside(&mut Buffer::new(), Some(&mut beside)).unwrap();
    fake.write("a/memory.current", "81920\n");
    fake.write("a/memory.events", "oom_kill 3\n");

    let details = reader.complete(beside, &mut Buffer::new()).unwrap();

    assert_eq!(details.get(Detail::MemoryUsage), Some(40_960));
    assert_eq!(details.get(Detail::OomKills), Some(3));
}

#[test]
fn details_of_a_removed_cgroup_are_not_called_absent() {
    let fake = Fake::v2();
    let mut reader = fake.open(&Descriptors::with_limit(RESERVE + 3)).unwrap();
    reader.sample(&mut Buffer::new()).unwrap();
    fs::remove_dir_all(fake.path("a")).unwrap();
    assert_eq!(reader.details(&mut Buffer::new()), Err(ReadError::Gone));
}

#[test]
fn a_removed_cgroup_is_gone_and_gives_no_half_sample() {
    let fake = Fake::v1();
    let mut reader = fake.open(&Descriptors::with_limit(0)).unwrap();
    fs::remove_file(fake.path("cpuacct/a/cpuacct.usage")).unwrap();
    assert_eq!(reader.sample(&mut Buffer::new()), Err(ReadError::Gone));
}

#[test]
fn another_cgroup_under_the_same_path_is_never_read() {
    let fake = Fake::v2();
    let mut reader = fake.open(&Descriptors::with_limit(0)).unwrap();
    // The old directory stays in being under another name, so that its inode is not used again.
    fs::rename(fake.path("a"), fake.path("old")).unwrap();
    fs::create_dir(fake.path("a")).unwrap();
    for file in ["memory.stat", "memory.current", "cpu.stat"] {
        fs::copy(fake.path("old").join(file), fake.path("a").join(file)).unwrap();
    }
    assert_eq!(reader.sample(&mut Buffer::new()), Err(ReadError::Gone));
    assert_eq!(reader.details(&mut Buffer::new()), Err(ReadError::Gone));
    assert_eq!(reader.has_processes(false), Err(ReadError::Gone));
    assert!(fake.open(&Descriptors::with_limit(0)).is_ok());
}

#[test]
fn a_cgroup_without_one_controller_says_which() {
    let fake = Fake::v1();
    fs::remove_dir_all(fake.path("cpuacct/a")).unwrap();
    let error = fake.open(&Descriptors::with_limit(0)).unwrap_err();
    assert_eq!(error.to_string(), "/a is not in the cpuacct hierarchy");
    assert_eq!(error.kind(), "missing");

    let fake = Fake::v2();
    fs::remove_file(fake.path("a/memory.current")).unwrap();
    let error = fake.open(&Descriptors::with_limit(0)).unwrap_err();
    assert_eq!(error.to_string(), "/a is not in the memory hierarchy");

    fs::remove_dir_all(fake.path("a")).unwrap();
    assert_eq!(fake.open(&Descriptors::with_limit(0)).unwrap_err(), ReadError::Gone);
}

#[test]
fn garbled_empty_and_cut_files_are_errors_that_name_the_file() {
    let cases = [
        ("memory.stat", "inactive_file x\n", "memory.stat: inactive_file: not a number"),
        ("memory.stat", "anon 1\n", "memory.stat: inactive_file: it is missing"),
        ("memory.current", "", "memory.current: text: it is empty"),
        ("memory.current", "4096", "memory.current: text: it ends in the middle of a line"),
        ("memory.current", "40961\n", "memory.current: working set: not a whole number of pages"),
        ("memory.current", "-4096\n", "memory.current: value: below zero"),
        ("cpu.stat", "usage_usec 99999999999999999999\n", "cpu.stat: usage_usec: too large"),
    ];
    for (file, text, expected) in cases {
        let fake = Fake::v2();
        fake.write(&format!("a/{file}"), text);
        let mut reader = fake.open(&Descriptors::with_limit(0)).unwrap();
        let error = reader.sample(&mut Buffer::new()).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind()), (expected, "malformed"));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let fake = Fake::v2();
    fs::remove_file(fake.path("a/cpu.stat")).unwrap();
    fs::create_dir(fake.path("a/cpu.stat")).unwrap();
    let mut reader = fake.open(&Descriptors::with_limit(0)).unwrap();
    let error = reader.sample(&mut Buffer::new()).unwrap_err();
    assert_eq!(error, ReadError::Failed { file: "cpu.stat", errno: Errno::ISDIR });
    assert!(Path::new(&fake.path("a")).exists());
}

#[test]
fn a_dropped_reader_gives_its_descriptors_back() {
    let fake = Fake::v1();
    let descriptors = Descriptors::with_limit(RESERVE + 3);
    let first = fake.open(&descriptors).unwrap();
    let second = fake.open(&descriptors).unwrap();
    assert_eq!((descriptors.kept(), descriptors.on_demand()), (1, 1));
    drop((first, second));
    assert_eq!((descriptors.kept(), descriptors.on_demand()), (0, 0));
    assert!(fake.open(&descriptors).is_ok());
}
