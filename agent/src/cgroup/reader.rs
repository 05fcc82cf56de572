//! One cgroup's counters: opened once, read at every tick.
//!
//! A sample is all or nothing. Order: `memory.stat`, memory in use, CPU, then the clock; the first two as the
//! kubelet reads them, the clock last so that it belongs to the counter that is turned into a rate. Whether a
//! counter went back is the sampler's question.

use std::{
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
};

use kubevitals::sample::{CgroupPath, Detail, Details, Sample, WallTime, WorkingSet};
use rustix::io::Errno;

use super::{
    birth::birth,
    budget::{Descriptors, Lease},
    clock,
    directories::Directories,
    file::{Buffer, Directory, Name, ReadError, is_gone, relative},
    mounts::{Mounts, Tree, Version},
    processes,
    text::{Fault, Remembered, TextError},
};

/// Descriptors a reader keeps of the files of a sample: `memory.stat`, memory in use, CPU.
const FILES: usize = 3;

/// Reads one cgroup. It stays with the cgroup it was opened for: another one under the same path is never read.
#[derive(Debug)]
pub struct CgroupReader {
    /// None: the files are opened for each reading.
    kept: Option<Files>,
    /// Where details are read, if that is kept too.
    directories: Option<Directories>,
    /// Apart from what each tick needs: fewer cache lines are walked then.
    place: Box<Place>,
    /// Gives the descriptors back to the budget.
    _lease: Lease,
}

impl CgroupReader {
    /// Opens the cgroup at `path`. [`ReadError::Missing`] when it has no CPU or no memory counters (yet): on
    /// version 1 a runtime makes a cgroup in one hierarchy after the other.
    pub fn open(mounts: &Mounts, path: &CgroupPath, descriptors: &Descriptors) -> Result<Self, ReadError> {
        let place = Box::new(Place::find(mounts, path)?);
        let files = place.open_files().map_err(|error| place.explain(error, path))?;
        let lease = descriptors.lease(FILES, Directories::COUNT);
        let directories = lease.keeps_seldom().then(Directories::default);
        Ok(Self { kept: lease.keeps().then_some(files), directories, place, _lease: lease })
    }

    /// Inode of the cgroup's directory in the memory tree.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.place.memory_inode
    }

    /// When the cgroup was made, as far as can be told; never before that.
    #[must_use]
    pub fn birth(&self) -> Option<WallTime> {
        self.place.birth
    }

    /// Reads CPU time and working set. Allocates nothing once `buffer` has grown to the longest file.
    pub fn sample(&mut self, buffer: &mut Buffer) -> Result<Sample, ReadError> {
        self.sample_beside(buffer, None)
    }

    /// The same; what its files say beside it is set in `beside`, for [`complete`](Self::complete).
    pub(crate) fn sample_beside(
        &mut self,
        buffer: &mut Buffer,
        beside: Option<&mut Details>,
    ) -> Result<Sample, ReadError> {
        match &mut self.kept {
            Some(files) => files.sample(buffer, beside),
            None => self.place.open_files()?.sample(buffer, beside),
        }
    }

    /// Every optional value the kernel gives, with a sample of its own.
    pub fn details(&mut self, buffer: &mut Buffer) -> Result<Details, ReadError> {
        let mut details = Details::default();
        self.sample_beside(buffer, Some(&mut details))?;
        self.complete(details, buffer)
    }

    /// Adds to what stood beside a sample the details that have files of their own; those are read now.
    pub(crate) fn complete(
        &mut self,
        mut details: Details,
        buffer: &mut Buffer,
    ) -> Result<Details, ReadError> {
        if let (Some(files), Some(directories)) = (&self.kept, &mut self.directories) {
            directories.read(&self.place, buffer, &mut details)?;
            // Who lives at the end lived all the time, and a file that was not found is absent.
            files.are_alive(buffer)?;
        } else {
            Directories::default().read(&self.place, buffer, &mut details)?;
            self.place.is_still_there()?;
        }
        Ok(details)
    }

    /// Whether there is a process in the cgroup, or (`recursive`) in it or below. Below version 1 cgroups the
    /// search is bounded and says yes when it did not reach its end.
    pub fn has_processes(&self, recursive: bool) -> Result<bool, ReadError> {
        let directory = self.place.memory_directory()?;
        processes::has_processes(&directory, &self.place.mounts, &self.place.relative, recursive)
    }
}

/// Whether the cgroup at a path has processes (or, `recursive`, one below it) in the memory tree: as
/// [`CgroupReader::has_processes`], without the descriptors of a reader and whatever other tree lacks it.
pub(crate) fn has_processes_at(
    mounts: &Mounts,
    path: &CgroupPath,
    recursive: bool,
) -> Result<bool, ReadError> {
    let failed = |errno: Errno| Name(c"cgroup directory").failed(errno);
    let relative = relative(path.as_str()).map_err(failed)?;
    let directory = mounts.memory.root().beneath(&relative).map_err(failed)?;
    processes::has_processes(&directory, mounts, &relative, recursive)
}

/// Where a cgroup is, and which one it is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) mounts: Mounts,
    /// Below the root of each tree.
    pub(super) relative: CString,
    memory_inode: u64,
    /// The same number when there is one directory.
    cpu_inode: u64,
    birth: Option<WallTime>,
}

impl Place {
    fn find(mounts: &Mounts, path: &CgroupPath) -> Result<Self, ReadError> {
        let directory = Name(c"cgroup directory");
        let relative = relative(path.as_str()).map_err(|errno| directory.failed(errno))?;
        let open = |tree: &Tree| {
            let found = tree.root().beneath(&relative)?;
            found.inode().map(|inode| (found, inode))
        };
        let (memory, memory_inode) = open(&mounts.memory).map_err(|errno| directory.failed(errno))?;
        let (cpu, cpu_inode) = match open(&mounts.cpu) {
            Ok(found) => found,
            Err(errno) if is_gone(errno) => {
                return Err(ReadError::Missing {
                    controller: mounts.cpu.version().cpu_controller(),
                    path: path.clone(),
                });
            }
            Err(errno) => return Err(directory.failed(errno)),
        };
        let birth = birth([(&memory, mounts.memory.version()), (&cpu, mounts.cpu.version())]);
        Ok(Self { mounts: mounts.clone(), relative, memory_inode, cpu_inode, birth })
    }

    /// The cgroup's directory in `tree`, if it still is the same one.
    fn directory(&self, tree: &Tree, inode: u64) -> Result<Directory, ReadError> {
        let failed = |errno: Errno| Name(c"cgroup directory").failed(errno);
        let directory = tree.root().beneath(&self.relative).map_err(failed)?;
        if directory.inode().map_err(failed)? == inode { Ok(directory) } else { Err(ReadError::Gone) }
    }

    pub(super) fn memory_directory(&self) -> Result<Directory, ReadError> {
        self.directory(&self.mounts.memory, self.memory_inode)
    }

    /// Whether the path in the memory tree still leads to this cgroup: one system call, where opening takes three.
    fn is_still_there(&self) -> Result<(), ReadError> {
        let failed = |errno: Errno| Name(c"cgroup directory").failed(errno);
        let found = self.mounts.memory.root().inode_of(&self.relative).map_err(failed)?;
        if found == Some(self.memory_inode) { Ok(()) } else { Err(ReadError::Gone) }
    }

    fn open_files(&self) -> Result<Files, ReadError> {
        let open =
            |directory: &Directory, name: Name| directory.file(name).map_err(|errno| name.failed(errno));
        let memory = self.memory_directory()?;
        let version = self.mounts.memory.version();
        let memory_stat = open(&memory, version.memory_stat())?;
        let memory_usage = open(&memory, version.memory_usage())?;
        let cpu_name = self.mounts.cpu.version().cpu();
        let cpu = if self.mounts.share_directory() {
            open(&memory, cpu_name)?
        } else {
            open(&self.directory(&self.mounts.cpu, self.cpu_inode)?, cpu_name)?
        };
        Ok(Files {
            memory_stat,
            inactive_file: Remembered::default(),
            memory_usage,
            cpu,
            memory_version: version,
            cpu_version: self.mounts.cpu.version(),
        })
    }

    /// Tells a cgroup that was removed while it was opened from one that lacks a controller.
    fn explain(&self, error: ReadError, path: &CgroupPath) -> ReadError {
        let missing = |controller| ReadError::Missing { controller, path: path.clone() };
        match error {
            ReadError::Gone if self.memory_directory().is_err() => ReadError::Gone,
            ReadError::Gone if self.directory(&self.mounts.cpu, self.cpu_inode).is_err() => {
                missing(self.mounts.cpu.version().cpu_controller())
            }
            ReadError::Gone => missing("memory"),
            other => other,
        }
    }

    /// Where throttling is told, if not in the file of CPU time.
    pub(super) fn separate_throttling(&self) -> Option<&Tree> {
        self.mounts.throttling.as_ref().filter(|tree| tree.version() == Version::V1)
    }
}

/// The files of a sample, and their versions.
#[derive(Debug)]
struct Files {
    memory_stat: OwnedFd,
    inactive_file: Remembered,
    memory_usage: OwnedFd,
    cpu: OwnedFd,
    memory_version: Version,
    cpu_version: Version,
}

impl Files {
    /// One sample; what stands beside its values in the same files is set where it is wanted.
    fn sample(&mut self, buffer: &mut Buffer, mut beside: Option<&mut Details>) -> Result<Sample, ReadError> {
        let memory = self.memory_version;
        let text = read(&self.memory_stat, memory.memory_stat(), buffer)?;
        let inactive_file = match beside.as_deref_mut() {
            None => memory.read_inactive_file(text, &mut self.inactive_file)?,
            Some(details) => memory.read_memory_stat(text, details)?,
        };
        let text = read(&self.memory_usage, memory.memory_usage(), buffer)?;
        let usage = memory.read_memory_usage(text)?;

        let version = self.cpu_version;
        let text = read(&self.cpu, version.cpu(), buffer)?;
        let time = clock::boot_time();
        let cpu = version.read_cpu(text)?;
        if let Some(beside) = beside {
            beside.set(Detail::MemoryUsage, Some(usage));
            if version == Version::V2 {
                version.read_throttling(text, beside)?;
            }
        }
        Ok(Sample { time, cpu, working_set: working_set(memory.memory_usage(), usage, inactive_file)? })
    }

    /// Whether their cgroup is still there: the cheapest question, as a kept descriptor of a removed one answers no.
    fn are_alive(&self, buffer: &mut Buffer) -> Result<(), ReadError> {
        read(&self.memory_usage, self.memory_version.memory_usage(), buffer).map(drop)
    }
}

/// Usage less inactive file pages; an error names the file `usage` is from.
pub(crate) fn working_set(file: Name, usage: u64, inactive_file: u64) -> Result<WorkingSet, ReadError> {
    WorkingSet::from_parts(usage, inactive_file)
        .ok_or_else(|| file.malformed(TextError { what: "working set", fault: Fault::NotPages }))
}

fn read<'b>(file: &OwnedFd, name: Name, buffer: &'b mut Buffer) -> Result<&'b [u8], ReadError> {
    buffer.fill(file.as_fd()).map_err(|errno| name.failed(errno))
}

#[cfg(test)]
mod tests;
