//! Whole files through the agent's readers: detection, one cgroup, the node. The files lie in a directory in memory
//! that stands for `/sys/fs/cgroup` and `/proc`; the input is their texts with zero bytes between them.
#![no_main]

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use kubevitals::sample::{CgroupPath, Detail, Details};
use kubevitals_agent::{
    cgroup::{Buffer, CgroupReader, Descriptors, Hierarchy, Mounts, ReadError, Tree, Version, detect, text},
    node::{CpuSource, MemorySource, NodeMemory, NodeReader},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&what, texts)) = data.split_first() else {
        return;
    };
    BED.with_borrow_mut(|bed| match what % 4 {
        0 => bed.detection(texts),
        1 => bed.cgroup(Version::V1, texts),
        2 => bed.cgroup(Version::V2, texts),
        _ => bed.node(texts),
    });
});

thread_local! {
    static BED: RefCell<Bed> = RefCell::new(Bed::new());
}

/// The files of one cgroup, in the order in which their texts come.
const V1: [&str; 5] = [
    "memory.stat",
    "memory.usage_in_bytes",
    "cpuacct.usage",
    "memory.max_usage_in_bytes",
    "memory.oom_control",
];
const V2: [&str; 9] = [
    "memory.stat",
    "memory.current",
    "cpu.stat",
    "memory.peak",
    "memory.swap.current",
    "memory.events",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
];
const NODE: [&str; 6] =
    ["proc/meminfo", "proc/stat", "v2/memory.stat", "v2/cpu.stat", "v2/memory.current", "v2/memory.pressure"];

struct Bed {
    root: PathBuf,
    buffer: Buffer,
    descriptors: Descriptors,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Bed {
    fn new() -> Self {
        let root = Path::new("/dev/shm").join(format!("kubevitals-fuzz-{}", std::process::id()));
        for directory in ["proc/self", "v1/c", "v2/c", "fs/memory", "fs/cpu,cpuacct", "fs/unified", "fs/a b"]
        {
            fs::create_dir_all(root.join(directory)).expect("a directory in memory");
        }
        fs::write(root.join("fs/unified/cgroup.controllers"), "hugetlb memory\n").expect("a file in memory");
        Self { root, buffer: Buffer::new(), descriptors: Descriptors::with_limit(1024) }
    }

    /// Writes one text to each file; a file whose text is missing or a single `-` does not exist.
    fn write<'t>(&self, directory: &str, files: &[&str], texts: &'t [u8]) -> Vec<Option<&'t [u8]>> {
        let mut texts = texts.split(|&byte| byte == 0);
        let mut written = Vec::new();
        for file in files {
            let path = self.root.join(directory).join(file);
            let text = texts.next().filter(|&text| text != b"-");
            match text {
                Some(text) => fs::write(&path, text).expect("a file in memory"),
                None => drop(fs::remove_file(&path)),
            }
            written.push(text);
        }
        written
    }

    fn cgroup(&mut self, version: Version, texts: &[u8]) {
        let (directory, files): (_, &[&str]) = match version {
            Version::V1 => ("v1", &V1),
            Version::V2 => ("v2", &V2),
        };
        let texts = self.write(&format!("{directory}/c"), files, texts);
        let mounts = Mounts::unified(Tree::open(&self.root.join(directory), version).expect("it exists"));
        let path = CgroupPath::new("/c").expect("a path");
        let mut reader = match CgroupReader::open(&mounts, &path, &self.descriptors) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(matches!(error, ReadError::Missing { .. }), "{error}");
                return assert!(texts[..3].contains(&None), "{error}, though the files are there");
            }
        };
        let (stat, usage, cpu) = (texts[0].unwrap(), texts[1].unwrap(), texts[2].unwrap());
        let key = |text: &[u8], key: &'static str| text::keyed(text, &[key]).ok().and_then(|[value]| value);
        match reader.sample(&mut self.buffer) {
            Ok(sample) => {
                let (inactive, used) = match version {
                    Version::V1 => (key(stat, "total_inactive_file"), text::value(cpu).unwrap()),
                    Version::V2 => {
                        (key(stat, "inactive_file"), key(cpu, "usage_usec").map(|used| used * 1000))
                    }
                };
                let usage = text::value(usage).unwrap().expect("no limit is no usage");
                assert_eq!(sample.working_set.bytes(), usage.saturating_sub(inactive.unwrap()));
                assert_eq!(Some(sample.cpu.0), used);
            }
            Err(error) => assert!(matches!(error, ReadError::Malformed { .. }), "{error}"),
        }
        match reader.details(&mut self.buffer) {
            Ok(details) => {
                let at = |name: &str| files.iter().position(|file| *file == name).and_then(|at| texts[at]);
                let single = |name| at(name).and_then(|text| text::value(text).unwrap());
                assert_eq!(details.get(Detail::MemoryUsage), text::value(usage).unwrap());
                let (peak, oom) = match version {
                    Version::V1 => ("memory.max_usage_in_bytes", "memory.oom_control"),
                    Version::V2 => ("memory.peak", "memory.events"),
                };
                assert_eq!(details.get(Detail::MemoryPeak), single(peak));
                assert_eq!(details.get(Detail::OomKills), at(oom).and_then(|text| key(text, "oom_kill")));
                if version == Version::V2 {
                    assert_eq!(details.get(Detail::Swap), single("memory.swap.current"));
                    let some = |name| at(name).and_then(|text| text::pressure(text).unwrap().some);
                    assert_eq!(details.get(Detail::IoPressureSome), some("io.pressure"));
                    assert_eq!(details.get(Detail::CpuPressureSome), some("cpu.pressure"));
                }
            }
            Err(error) => assert!(matches!(error, ReadError::Malformed { .. }), "{error}"),
        }
    }

    fn node(&mut self, texts: &[u8]) {
        let texts = self.write("", &NODE, texts);
        let mounts = Mounts::unified(Tree::open(&self.root.join("v2"), Version::V2).expect("it exists"));
        for formula in [NodeMemory::CgroupStat, NodeMemory::MemInfo] {
            let mut node = match NodeReader::open(&mounts, &self.root.join("proc"), formula) {
                Ok(node) => node,
                Err(error) => {
                    let missing = texts[..2].contains(&None);
                    assert!(missing || matches!(error, ReadError::Malformed { .. }), "{error}");
                    continue;
                }
            };
            assert_eq!(node.memory_source() == MemorySource::Cgroup, texts[4].is_some());
            assert_eq!(node.cpu_source() == CpuSource::Cgroup, texts[3].is_some());
            let details: Result<Details, ReadError> = match node.sample(&mut self.buffer) {
                Ok(sample) => {
                    assert!(sample.working_set.bytes().is_multiple_of(4096));
                    if let Some(text) = texts[3] {
                        let [used] = text::keyed(text, &["usage_usec"]).unwrap();
                        assert_eq!(Some(sample.cpu.0), used.map(|used| used * 1000));
                    }
                    node.details(&mut self.buffer)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = details {
                assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
            }
        }
    }

    /// The text is a list of mounts, in which `@` stands for the root.
    fn detection(&mut self, list: &[u8]) {
        let root = self.root.join("fs");
        let name = root.to_str().expect("an ASCII path").as_bytes();
        let list: Vec<u8> = list.split(|&byte| byte == b'@').collect::<Vec<_>>().join(name);
        let Some(found) = self.detected(&root, &list) else {
            return;
        };
        let (hierarchy, memory, cpu, throttling) = &found;
        assert!(memory.0.starts_with(&root) && cpu.0.starts_with(&root));
        match hierarchy {
            Hierarchy::V2 => {
                assert_eq!((memory, Some(memory)), (cpu, throttling.as_ref()));
                assert_eq!(memory.1, Version::V2);
            }
            Hierarchy::V1 => assert_eq!((memory.1, cpu.1), (Version::V1, Version::V1)),
            Hierarchy::Hybrid => assert_eq!(cpu.1, Version::V1),
        }
        // Mounts elsewhere, other file systems and broken lines change nothing.
        for line in [
            "1 2 0:3 / /elsewhere rw - cgroup2 cgroup2 rw\n",
            "broken line\n",
            "1 2 0:3 / /x\\040y rw - ext4 x rw\n",
        ] {
            let more = [line.as_bytes(), &list].concat();
            assert_eq!(self.detected(&root, &more).as_ref(), Some(&found), "{line}");
        }
    }

    #[expect(clippy::type_complexity, reason = "said once")]
    fn detected(
        &self,
        root: &Path,
        list: &[u8],
    ) -> Option<(Hierarchy, (PathBuf, Version), (PathBuf, Version), Option<(PathBuf, Version)>)> {
        fs::write(self.root.join("proc/self/mountinfo"), list).expect("a file in memory");
        let mounts = detect(root, &self.root.join("proc")).ok()?;
        let tree = |tree: &Tree| (tree.directory().to_owned(), tree.version());
        Some((mounts.hierarchy(), tree(mounts.memory()), tree(mounts.cpu()), mounts.throttling().map(tree)))
    }
}
