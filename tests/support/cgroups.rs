//! Real cgroups of this machine for tests, made and limited with cgroups-rs, which is also the independent reader
//! that served numbers are compared with.
//!
//! Everything lies below a name of the test's own, in the version 1 hierarchies, and is removed when the test ends,
//! however it ends. Only processes that the test started are moved.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use cgroups_rs::{
    CgroupPid,
    fs::{Cgroup, cpu::CpuController, cpuacct::CpuAcctController, hierarchies::V1, memory::MemController},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{dies_with_us, wait_until};

/// The hierarchies a container lies in.
const CONTROLLERS: [&str; 3] = ["cpu", "cpuacct", "memory"];

/// What the agent reads: enough for cgroups that nobody limits.
const READ: [&str; 2] = ["cpuacct", "memory"];

/// Weight of a measured workload: other work on this machine may not starve it.
const MOST_SHARES: u64 = 262_144;

/// A process that was killed leaves its cgroup within this time.
const SOON: Duration = Duration::from_secs(10);

static MADE: AtomicU32 = AtomicU32::new(0);

/// A kubepods tree of this test's own, with all that will be made in it.
#[derive(Debug)]
pub(crate) struct Tree {
    name: String,
    /// Held while the tree stands.
    _lock: File,
}

/// A container's cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    /// UID of its pod, under which the pod is served.
    pub(crate) pod_uid: String,
    id: String,
    /// From a hierarchy's root.
    path: String,
}

impl Tree {
    /// A tree of which others may stand beside it; agents see all of them.
    pub(crate) fn new() -> Self {
        let lock = lock();
        lock.lock_shared().expect("locks work in the temporary directory");
        Self::locked(lock)
    }

    /// A tree for a test that loads this machine, or promises times that load would change: no other stands beside
    /// it.
    pub(crate) fn alone() -> Self {
        let lock = lock();
        lock.lock().expect("locks work in the temporary directory");
        Self::locked(lock)
    }

    fn locked(lock: File) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let tree = Self { name: format!("kubevitals-test-{}-{number}", std::process::id()), _lock: lock };
        make(&format!("{}/kubepods/burstable", tree.name), &CONTROLLERS);
        tree
    }

    /// A new pod's only container, in every hierarchy it can be limited in.
    pub(crate) fn container(&self) -> Container {
        let container = self.planned();
        make(&container.path, &CONTROLLERS);
        container
    }

    /// The same for many: only where the agent reads, without cgroups-rs, which looks for the mounts each time.
    pub(crate) fn plain_container(&self) -> Container {
        let container = self.planned();
        container.make_plain();
        container
    }

    /// One more container in the pod of another, as plain.
    pub(crate) fn beside(&self, other: &Container) -> Container {
        let container = self.named(other.pod_uid.clone());
        container.make_plain();
        container
    }

    /// A cgroup beside the kubepods tree.
    pub(crate) fn job(&self, name: &str) -> Container {
        let path = format!("{}/{name}", self.name);
        make(&path, &CONTROLLERS);
        Container { pod_uid: String::new(), id: String::new(), path }
    }

    /// Names for a container that is not made yet.
    pub(crate) fn planned(&self) -> Container {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        self.named(format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id()))
    }

    fn named(&self, pod_uid: String) -> Container {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        self.foreign(pod_uid, format!("{number:08x}{:056x}", std::process::id()))
    }

    /// A container that somebody else makes.
    pub(crate) fn foreign(&self, pod_uid: String, id: String) -> Container {
        Container { path: format!("{}/kubepods/burstable/pod{pod_uid}/{id}", self.name), pod_uid, id }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Runtimes make cgroups in every hierarchy.
        for hierarchy in fs::read_dir(root("")).into_iter().flatten().flatten() {
            remove(&hierarchy.path().join(&self.name));
        }
    }
}

impl Container {
    /// From a hierarchy's root, as runtimes are told it.
    pub(crate) fn cgroup_path(&self) -> String {
        format!("/{}", self.path)
    }

    /// CPU time, nanoseconds, as the file says; none once it is gone.
    pub(crate) fn raw_cpu_usage(&self) -> Option<u64> {
        fs::read_to_string(root("cpuacct").join(&self.path).join("cpuacct.usage")).ok()?.trim().parse().ok()
    }

    /// Memory in use, bytes, as the file says; none once it is gone.
    pub(crate) fn raw_memory_usage(&self) -> Option<u64> {
        let file = root("memory").join(&self.path).join("memory.usage_in_bytes");
        fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// As in its pod's status, without the scheme.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The name under which the container is served.
    pub(crate) fn name(&self) -> &str {
        &self.id[..12]
    }

    /// The namespace in which a cgroup outside Kubernetes is served.
    pub(crate) fn namespace(&self) -> String {
        self.path.split('/').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn make_plain(&self) {
        for controller in READ {
            fs::create_dir_all(root(controller).join(&self.path)).expect("root may make cgroups");
        }
    }

    pub(crate) fn adopt(&self, child: &Child) {
        self.cgroup().add_task_by_tgid(CgroupPid::from(child)).expect("a child can be moved");
    }

    pub(crate) fn adopt_plain(&self, child: &Child) {
        for controller in READ {
            let file = root(controller).join(&self.path).join("cgroup.procs");
            fs::write(file, child.id().to_string()).expect("a child can be moved");
        }
    }

    /// At most this share of one core, and no less whatever else runs here.
    pub(crate) fn limit_cpu(&self, quota: Duration, period: Duration) {
        let cgroup = self.cgroup();
        let cpu: &CpuController = cgroup.controller_of().expect("the cpu controller");
        let micros = |time: Duration| u64::try_from(time.as_micros()).expect("a short time");
        cpu.set_cfs_period(micros(period)).expect("a period");
        cpu.set_cfs_quota(i64::try_from(micros(quota)).expect("a short time")).expect("a quota");
        for above in Path::new(&self.path).ancestors().filter(|path| path.components().next().is_some()) {
            let shares = root("cpu").join(above).join("cpu.shares");
            fs::write(shares, MOST_SHARES.to_string()).expect("shares");
        }
    }

    /// At most so many bytes of memory.
    pub(crate) fn limit_memory(&self, bytes: i64) {
        let cgroup = self.cgroup();
        let memory: &MemController = cgroup.controller_of().expect("the memory controller");
        memory.set_limit(bytes).expect("a limit");
    }

    /// CPU time, nanoseconds: as cgroups-rs reads it, which must be what the file says.
    pub(crate) fn cpu_usage(&self) -> u64 {
        let cgroup = self.cgroup();
        let controller: &CpuAcctController = cgroup.controller_of().expect("the cpuacct controller");
        controller.cpuacct().usage
    }

    /// CPU time while nothing runs: two readings agree, and so do both readers.
    pub(crate) fn still_cpu_usage(&self) -> u64 {
        let deadline = Instant::now() + SOON;
        loop {
            let before = self.number("cpuacct", "cpuacct.usage");
            // Long enough for a process that was just about to sleep; not waited for, only looked at.
            thread::sleep(Duration::from_millis(50));
            if before == self.cpu_usage() && before == self.number("cpuacct", "cpuacct.usage") {
                return before;
            }
            assert!(Instant::now() < deadline, "the workload does not rest");
        }
    }

    /// Usage less inactive file pages: as cgroups-rs reads it.
    pub(crate) fn working_set(&self) -> u64 {
        let cgroup = self.cgroup();
        let controller: &MemController = cgroup.controller_of().expect("the memory controller");
        let memory = controller.memory_stat();
        memory.usage_in_bytes - memory.stat.total_inactive_file
    }

    /// The same from the files themselves.
    pub(crate) fn raw_working_set(&self) -> u64 {
        let stat = self.text("memory", "memory.stat");
        let inactive: u64 = stat
            .lines()
            .find_map(|line| line.strip_prefix("total_inactive_file "))
            .and_then(|value| value.parse().ok())
            .expect("memory.stat has total_inactive_file");
        self.number("memory", "memory.usage_in_bytes") - inactive
    }

    /// How often its quota held it back.
    pub(crate) fn throttling(&self) -> String {
        self.text("cpu", "cpu.stat").replace('\n', " ")
    }

    /// Removes the container and its pod, once its processes are gone.
    pub(crate) fn remove(&self) {
        for controller in CONTROLLERS {
            let container = root(controller).join(&self.path);
            remove(container.parent().expect("a container lies in a pod"));
        }
    }

    /// Removes the container, once its processes are gone, and leaves its pod.
    pub(crate) fn remove_alone(&self) {
        for controller in CONTROLLERS {
            remove(&root(controller).join(&self.path));
        }
    }

    fn cgroup(&self) -> Cgroup {
        let controllers = CONTROLLERS.map(str::to_owned).to_vec();
        Cgroup::load_with_specified_controllers(Box::new(V1::new()), &self.path, controllers)
    }

    /// Where processes are moved to it, in the hierarchies that the agent reads.
    pub(crate) fn processes(&self) -> [PathBuf; 2] {
        READ.map(|controller| root(controller).join(&self.path).join("cgroup.procs"))
    }

    /// One number of a file of the cgroup.
    pub(crate) fn number(&self, controller: &str, file: &str) -> u64 {
        self.text(controller, file).trim().parse().expect("a number")
    }

    /// One of the kernel's files.
    pub(crate) fn text(&self, controller: &str, file: &str) -> String {
        text(&root(controller).join(&self.path).join(file))
    }

    /// One of those of its pod.
    pub(crate) fn pod_text(&self, controller: &str, file: &str) -> String {
        let container = root(controller).join(&self.path);
        text(&container.parent().expect("a container lies in a pod").join(file))
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file that tests of all processes lock.
fn lock() -> File {
    let path = std::env::temp_dir().join("kubevitals-test-cgroups.lock");
    File::options()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root(controller: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(controller)
}

fn make(path: &str, controllers: &[&str]) {
    let controllers = controllers.iter().map(|&name| name.to_owned()).collect();
    let made = Cgroup::new_with_specified_controllers(Box::new(V1::new()), path, Some(controllers));
    made.unwrap_or_else(|error| {
        panic!(
            "no cgroup {path}: {error}; root and version 1 controllers are needed, or KUBEVITALS_SKIP=root"
        )
    });
}

/// Removes a cgroup and all below it, deepest first, and kills what is left in it: only the test's own children
/// can be.
pub(crate) fn remove(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let deadline = Instant::now() + SOON;
    while fs::remove_dir(directory).is_err() && directory.exists() {
        let left = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
            // Gone already is as good.
            kill_process(pid, Signal::KILL).ok();
        }
        if Instant::now() > deadline {
            eprintln!("left behind: {}", directory.display());
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A process to measure. It waits for [`go`](Self::go), so that all it does, its memory included, is done in the
/// cgroup it was moved to. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Workload {
    child: Child,
    stdin: ChildStdin,
    stdout: Option<ChildStdout>,
}

impl Workload {
    /// Runs a shell script after `go`.
    fn script(script: &str) -> Self {
        let mut command = dies_with_us("sh");
        command.args(["-c", &format!("read -r go; {script}")]);
        Self::start(command.stdout(Stdio::piped()))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("a shell starts");
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take();
        Self { child, stdin, stdout }
    }

    /// Takes all the CPU it is given.
    pub(crate) fn spinner() -> Self {
        Self::script("while :; do :; done")
    }

    /// Works a little, again and again: never a second without CPU time.
    pub(crate) fn pulse() -> Self {
        Self::script("while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.1; done")
    }

    /// Works when told to and sleeps in between.
    pub(crate) fn stepper() -> Self {
        Self::script(
            "echo ready; while read -r n; do i=0; while [ $i -lt $n ]; do i=$((i+1)); done; echo done; done",
        )
    }

    /// Takes as much memory as it is told and gives it back, or is killed while it does.
    pub(crate) fn glutton() -> Self {
        Self::script("while read -r n; do head -c $n /dev/zero | tail -c $n >/dev/null; echo done; done")
    }

    /// Holds what is written to it by [`feed`](Self::feed), and sleeps.
    pub(crate) fn hog(bytes: usize) -> Self {
        Self::script(&format!("exec tail -c {bytes}"))
    }

    /// Sleeps, for ten minutes at most. No more than a shell, for there are many of them.
    pub(crate) fn sleeper() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r go; exec sleep 600"]);
        Self::start(command.stdout(Stdio::null()))
    }

    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// Holds it where it is, so that it takes no CPU time until it [goes](Self::go).
    pub(crate) fn hold(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).expect("our child can be signalled");
        wait_until("it is held", SOON, || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
            // The state comes after the name, which stands in parentheses (proc(5)).
            let is_held = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            if is_held { Ok(()) } else { Err(stat) }
        });
    }

    pub(crate) fn go(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("our child can be signalled");
        self.stdin.write_all(b"go\n").expect("the workload listens");
    }

    pub(crate) fn feed(&mut self, bytes: usize) {
        self.stdin.write_all(&vec![0; bytes]).expect("the workload listens");
    }

    /// Waits for the workload's next line.
    pub(crate) fn said(&mut self) -> String {
        let mut line = Vec::new();
        let stdout = self.stdout.as_mut().expect("stdout is piped");
        let mut byte = [0];
        while std::io::Read::read(stdout, &mut byte).is_ok_and(|count| count == 1) && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// So many turns of a loop; returns when the workload sleeps, or is about to.
    pub(crate) fn work(&mut self, turns: u32) {
        writeln!(self.stdin, "{turns}").expect("the workload listens");
        assert_eq!(self.said(), "done");
    }
}

impl Workload {
    /// Ends it.
    pub(crate) fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop();
    }
}
