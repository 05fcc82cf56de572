//! Real version 1 cgroups of this machine, made below names of our own and removed afterwards. Needs root and the
//! memory and cpuacct controllers mounted as version 1; `KUBEVITALS_SKIP=root` leaves these tests out.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kubevitals::sample::{CgroupPath, CpuTime, Detail, Details};

use super::*;

/// A cgroup of our own in both hierarchies, gone when dropped.
struct Own {
    mounts: Mounts,
    name: String,
    children: Vec<Child>,
}

impl Own {
    /// `None` when told to skip.
    fn new(test: &str) -> Option<Self> {
        if env::var("KUBEVITALS_SKIP").is_ok_and(|skip| skip.contains("root")) {
            writeln_out(&format!("{test}: skipped, because KUBEVITALS_SKIP says so"));
            return None;
        }
        let mounts =
            detect(Path::new("/sys/fs/cgroup"), Path::new("/proc")).expect("cgroups of this machine");
        assert_eq!(mounts.memory().version(), Version::V1, "these tests need version 1 controllers");
        let own =
            Self { mounts, name: format!("kubevitals-{test}-{}", std::process::id()), children: Vec::new() };
        own.make("");
        Some(own)
    }

    fn directories(&self, below: &str) -> [PathBuf; 2] {
        [self.mounts.memory(), self.mounts.cpu()].map(|tree| tree.directory().join(&self.name).join(below))
    }

    fn make(&self, below: &str) {
        for directory in self.directories(below) {
            fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
    }

    /// Waits until the kernel lets go of what has just ended.
    fn remove(&self, below: &str) {
        for directory in self.directories(below) {
            let removed = within_deadline(|| match fs::remove_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => None,
                done => Some(done.is_ok()),
            });
            assert!(removed, "{}", directory.display());
        }
    }

    fn path(&self, below: &str) -> CgroupPath {
        CgroupPath::new(format!("/{}/{below}", self.name).trim_end_matches('/')).unwrap()
    }

    fn open(&self, below: &str, descriptors: &Descriptors) -> CgroupReader {
        CgroupReader::open(&self.mounts, &self.path(below), descriptors).unwrap()
    }

    /// Runs a shell that moves itself into the cgroup and then does `script`.
    fn run(&mut self, below: &str, script: &str) {
        let enter = self
            .directories(below)
            .map(|dir| format!("echo $$ > {}/cgroup.procs", dir.display()))
            .join(" && ");
        let command = format!("{enter} && {script}");
        let child = Command::new("sh").args(["-c", &command]).stdout(Stdio::null()).spawn().unwrap();
        self.children.push(child);
    }

    fn end_children(&mut self) {
        for mut child in self.children.drain(..) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A number straight from a file of the cgroup.
    fn number(tree: &Tree, path: &CgroupPath, file: &str) -> u64 {
        let file = tree.directory().join(path.as_str().trim_start_matches('/')).join(file);
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.end_children();
        for directory in self.directories("") {
            remove_tree(&directory);
        }
    }
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let end = Instant::now() + DEADLINE;
    while directory.exists() && fs::remove_dir(directory).is_err() && Instant::now() < end {
        thread::yield_now();
    }
}

const DEADLINE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
fn within_deadline<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "nothing happened within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn writeln_out(line: &str) {
    use std::io::Write as _;
    writeln!(io::stderr(), "{line}").unwrap();
}

#[test]
fn a_sample_lies_between_two_direct_readings_of_the_same_counters() {
    let Some(mut own) = Own::new("sample") else { return };
    own.run("", "x=$(head -c 16000000 /dev/zero | tr '\\0' x); while :; do :; done");
    let path = own.path("");
    let cpu = |own: &Own| Own::number(own.mounts.cpu(), &path, "cpuacct.usage");
    within_deadline(|| (cpu(&own) > 300_000_000).then_some(()));
    for descriptors in [Descriptors::raised(), Descriptors::with_limit(0)] {
        let mut reader = own.open("", &descriptors);
        let mut buffer = Buffer::new();

        let before = (cpu(&own), clock::boot_time());
        let sample = reader.sample(&mut buffer).unwrap();
        let after = (cpu(&own), clock::boot_time());

        assert!((before.0..=after.0).contains(&sample.cpu.0), "{before:?} {sample:?} {after:?}");
        assert!((before.1..=after.1).contains(&sample.time));
        let usage = Own::number(own.mounts.memory(), &path, "memory.usage_in_bytes");
        let details = reader.details(&mut buffer).unwrap();
        let inactive = details.get(Detail::InactiveFile).unwrap();
        // The kernel charges 64 pages per CPU in advance, and the shell goes on meanwhile.
        let difference = usage.saturating_sub(inactive).abs_diff(sample.working_set.bytes());
        assert!(difference <= 2 << 20, "{usage} - {inactive}: {sample:?}");
        assert!(details.get(Detail::Anon).unwrap() >= 15_000_000, "{details:?}");
        assert_eq!(details.get(Detail::OomKills), Some(0));
        assert_eq!(reader.has_processes(false), Ok(true));
    }
}

#[test]
fn a_removed_cgroup_stays_gone_for_its_reader_when_the_path_comes_back() {
    let Some(own) = Own::new("removed") else { return };
    let budgets = [("directories", 1 << 20), ("files", RESERVE + 3), ("nothing", 0)];
    for (below, descriptors) in budgets.map(|(below, limit)| (below, Descriptors::with_limit(limit))) {
        own.make(below);
        let mut reader = own.open(below, &descriptors);
        let mut buffer = Buffer::new();
        let mut beside = Details::default();
        assert_eq!(reader.sample_beside(&mut buffer, Some(&mut beside)).unwrap().cpu, CpuTime(0));
        assert!(reader.complete(beside, &mut buffer).is_ok());
        assert_eq!(reader.has_processes(true), Ok(false));

        own.remove(below);
        assert_eq!(reader.sample(&mut buffer), Err(ReadError::Gone));
        assert_eq!(reader.details(&mut buffer), Err(ReadError::Gone));
        assert_eq!(reader.complete(beside, &mut buffer), Err(ReadError::Gone), "removed after its sample");

        own.make(below);
        assert_eq!(reader.sample(&mut buffer), Err(ReadError::Gone));
        assert_eq!(reader.complete(beside, &mut buffer), Err(ReadError::Gone), "another one is there");
        assert_eq!(reader.has_processes(true), Err(ReadError::Gone));
        let mut successor = own.open(below, &descriptors);
        assert_ne!(successor.inode(), reader.inode());
        assert!(successor.sample(&mut buffer).is_ok());
    }
}

#[test]
fn a_cgroup_that_is_not_yet_in_cpuacct_is_missing_there() {
    let Some(own) = Own::new("missing") else { return };
    let [memory, cpu] = own.directories("half");
    fs::create_dir(memory).unwrap();
    let path = own.path("half");
    let descriptors = Descriptors::raised();
    let error = CgroupReader::open(&own.mounts, &path, &descriptors).unwrap_err();
    assert_eq!(error, ReadError::Missing { controller: "cpuacct", path: path.clone() });

    fs::create_dir(cpu).unwrap();

    assert!(CgroupReader::open(&own.mounts, &path, &descriptors).is_ok());
}

#[test]
fn the_birth_of_a_cgroup_is_when_it_was_made_and_children_do_not_move_it() {
    let Some(own) = Own::new("birth") else { return };
    // The kernel dates inodes by its last tick.
    let (tick, before) = (10_000, clock::wall_time());
    own.make("young");
    let descriptors = Descriptors::raised();
    let reader = own.open("young", &descriptors);
    let after = clock::wall_time();
    let birth = reader.birth().unwrap();
    assert!(before.0 - tick <= birth.0 && birth <= after, "{before:?} {birth:?} {after:?}");

    own.make("young/child");
    for directory in own.directories("young") {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    }

    assert_eq!(own.open("young", &descriptors).birth(), Some(birth));
}

#[test]
fn many_more_cgroups_than_descriptors_are_all_read() {
    let Some(own) = Own::new("many") else { return };
    let names: Vec<String> = (0..1500).map(|number| format!("c{number}")).collect();
    for name in &names {
        own.make(name);
    }
    let descriptors = Descriptors::with_limit(64 + RESERVE);
    let mut readers: Vec<_> = names.iter().map(|name| own.open(name, &descriptors)).collect();
    assert_eq!((descriptors.kept(), descriptors.on_demand()), (19, 1481));
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 64 + RESERVE, "{open} descriptors");

    let mut buffer = Buffer::new();
    let read = readers.iter_mut().filter_map(|reader| reader.sample(&mut buffer).ok()).count();

    assert_eq!(read, 1500);
}

#[test]
fn discovery_sees_real_cgroups_come_and_go() {
    let Some(own) = Own::new("discovery") else { return };
    let limits = Limits { scope: Scope::All, ..Limits::default() };
    let mut discovery = Discovery::new(&own.mounts, limits).unwrap();
    let mut changes = Vec::new();
    discovery.rescan(&mut changes);
    changes.clear();

    own.make("a");
    own.make("a/b");
    let path = own.path("a/b");
    within_deadline(|| {
        discovery.drain(&mut changes);
        changes
            .iter()
            .any(|change| matches!(change, Change::Appeared(found) if found.path == path))
            .then_some(())
    });
    own.remove("a/b");
    within_deadline(|| {
        discovery.drain(&mut changes);
        changes.contains(&Change::Vanished { path: path.clone() }).then_some(())
    });
}
