//! The node's own totals, from the root of the hierarchy, as the kubelet computes them.
//!
//! Whether that is the machine's root or an ordinary cgroup that serves as one (kind, other nested nodes) is told by
//! the files that are there, never by the path. The node's CPU time is not the sum of its cgroups': interrupts
//! belong to none of them.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use kubevitals::sample::{CpuTime, Detail, Details, Sample};
use rustix::io::Errno;

use crate::cgroup::{
    Buffer, Mounts, ReadError, Version, clock,
    file::{Directory, Name},
    text::{self, Fault, TextError},
    working_set,
};

const MEMINFO: Name = Name(c"meminfo");
const STAT: Name = Name(c"stat");

/// How memory in use is computed on a version 2 root, which has no `memory.current`. Elsewhere the choice changes
/// nothing, as it does not in the kubelet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeMemory {
    /// `anon` + `file` of `memory.stat`: kubelets from about 1.29 on. Leaves out the kernel's own memory.
    #[default]
    CgroupStat,
    /// `MemTotal` − `MemFree`: older kubelets.
    MemInfo,
}

/// Where memory in use is really read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// As in every other cgroup: version 1, or a nested node.
    Cgroup,
    /// `anon` + `file` of the root's `memory.stat`.
    RootStat,
    /// `MemTotal` − `MemFree`, by choice, or because Linux before 5.8 has no `memory.stat` there.
    MemInfo,
}

impl MemorySource {
    /// For people and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::RootStat => "memory.stat",
            Self::MemInfo => "meminfo",
        }
    }
}

/// Where CPU time is really read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuSource {
    /// `cpuacct.usage` or `cpu.stat` of the root.
    Cgroup,
    /// `/proc/stat`, because Linux before 5.8 has no `cpu.stat` on a version 2 root: steps of 10 ms.
    ProcStat,
}

impl CpuSource {
    /// For people and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::ProcStat => "proc stat",
        }
    }
}

/// What the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// CPUs online.
    pub cpus: u32,
    /// `MemTotal`.
    pub memory_bytes: u64,
}

/// Reads the node's totals. Files of the root cgroup are kept open; those of `/proc`, for old kernels and for details,
/// are opened for each reading.
#[derive(Debug)]
pub struct NodeReader {
    mounts: Mounts,
    proc: Directory,
    memory: MemorySource,
    cpu: CpuSource,
    files: Files,
    capacity: Capacity,
    memory_stat_took: Duration,
}

/// Those files of the root cgroup that there are.
#[derive(Debug)]
struct Files {
    memory_stat: Option<OwnedFd>,
    memory_usage: Option<OwnedFd>,
    cpu: Option<OwnedFd>,
}

/// Memory of one sample, bytes.
struct Memory {
    usage: u64,
    inactive_file: u64,
    /// The file to name when the two make no working set.
    file: Name,
}

impl NodeReader {
    /// Finds out which files there are, and the capacity.
    pub fn open(mounts: &Mounts, proc_root: &Path, formula: NodeMemory) -> Result<Self, ReadError> {
        let proc = Directory::open(proc_root).map_err(|errno| failed(Name(c"proc"), errno))?;
        let mut buffer = Buffer::new();
        let capacity = capacity(&proc, &mut buffer)?;
        let root = mounts.memory.root();
        let version = mounts.memory.version();
        let files = Files {
            memory_stat: opened(root, version.memory_stat())?,
            memory_usage: opened(root, version.memory_usage())?,
            cpu: opened(mounts.cpu.root(), mounts.cpu.version().cpu())?,
        };
        let memory = if files.memory_usage.is_some() {
            MemorySource::Cgroup
        } else if formula == NodeMemory::CgroupStat && files.memory_stat.is_some() {
            MemorySource::RootStat
        } else {
            MemorySource::MemInfo
        };
        let cpu = if files.cpu.is_some() { CpuSource::Cgroup } else { CpuSource::ProcStat };
        let mounts = mounts.clone();
        Ok(Self { mounts, proc, memory, cpu, files, capacity, memory_stat_took: Duration::ZERO })
    }

    /// What the node has; read once at the start.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Where memory is read.
    #[must_use]
    pub fn memory_source(&self) -> MemorySource {
        self.memory
    }

    /// Where CPU time is read.
    #[must_use]
    pub fn cpu_source(&self) -> CpuSource {
        self.cpu
    }

    /// How long the last reading of the root's `memory.stat` took: seconds on machines with tens of thousands of
    /// removed cgroups whose pages are still there. Zero when the file is not read.
    #[must_use]
    pub fn memory_stat_took(&self) -> Duration {
        self.memory_stat_took
    }

    /// Reads CPU time and working set, memory first.
    pub fn sample(&mut self, buffer: &mut Buffer) -> Result<Sample, ReadError> {
        self.sample_beside(buffer, None)
    }

    /// The same; what its files say beside it is set in `beside`, for [`complete`](Self::complete).
    pub(crate) fn sample_beside(
        &mut self,
        buffer: &mut Buffer,
        beside: Option<&mut Details>,
    ) -> Result<Sample, ReadError> {
        // One node does not pay for leaving them out.
        let mut unwanted = Details::default();
        let beside = beside.unwrap_or(&mut unwanted);
        let memory = match self.memory {
            MemorySource::Cgroup => self.cgroup_memory(buffer, beside)?,
            MemorySource::RootStat => self.root_memory(buffer, beside)?,
            MemorySource::MemInfo => self.meminfo_memory(buffer)?,
        };
        beside.set(Detail::MemoryUsage, Some(memory.usage));
        beside.set(Detail::InactiveFile, Some(memory.inactive_file));
        let cpu = match self.cpu {
            CpuSource::Cgroup => self.cgroup_cpu(buffer, beside)?,
            CpuSource::ProcStat => self.proc_stat_cpu(buffer)?,
        };
        let time = clock::boot_time();
        let working_set = working_set(memory.file, memory.usage, memory.inactive_file)?;
        Ok(Sample { time, cpu, working_set })
    }

    /// Every optional value, with a sample of its own.
    pub fn details(&mut self, buffer: &mut Buffer) -> Result<Details, ReadError> {
        let mut details = Details::default();
        self.sample_beside(buffer, Some(&mut details))?;
        self.complete(details, buffer)
    }

    /// Adds to what stood beside a sample what has files of its own; those are read now.
    pub(crate) fn complete(
        &mut self,
        mut details: Details,
        buffer: &mut Buffer,
    ) -> Result<Details, ReadError> {
        let tree = &self.mounts.memory;
        tree.version().read_own_files(tree.root(), buffer, &mut details)?;
        if self.memory != MemorySource::Cgroup {
            let [total, free] = self.meminfo(buffer, &["SwapTotal", "SwapFree"])?;
            // With swap in use a page may be freed between the kernel's two numbers.
            details.set(Detail::Swap, total.zip(free).map(|(total, free)| total.saturating_sub(free)));
        }
        Ok(details)
    }

    fn cgroup_memory(&mut self, buffer: &mut Buffer, beside: &mut Details) -> Result<Memory, ReadError> {
        let inactive_file = self.memory_stat(buffer, beside)?;
        let version = self.mounts.memory.version();
        let file = version.memory_usage();
        let text = read_kept(self.files.memory_usage.as_ref(), file, buffer)?;
        Ok(Memory { usage: version.read_memory_usage(text)?, inactive_file, file })
    }

    fn root_memory(&mut self, buffer: &mut Buffer, beside: &mut Details) -> Result<Memory, ReadError> {
        let inactive_file = self.memory_stat(buffer, beside)?;
        let file = self.mounts.memory.version().memory_stat();
        let part =
            |what, detail| text::required(what, beside.get(detail)).map_err(|detail| file.malformed(detail));
        let usage = part("anon", Detail::Anon)?.saturating_add(part("file", Detail::File)?);
        Ok(Memory { usage, inactive_file, file })
    }

    /// `Inactive(file)` counts the pages of the root's `inactive_file`, without the cost of reading `memory.stat`.
    fn meminfo_memory(&self, buffer: &mut Buffer) -> Result<Memory, ReadError> {
        let keys = ["MemTotal", "MemFree", "Inactive(file)"];
        let found = self.meminfo(buffer, &keys)?;
        let [total, free, inactive_file] = found;
        let must = |what, value| text::required(what, value).map_err(|detail| MEMINFO.malformed(detail));
        let usage = must("MemTotal", total)?.saturating_sub(must("MemFree", free)?);
        Ok(Memory { usage, inactive_file: must("Inactive(file)", inactive_file)?, file: MEMINFO })
    }

    fn memory_stat(&mut self, buffer: &mut Buffer, beside: &mut Details) -> Result<u64, ReadError> {
        let version = self.mounts.memory.version();
        let begin = Instant::now();
        let text = read_kept(self.files.memory_stat.as_ref(), version.memory_stat(), buffer)?;
        self.memory_stat_took = begin.elapsed();
        version.read_memory_stat(text, beside)
    }

    fn cgroup_cpu(&self, buffer: &mut Buffer, beside: &mut Details) -> Result<CpuTime, ReadError> {
        let version = self.mounts.cpu.version();
        let text = read_kept(self.files.cpu.as_ref(), version.cpu(), buffer)?;
        if version == Version::V2 {
            version.read_throttling(text, beside)?;
        }
        version.read_cpu(text)
    }

    fn proc_stat_cpu(&self, buffer: &mut Buffer) -> Result<CpuTime, ReadError> {
        let text = read(&self.proc, STAT, buffer)?;
        let ticks = text::proc_stat(text).map_err(|detail| STAT.malformed(detail))?.busy_ticks;
        let nanos =
            u128::from(ticks) * 1_000_000_000 / u128::from(rustix::param::clock_ticks_per_second().max(1));
        let too_large = |_| STAT.malformed(TextError { what: "cpu", fault: Fault::TooLarge });
        u64::try_from(nanos).map(CpuTime).map_err(too_large)
    }

    fn meminfo<const N: usize>(
        &self,
        buffer: &mut Buffer,
        keys: &[&'static str; N],
    ) -> Result<[Option<u64>; N], ReadError> {
        text::meminfo(read(&self.proc, MEMINFO, buffer)?, keys).map_err(|detail| MEMINFO.malformed(detail))
    }
}

fn capacity(proc: &Directory, buffer: &mut Buffer) -> Result<Capacity, ReadError> {
    let cpus = text::proc_stat(read(proc, STAT, buffer)?).map_err(|detail| STAT.malformed(detail))?.cpus;
    let total = text::meminfo(read(proc, MEMINFO, buffer)?, &["MemTotal"])
        .and_then(|[total]| text::required("MemTotal", total));
    Ok(Capacity { cpus, memory_bytes: total.map_err(|detail| MEMINFO.malformed(detail))? })
}

fn opened(directory: &Directory, name: Name) -> Result<Option<OwnedFd>, ReadError> {
    match directory.file(name) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed(name, errno)),
    }
}

fn read_kept<'b>(file: Option<&OwnedFd>, name: Name, buffer: &'b mut Buffer) -> Result<&'b [u8], ReadError> {
    let file = file.ok_or_else(|| failed(name, Errno::NOENT))?;
    buffer.fill(file.as_fd()).map_err(|errno| failed(name, errno))
}

fn read<'b>(directory: &Directory, name: Name, buffer: &'b mut Buffer) -> Result<&'b [u8], ReadError> {
    directory.read(name, buffer).map_err(|errno| failed(name, errno))
}

/// The root cannot be gone, whatever the kernel answers.
fn failed(name: Name, errno: Errno) -> ReadError {
    ReadError::Failed { file: name.text(), errno }
}

#[cfg(test)]
mod tests;
