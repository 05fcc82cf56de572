//! What a guest says it made and what its kernel measured, parsed from its sections.

use std::collections::{BTreeMap, BTreeSet};

use crate::guest::Section;

/// Pod UIDs with the names of their containers.
pub(crate) type Names = BTreeMap<String, BTreeSet<String>>;

/// One container as the guest made it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) workload: String,
    pub(crate) qos: String,
    pub(crate) pod_uid: String,
    pub(crate) id: String,
    pub(crate) path: String,
}

impl Made {
    pub(crate) fn name(&self) -> &str {
        &self.id[..12]
    }
}

/// What the guest said it made.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) containers: Vec<Made>,
}

impl Tree {
    pub(crate) fn parse(section: &Section) -> Self {
        let containers = section.lines.iter().filter_map(|line| {
            let mut words = line.strip_prefix("container ")?.split(' ').map(str::to_owned);
            let mut word = || words.next().expect("a container line has five words");
            Some(Made { workload: word(), qos: word(), pod_uid: word(), id: word(), path: word() })
        });
        let containers: Vec<_> = containers.collect();
        assert_eq!(containers.len(), 5, "unexpected tree: {section:?}");
        Self { containers }
    }

    pub(crate) fn container(&self, workload: &str) -> &Made {
        self.containers.iter().find(|made| made.workload == workload).expect("a workload of the guest")
    }

    pub(crate) fn names(&self) -> Names {
        let mut names = Names::new();
        for made in &self.containers {
            names.entry(made.pod_uid.clone()).or_default().insert(made.name().to_owned());
        }
        names
    }
}

/// The kernel's own figures for one cgroup, as busybox read them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) usage: u64,
    pub(crate) inactive_file: u64,
}

impl Kernel {
    pub(crate) fn working_set(self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// One reading of every cgroup of the guest.
#[derive(Debug)]
pub(crate) struct Report(BTreeMap<String, Kernel>);

impl Report {
    pub(crate) fn parse(section: &Section) -> Self {
        let figures = section.lines.iter().filter_map(|line| {
            let mut words = line.split(' ');
            let (_kind, path) = (words.next()?, words.next()?);
            let values: BTreeMap<_, _> = words.filter_map(|word| word.split_once('=')).collect();
            let value = |key: &str| values.get(key)?.parse().ok();
            Some((path.to_owned(), Kernel { usage: value("usage")?, inactive_file: value("inactive_file")? }))
        });
        Self(figures.collect())
    }

    pub(crate) fn at(&self, path: &str) -> Result<Kernel, String> {
        self.0.get(path).copied().ok_or_else(|| format!("the guest did not report {path}"))
    }
}
