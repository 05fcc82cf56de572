//! Whether a cgroup has processes: empty ones are leftovers that measure nothing.
//!
//! Version 1 lists in `cgroup.procs` only what the reader's PID namespace can see: for an agent in a pod that is nothing
//! but itself. The `pids` controller counts without looking at namespaces, so it is asked first.

use std::ffi::CStr;

use rustix::io::Errno;

use super::{
    file::{Buffer, Directory, Name, ReadError, is_gone},
    mounts::{Mounts, Version},
    text::{self, keyed, required},
};

const PROCESSES: Name = Name(c"cgroup.procs");
const THREADS: Name = Name(c"cgroup.threads");
const EVENTS: Name = Name(c"cgroup.events");
/// Tasks in a version 1 cgroup and below it. <https://docs.kernel.org/admin-guide/cgroup-v1/pids.html>
const TASKS: Name = Name(c"pids.current");

/// How far below a version 1 cgroup processes are looked for: systemd in a container keeps them at
/// `system.slice/x.service`, an inner container runtime one deeper.
const LEVELS: u32 = 3;

/// Most directories that are looked at for one answer.
const MOST_DIRECTORIES: u32 = 256;

/// See [`CgroupReader::has_processes`](super::CgroupReader::has_processes). `directory` is the cgroup in the memory
/// tree, `relative` its path in every tree.
pub(super) fn has_processes(
    directory: &Directory,
    mounts: &Mounts,
    relative: &CStr,
    recursive: bool,
) -> Result<bool, ReadError> {
    match (mounts.memory.version(), recursive) {
        (Version::V2, true) => populated(directory),
        (Version::V1, _) if has_tasks(mounts, relative, recursive) => Ok(true),
        (Version::V1, true) => below(directory, LEVELS, &mut MOST_DIRECTORIES.clone()),
        (Version::V1 | Version::V2, false) => own_processes(directory),
    }
}

/// Whether the `pids` controller counts a task in the cgroup, or (`recursive`) in it or below. No where it cannot tell:
/// it is not mounted, does not have this cgroup, or this is its root, which counts nothing.
fn has_tasks(mounts: &Mounts, relative: &CStr, recursive: bool) -> bool {
    let directory = mounts.tasks.as_ref().and_then(|tree| tree.root().beneath(relative).ok());
    let Some(directory) = directory else { return false };
    let mut buffer = Buffer::new();
    match tasks(&directory, &mut buffer) {
        Some(count) if count > 0 => recursive || count > tasks_of_children(&directory, &mut buffer),
        Some(_) | None => false,
    }
}

fn tasks(directory: &Directory, buffer: &mut Buffer) -> Option<u64> {
    text::value(directory.read(TASKS, buffer).ok()?).ok()?
}

/// Tasks of the directories below one, read after that one's own count: a task that comes meanwhile counts as a
/// child's, and a cgroup is not taken for busy because of it. Past the bound it is not called busy either.
fn tasks_of_children(directory: &Directory, buffer: &mut Buffer) -> u64 {
    let mut names = Vec::new();
    let listed = directory.for_each_directory(c".", |name: &CStr, _| names.push(name.to_owned()));
    if listed.is_err() || names.len() > MOST_DIRECTORIES as usize {
        return u64::MAX;
    }
    let children = names.iter().filter_map(|name| tasks(&directory.beneath(name).ok()?, buffer));
    children.fold(0, u64::saturating_add)
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
    let listed = directory.for_each_directory(c".", |name: &CStr, _| names.push(name.to_owned()));
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

    use super::{super::mounts::Tree, *};

    fn cgroup(path: &Path, processes: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("cgroup.procs"), processes).unwrap();
    }

    /// Asks about `path` itself, which is every tree's root.
    fn ask(path: &Path, version: Version, recursive: bool) -> Result<bool, ReadError> {
        ask_with(path, version, None, c".", recursive)
    }

    fn ask_with(
        path: &Path,
        version: Version,
        tasks: Option<&Path>,
        relative: &CStr,
        recursive: bool,
    ) -> Result<bool, ReadError> {
        let tree = Tree::open(path, version).unwrap();
        let tasks = tasks.map(|path| Tree::open(path, Version::V1).unwrap());
        let mounts = Mounts { tasks, ..Mounts::unified(tree.clone()) };
        has_processes(&tree.root().beneath(relative).unwrap(), &mounts, relative, recursive)
    }

    /// What an agent in a pod finds: nobody listed, and yet tasks.
    #[test]
    fn processes_of_other_pid_namespaces_are_counted_by_the_pids_controller() {
        let dir = tempfile::tempdir().unwrap();
        let (memory, pids) = (dir.path().join("memory"), dir.path().join("pids"));
        let count = |path: &str, tasks: &str| {
            cgroup(&memory.join(path), "");
            fs::create_dir_all(pids.join(path)).unwrap();
            fs::write(pids.join(path).join("pids.current"), tasks).unwrap();
        };
        count("pod", "3\n");
        count("pod/container", "3\n");
        count("pod/container/inner", "1\n");
        count("leftover", "0\n");
        cgroup(&memory.join("elsewhere"), "17\n");
        let ask = |path: &CStr, recursive| ask_with(&memory, Version::V1, Some(&pids), path, recursive);

        assert_eq!(ask(c"pod", true), Ok(true));
        assert_eq!(ask(c"pod", false), Ok(false), "all three are its child's");
        assert_eq!(ask(c"pod/container", false), Ok(true), "one of three is its child's");
        assert_eq!(ask(c"leftover", true), Ok(false));
        assert_eq!(ask(c"elsewhere", true), Ok(true), "unknown to that controller, but listed");
        assert_eq!(ask_with(&memory, Version::V1, None, c"pod", true), Ok(false), "nobody to ask");
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
