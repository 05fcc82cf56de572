//! A node's containers: real cgroups, two to a pod, with a worker in each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
};

use crate::{
    cgroups::{Container, Tree},
    worker::Worker,
};

const ROOT: &str = "/sys/fs/cgroup";

/// Containers of a pod.
const OF_POD: usize = 2;

/// All cgroups of one node; gone when dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Everything that an agent reads on a tick: the node, and then pods and containers.
    pub(crate) node: Cgroup,
    pub(crate) cgroups: Vec<Cgroup>,
    // Dropped in this order: a cgroup with processes stays.
    _workers: Vec<Worker>,
    made: Made,
}

/// One cgroup: its path in each tree, and the files of a sample in the order in which they are read.
#[derive(Debug)]
pub(crate) struct Cgroup {
    pub(crate) path: String,
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug)]
enum Made {
    V1(Tree),
    /// Left to the guest, which is about to end.
    V2,
}

impl Ground {
    /// Version 1 cgroups of this machine. `alone`: waits until no test has any, since agents see all of them.
    pub(crate) fn v1(containers: usize, alone: bool) -> Self {
        let tree = if alone { Tree::alone() } else { Tree::new() };
        let (mut cgroups, mut workers, mut last) = (Vec::new(), Vec::new(), None);
        for nth in 0..containers {
            let container = match &last {
                Some(first) if nth % OF_POD != 0 => tree.beside(first),
                _ => tree.plain_container(),
            };
            let path = container.cgroup_path();
            if nth % OF_POD == 0 {
                cgroups.push(Cgroup::v1(parent(&path)));
            }
            cgroups.push(Cgroup::v1(&path));
            workers.push(Worker::start(|child| container.adopt_plain(child)));
            last = Some(container);
        }
        Self { node: Cgroup::v1(""), cgroups, _workers: workers, made: Made::V1(tree) }
    }

    /// Version 2 cgroups of a guest.
    pub(crate) fn v2(containers: usize) -> Self {
        let (mut cgroups, mut workers) = (Vec::new(), Vec::new());
        for nth in 0..containers {
            let pod = format!("/bench-{containers}/kubepods/burstable/pod{:032x}", nth / OF_POD + 1);
            let path = format!("{pod}/{:064x}", nth + 1);
            make_v2(&path);
            if nth % OF_POD == 0 {
                cgroups.push(Cgroup::v2(&pod));
            }
            let adopt = |child: &Child| {
                let processes = format!("{ROOT}{path}/cgroup.procs");
                fs::write(processes, child.id().to_string()).unwrap();
            };
            workers.push(Worker::start(adopt));
            cgroups.push(Cgroup::v2(&path));
        }
        // The root has no memory.current.
        let files = ["memory.stat", "cpu.stat"].map(|file| Path::new(ROOT).join(file)).to_vec();
        Self { node: Cgroup { path: String::new(), files }, cgroups, _workers: workers, made: Made::V2 }
    }

    /// A cgroup beside them, where counters of a program can be read.
    pub(crate) fn job(&self, name: &str) -> Container {
        match &self.made {
            Made::V1(tree) => tree.job(name),
            Made::V2 => panic!("a guest has no jobs"),
        }
    }

    /// Whether the cgroups are of version 1.
    pub(crate) fn is_v1(&self) -> bool {
        matches!(self.made, Made::V1(_))
    }

    /// The node and all cgroups.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Cgroup> {
        std::iter::once(&self.node).chain(&self.cgroups)
    }
}

impl Cgroup {
    fn v1(path: &str) -> Self {
        let files =
            ["memory/PATH/memory.stat", "memory/PATH/memory.usage_in_bytes", "cpuacct/PATH/cpuacct.usage"];
        let files = files.map(|file| Path::new(ROOT).join(file.replace("/PATH", path)));
        Self { path: path.to_owned(), files: files.to_vec() }
    }

    fn v2(path: &str) -> Self {
        let files = ["memory.stat", "memory.current", "cpu.stat"];
        let files = files.map(|file| PathBuf::from(format!("{ROOT}{path}/{file}")));
        Self { path: path.to_owned(), files: files.to_vec() }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A cgroup with both controllers, passed on to it level by level.
fn make_v2(path: &str) {
    let mut directory = ROOT.to_owned();
    for level in path.split('/').filter(|level| !level.is_empty()) {
        fs::write(format!("{directory}/cgroup.subtree_control"), "+cpu +memory").unwrap();
        directory = format!("{directory}/{level}");
        fs::create_dir_all(&directory).unwrap();
    }
}
