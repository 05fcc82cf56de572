//! The base files of version 2 on this machine, whose unified tree has no controllers.
//!
//! That shows what a `cpu.stat` costs on this kernel without emulation. It cannot show memory, nor a whole sweep of
//! the agent, which takes no cgroup for a container whose memory cannot be read; the guest shows both, as ratios.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{Options, figure::Figures, measure, sweep::per_cgroup, ways::Way, worker::Worker};

const ROOT: &str = "/sys/fs/cgroup/unified";

const CGROUPS: usize = 100;

pub(crate) fn run(options: &Options, figures: &mut Figures) {
    if !Path::new(ROOT).join("cgroup.procs").exists() {
        println!("the base files of version 2 are not measured: nothing is mounted at {ROOT}");
        return;
    }
    let ground = Base::new();
    let mut ways = [ground.kept(), ground.opened()];
    let paced = measure::paced(&mut ways, options.rounds);
    let hot = measure::hot(&mut ways);
    for (pace, found) in [("at 1 s", paced), ("hot", hot)] {
        for (way, each) in ways.iter().zip(per_cgroup(&ways, &found)) {
            figures.say(
                format!("v2, {CGROUPS} cgroups, cpu.stat: {}, {pace}", way.name),
                each,
                "us a cgroup",
            );
        }
    }
}

/// Cgroups of our own, gone when dropped.
struct Base {
    directory: PathBuf,
    workers: Vec<Worker>,
}

impl Base {
    fn new() -> Self {
        let directory = Path::new(ROOT).join(format!("kubevitals-bench-{}", std::process::id()));
        let mut base = Self { directory, workers: Vec::new() };
        for cgroup in base.cgroups() {
            fs::create_dir_all(&cgroup).unwrap();
            let adopt = cgroup.join("cgroup.procs");
            let worker = Worker::start(|child| fs::write(&adopt, child.id().to_string()).unwrap());
            base.workers.push(worker);
        }
        base
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        (0..CGROUPS).map(|nth| self.directory.join(format!("c{nth}"))).collect()
    }

    fn kept(&self) -> Way<'static> {
        let files: Vec<File> =
            self.cgroups().iter().map(|cgroup| File::open(cgroup.join("cpu.stat")).unwrap()).collect();
        let mut buffer = vec![0; 4096];
        let sweep = move || files.iter().for_each(|file| assert!(file.read_at(&mut buffer, 0).unwrap() > 0));
        Way { name: "kept descriptors", cgroups: CGROUPS, sweep: Box::new(sweep) }
    }

    fn opened(&self) -> Way<'static> {
        let files: Vec<PathBuf> = self.cgroups().iter().map(|cgroup| cgroup.join("cpu.stat")).collect();
        let sweep = move || files.iter().for_each(|file| assert!(!fs::read(file).unwrap().is_empty()));
        Way { name: "open, read", cgroups: CGROUPS, sweep: Box::new(sweep) }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.workers.clear();
        for cgroup in self.cgroups() {
            crate::cgroups::remove(&cgroup);
        }
        crate::cgroups::remove(&self.directory);
    }
}
