//! Pods that containerd and runc run on this machine, and a reader of their counters that is independent of the agent.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    apiserver::make::Pod,
    cgroups::{Container, Tree},
    containerd::Containerd,
    ledger::{Ledger, wall},
};

/// How often the independent reader reads.
const EVERY: Duration = Duration::from_millis(50);

/// Works a little, again and again.
const PULSE: &str = "while :; do i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 0.1; done";

/// What is read: some container's counter, or the whole machine's.
type Read = (Option<Container>, Arc<Ledger>);

/// Dropping it ends the pods and removes their cgroups.
#[derive(Debug)]
pub(crate) struct RealPods {
    read: Arc<Mutex<Vec<Read>>>,
    /// Of the machine.
    pub(crate) own: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    /// Before the tree, which has to be empty to be removed.
    containerd: Containerd,
    tree: Tree,
    _files: TempDir,
}

impl RealPods {
    pub(crate) fn new() -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        let own = Arc::new(Ledger::read());
        let read = Arc::new(Mutex::new(vec![(None, Arc::clone(&own))]));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = {
            let (read, stop) = (Arc::clone(&read), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    read.lock().unwrap().retain(look);
                    thread::sleep(EVERY);
                }
            })
        };
        let containerd = Containerd::start(files.path());
        Self { read, own, stop, reader: Some(reader), containerd, tree: Tree::new(), _files: files }
    }

    /// Runs a pod's containers; their ledgers, in order.
    pub(crate) fn run(&self, pod: &Pod) -> Vec<Arc<Ledger>> {
        let started = pod.containers.iter().map(|name| {
            let (container, ledger) = (self.container(pod, name), Arc::new(Ledger::read()));
            self.containerd.run(&pod.container_id(name), &container.cgroup_path(), PULSE);
            self.read.lock().unwrap().push((Some(container), Arc::clone(&ledger)));
            ledger
        });
        started.collect()
    }

    /// Ends a pod.
    pub(crate) fn remove(&self, pod: &Pod) {
        for name in &pod.containers {
            self.containerd.remove(&pod.container_id(name));
        }
    }

    fn container(&self, pod: &Pod, name: &str) -> Container {
        self.tree.foreign(pod.uid(), pod.container_id(name))
    }
}

/// Makes an entry; false once the container is gone.
fn look((container, ledger): &Read) -> bool {
    let value = || match container {
        Some(container) => container.raw_cpu_usage(),
        None => std::fs::read_to_string("/sys/fs/cgroup/cpuacct/cpuacct.usage").ok()?.trim().parse().ok(),
    };
    let before = wall();
    let Some(nanos) = value() else { return false };
    ledger.enter(before, nanos);
    true
}

impl Drop for RealPods {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}
