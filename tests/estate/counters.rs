//! Nodes of files: a cgroup v2 tree in a temporary directory, with counters that a thread moves on in steps and
//! enters in ledgers.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::ledger::{Ledger, wall};

/// How often a counter moves on.
const STEP: Duration = Duration::from_millis(700);

const PAGE: u64 = 4096;

/// All counters have as many digits from the beginning on, so that each write replaces the one before.
const BEGIN_US: u64 = 1_000_000_000_000;

/// Every container has another use of memory.
static PAGES: AtomicU64 = AtomicU64::new(1000);

/// One node's directories. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Counters {
    directory: TempDir,
    moved: Arc<Mutex<Vec<Moved>>>,
    /// Of the node itself.
    pub(crate) own: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A counter that moves on.
#[derive(Debug)]
struct Moved {
    file: Arc<File>,
    ledger: Arc<Ledger>,
    next: Instant,
    /// Differs from step to step, so that no two windows are alike. Microseconds.
    step: u64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("cgroup");
        fs::create_dir_all(root.join("kubepods/burstable")).expect("the temporary directory is writable");
        imitate_proc(&directory.path().join("proc"), &root);
        write(&root.join("cgroup.controllers"), "cpu io memory pids\n");
        let (file, own) = make(&root);
        let moved = Arc::new(Mutex::new(vec![Moved::new(file, Arc::clone(&own), 211_000)]));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (moved, stop) = (Arc::clone(&moved), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    moved.lock().unwrap().iter_mut().for_each(Moved::move_on);
                    thread::sleep(STEP / 20);
                }
            })
        };
        Self { directory, moved, own, stop, thread: Some(thread) }
    }

    /// Flags with which an agent reads these instead of the kernel's.
    pub(crate) fn flags(&self) -> [String; 2] {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        [format!("--cgroup-root={}", path("cgroup")), format!("--proc-root={}", path("proc"))]
    }

    fn path(&self, pod_uid: &str, id: &str) -> PathBuf {
        self.directory.path().join(format!("cgroup/kubepods/burstable/pod{pod_uid}/{id}"))
    }

    /// A container whose counter moves on by about so many microseconds at a time; never, with none.
    pub(crate) fn container(&self, pod_uid: &str, id: &str, step: Option<u64>) -> Counter {
        let (file, ledger) = make(&self.path(pod_uid, id));
        if let Some(step) = step {
            self.moved.lock().unwrap().push(Moved::new(Arc::clone(&file), Arc::clone(&ledger), step));
        }
        Counter { file, ledger }
    }

    /// Removes a pod with its containers.
    pub(crate) fn remove(&self, pod_uid: &str, ids: &[String]) {
        for id in ids {
            fs::remove_dir_all(self.path(pod_uid, id)).expect("the container is there");
        }
        fs::remove_dir(self.directory.path().join(format!("cgroup/kubepods/burstable/pod{pod_uid}")))
            .expect("the pod is there and empty");
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// One counter.
#[derive(Debug, Clone)]
pub(crate) struct Counter {
    file: Arc<File>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Counter {
    /// Moves it on.
    pub(crate) fn burn(&self, time: Duration) {
        advance(&self.file, &self.ledger, u64::try_from(time.as_micros()).expect("a short time"));
    }
}

impl Moved {
    fn new(file: Arc<File>, ledger: Arc<Ledger>, step: u64) -> Self {
        Self { file, ledger, next: Instant::now() + STEP, step }
    }

    fn move_on(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.next += STEP;
        self.step += 1;
        advance(&self.file, &self.ledger, self.step);
    }
}

fn advance(file: &File, ledger: &Ledger, micros: u64) {
    let nanos = ledger.newest() + micros * 1000;
    let (text, before) = (format!("usage_usec {}", nanos / 1000), wall());
    // In place and of the same length: a reader sees the one or the other.
    file.write_all_at(text.as_bytes(), 0).expect("the temporary directory is writable");
    ledger.enter(before, nanos);
}

/// A cgroup's files, and what is known of them.
fn make(directory: &Path) -> (Arc<File>, Arc<Ledger>) {
    let pages = PAGES.fetch_add(1, Ordering::Relaxed);
    let ledger = Arc::new(Ledger::written(pages * PAGE));
    // Made aside and moved there whole, so that no reader finds half of it.
    let draft = directory.with_extension("draft");
    let is_root = directory.exists();
    let place = if is_root { directory } else { draft.as_path() };
    fs::create_dir_all(place).expect("the temporary directory is writable");
    let before = wall();
    write(&place.join("cpu.stat"), &format!("usage_usec {BEGIN_US}\nuser_usec 0\nsystem_usec 0\n"));
    ledger.enter(before, BEGIN_US * 1000);
    let inactive = 3 * PAGE;
    write(
        &place.join("memory.stat"),
        &format!("anon {}\nfile {inactive}\ninactive_file {inactive}\n", pages * PAGE),
    );
    write(&place.join("cgroup.procs"), "1\n");
    if !is_root {
        write(&place.join("memory.current"), &format!("{}\n", pages * PAGE + inactive));
        write(&place.join("cgroup.events"), "populated 1\nfrozen 0\n");
        fs::create_dir_all(directory.parent().expect("it lies in a pod")).expect("it is writable");
        fs::rename(place, directory).expect("the place is free");
    }
    let file = File::options().write(true).open(directory.join("cpu.stat")).expect("it was just made");
    (Arc::new(file), ledger)
}

fn imitate_proc(directory: &Path, root: &Path) {
    for name in ["self", "sys/kernel/random"] {
        fs::create_dir_all(directory.join(name)).expect("the temporary directory is writable");
    }
    let root = fs::canonicalize(root).expect("it was just made");
    let mounts = format!("1 0 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.display());
    write(&directory.join("self/mountinfo"), &mounts);
    for name in ["stat", "meminfo"] {
        let text = fs::read_to_string(Path::new("/proc").join(name)).expect("/proc is mounted");
        write(&directory.join(name), &text);
    }
    write(&directory.join("sys/kernel/random/boot_id"), "7d0f4c5e-0000-4000-8000-000000000001\n");
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the temporary directory is writable");
}
