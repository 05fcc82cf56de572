//! Whether a cgroup has processes: empty ones are leftovers that measure nothing.

use std::ffi::CStr;

use rustix::io::Errno;

use super::{
    file::{Buffer, Directory, Name, ReadError, is_gone},
    mounts::Version,
    text::{keyed, required},
};

const PROCESSES: Name = Name(c"cgroup.procs");
const THREADS: Name = Name(c"cgroup.threads");
const EVENTS: Name = Name(c"cgroup.events");

/// How far below a version 1 cgroup processes are looked for: systemd in a container keeps them at
/// `system.slice/x.service`, an inner container runtime one deeper.
const LEVELS: u32 = 3;

/// Most directories that are looked at for one answer.
const MOST_DIRECTORIES: u32 = 256;

/// See [`CgroupReader::has_processes`](super::CgroupReader::has_processes).
pub(super) fn has_processes(
    directory: &Directory,
    version: Version,
    recursive: bool,
) -> Result<bool, ReadError> {
    match (version, recursive) {
        (Version::V2, true) => populated(directory),
        (Version::V1, true) => below(directory, LEVELS, &mut MOST_DIRECTORIES.clone()),
        (Version::V1 | Version::V2, false) => own_processes(directory),
    }
}

/// The kernel's own answer. The root has no such file: it always has processes.
fn populated(directory: &Directory) -> Result<bool, ReadError> {
    let mut buffer = Buffer::new();
    let text = match directory.read(EVENTS, &mut buffer) {
        Err(Errno::NOENT) if directory.has_text(PROCESSES).is_ok() => return Ok(true),
        other => other.map_err(|errno| EVENTS.failed(errno))?,
    };
    let populated = keyed(text, &["populated"]).and_then(|[populated]| required("populated", populated));
    populated.map(|count| count > 0).map_err(|detail| EVENTS.malformed(detail))
}

fn own_processes(directory: &Directory) -> Result<bool, ReadError> {
    match directory.has_text(PROCESSES) {
        // Inside a threaded cgroup only threads can be listed.
        Err(Errno::OPNOTSUPP) => directory.has_text(THREADS).map_err(|errno| THREADS.failed(errno)),
        other => other.map_err(|errno| PROCESSES.failed(errno)),
    }
}

fn below(directory: &Directory, levels: u32, budget: &mut u32) -> Result<bool, ReadError> {
    if *budget == 0 || own_processes(directory)? {
        return Ok(true);
    }
    *budget -= 1;
    let mut names = Vec::new();
    let listed = directory.for_each_directory(|name: &CStr| names.push(name.to_owned()));
    listed.map_err(|errno| Name(c"cgroup directory").failed(errno))?;
    if levels == 0 {
        // Deeper ones were not looked at, so nobody can say that they are empty.
        return Ok(!names.is_empty());
    }
    for name in names {
        match directory.beneath(&name) {
            Ok(child) => match below(&child, levels - 1, budget) {
                Err(ReadError::Gone) | Ok(false) => {}
                other => return other,
            },
            Err(errno) if is_gone(errno) => {}
            Err(errno) => return Err(Name(c"cgroup directory").failed(errno)),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn cgroup(path: &Path, processes: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("cgroup.procs"), processes).unwrap();
    }

    fn ask(path: &Path, version: Version, recursive: bool) -> Result<bool, ReadError> {
        has_processes(&Directory::open(path).unwrap(), version, recursive)
    }

    #[test]
    fn processes_below_count_only_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        cgroup(dir.path(), "");
        cgroup(&dir.path().join("a"), "");
        assert_eq!(ask(dir.path(), Version::V1, true), Ok(false));

        cgroup(&dir.path().join("a/b"), "17\n");

        assert_eq!(ask(dir.path(), Version::V1, false), Ok(false));
        assert_eq!(ask(dir.path(), Version::V1, true), Ok(true));
    }

    #[test]
    fn what_lies_deeper_than_the_search_is_not_called_empty() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["", "1", "1/2", "1/2/3"] {
            cgroup(&dir.path().join(path), "");
        }
        assert_eq!(ask(dir.path(), Version::V1, true), Ok(false));
        cgroup(&dir.path().join("1/2/3/4"), "");
        assert_eq!(ask(dir.path(), Version::V1, true), Ok(true));
    }

    #[test]
    fn version_2_asks_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        cgroup(dir.path(), "");
        fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert_eq!(ask(dir.path(), Version::V2, true), Ok(true));
        assert_eq!(ask(dir.path(), Version::V2, false), Ok(false));
        fs::write(dir.path().join("cgroup.events"), "frozen 0\n").unwrap();
        assert_eq!(ask(dir.path(), Version::V2, true).unwrap_err().kind(), "malformed");
    }

    #[test]
    fn without_its_files_a_cgroup_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(dir.path(), Version::V1, true), Err(ReadError::Gone));
        assert_eq!(ask(dir.path(), Version::V2, true), Err(ReadError::Gone));
    }
}
