//! Reads everything twice and puts it in order.

use std::{collections::BTreeMap, thread, time::Duration};

use kubevitals::sample::{Details, Qos, Sample, Subject};

use super::{
    CgroupLook, ContainerLook, Look, LookError, LookOptions, NodeLook, PodLook, Skipped, TreeLook, UsageLook,
};
use crate::{
    cgroup::{
        Buffer, CgroupReader, Change, Descriptors, Discovery, Found, Limits, Mounts, ReadError, Scope, Tree,
        detect, has_processes_at,
    },
    node::NodeReader,
};

/// Reads everything, waits for the interval, and reads everything again.
pub fn look(options: &LookOptions) -> Result<Look, LookError> {
    look_with(options, thread::sleep)
}

/// The same, with the waiting left to `pause`.
pub(super) fn look_with(options: &LookOptions, pause: impl FnOnce(Duration)) -> Result<Look, LookError> {
    let mounts = detect(&options.cgroup_root, &options.proc_root)?;
    let mut buffer = Buffer::new();
    let mut node = NodeReader::open(&mounts, &options.proc_root, options.node_memory)?;
    let limits = Limits { scope: options.scope, ..Limits::default() };
    let mut discovery = Discovery::new(&mounts, limits)?;
    let mut changes = Vec::new();
    discovery.rescan(&mut changes);

    let mut seen = Seen::default();
    let node_before = node.sample(&mut buffer)?;
    let subjects = seen.first(changes, &mounts, &mut buffer);
    pause(options.interval);
    let node = node_look(&mut node, node_before, &mut buffer)?;
    for subject in subjects {
        seen.second(subject, &mut buffer);
    }

    let (pods, cgroups, skipped) = (seen.pods.into_values().collect(), seen.cgroups, seen.skipped);
    Ok(Look {
        hierarchy: mounts.hierarchy().as_str(),
        cpu_tree: tree_look(mounts.cpu()),
        memory_tree: tree_look(mounts.memory()),
        throttling_tree: mounts.throttling().map(tree_look),
        all_cgroups: options.scope == Scope::All,
        kubepods_found: seen.kubepods_found,
        node,
        pods,
        cgroups,
        skipped,
        cgroups_without_processes: seen.without_processes,
        over_limit: discovery.over_limit(),
        unreadable_directories: discovery.skipped(),
    }
    .sorted())
}

impl Look {
    fn sorted(mut self) -> Self {
        for pod in &mut self.pods {
            pod.containers.sort_by(|a, b| a.id.cmp(&b.id));
        }
        self.cgroups.sort_by(|a, b| a.path.cmp(&b.path));
        self.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        self
    }
}

/// A cgroup between its two readings.
struct Subjected {
    found: Found,
    reader: CgroupReader,
    before: Sample,
}

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    kubepods_found: bool,
    /// By UID.
    pods: BTreeMap<String, PodLook>,
    cgroups: Vec<CgroupLook>,
    skipped: Vec<Skipped>,
    without_processes: usize,
}

/// Why a cgroup is left out.
enum Reason {
    /// A cgroup of Kubernetes without processes: a leftover, or a placeholder.
    NoProcesses,
    /// Another cgroup without processes of its own: those below it count.
    OnlyGroups,
    Read(ReadError),
    CounterWentBack,
    NoTimePassed,
}

impl From<ReadError> for Reason {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl Seen {
    /// Takes the first reading of everything that was found.
    fn first(&mut self, changes: Vec<Change>, mounts: &Mounts, buffer: &mut Buffer) -> Vec<Subjected> {
        let descriptors = Descriptors::raised();
        let mut subjects = Vec::new();
        for change in changes {
            let Change::Appeared(found) = change else { continue };
            self.kubepods_found |= !matches!(found.subject, Subject::Cgroup { .. });
            if let Subject::Pod { uid, qos } = &found.subject {
                self.pod(uid.as_str(), *qos).path = Some(found.path.to_string());
            }
            match first_reading(&found, mounts, &descriptors, buffer) {
                Ok((reader, before)) => subjects.push(Subjected { found, reader, before }),
                Err(reason) => self.skip(&found, &reason),
            }
        }
        subjects
    }

    /// Takes the second reading and files the result.
    fn second(&mut self, mut subject: Subjected, buffer: &mut Buffer) {
        let usage = match second_reading(&mut subject, buffer) {
            Ok(usage) => usage,
            Err(reason) => return self.skip(&subject.found, &reason),
        };
        let path = subject.found.path.to_string();
        match subject.found.subject {
            Subject::Pod { uid, qos } => self.pod(uid.as_str(), qos).usage = Some(usage),
            Subject::Container { pod, id, qos } => {
                let container = ContainerLook { id: id.to_string(), path, usage };
                self.pod(pod.as_str(), qos).containers.push(container);
            }
            Subject::Cgroup { .. } | Subject::Node | Subject::Unknown => {
                self.cgroups.push(CgroupLook { path, usage });
            }
        }
    }

    fn pod(&mut self, uid: &str, qos: Option<Qos>) -> &mut PodLook {
        self.pods.entry(uid.to_owned()).or_insert_with(|| PodLook {
            uid: uid.to_owned(),
            qos: qos.map(Qos::as_str),
            path: None,
            usage: None,
            containers: Vec::new(),
        })
    }

    fn skip(&mut self, found: &Found, reason: &Reason) {
        let (reason, detail) = match reason {
            Reason::OnlyGroups => return self.without_processes += 1,
            Reason::NoProcesses => ("no_processes", "it has no processes".to_owned()),
            // The path stands beside it already.
            Reason::Read(error @ ReadError::Missing { controller, .. }) => {
                (error.kind(), format!("it is not in the {controller} hierarchy"))
            }
            Reason::Read(error) => (error.kind(), error.to_string()),
            Reason::CounterWentBack => ("counter_went_back", "its CPU counter went back".to_owned()),
            Reason::NoTimePassed => ("no_time_passed", "no time passed between two readings".to_owned()),
        };
        self.skipped.push(Skipped { path: found.path.to_string(), reason, detail });
    }
}

fn first_reading(
    found: &Found,
    mounts: &Mounts,
    descriptors: &Descriptors,
    buffer: &mut Buffer,
) -> Result<(CgroupReader, Sample), Reason> {
    let of_kubernetes = !matches!(found.subject, Subject::Cgroup { .. });
    let opened = CgroupReader::open(mounts, &found.path, descriptors);
    let mut reader = match opened {
        // A cgroup that only groups others may well lack a controller; one with processes should not.
        Err(ReadError::Missing { .. })
            if !of_kubernetes && !has_processes_at(mounts, &found.path, false)? =>
        {
            return Err(Reason::OnlyGroups);
        }
        other => other?,
    };
    if !reader.has_processes(of_kubernetes)? {
        return Err(if of_kubernetes { Reason::NoProcesses } else { Reason::OnlyGroups });
    }
    let before = reader.sample(buffer)?;
    Ok((reader, before))
}

fn second_reading(subject: &mut Subjected, buffer: &mut Buffer) -> Result<UsageLook, Reason> {
    let after = subject.reader.sample(buffer)?;
    let details = subject.reader.details(buffer)?;
    usage(subject.before, after, &details)
}

fn node_look(node: &mut NodeReader, before: Sample, buffer: &mut Buffer) -> Result<NodeLook, LookError> {
    let after = node.sample(buffer)?;
    let details = node.details(buffer)?;
    let capacity = node.capacity();
    Ok(NodeLook {
        cpus: capacity.cpus,
        memory_total_bytes: capacity.memory_bytes,
        cpu_source: node.cpu_source().as_str(),
        memory_source: node.memory_source().as_str(),
        memory_stat_read_us: u64::try_from(node.memory_stat_took().as_micros()).unwrap_or(u64::MAX),
        usage: usage(before, after, &details).map_err(|_| LookError::NoRate)?,
    })
}

/// The one division: a difference of counters over a difference of times.
fn usage(before: Sample, after: Sample, details: &Details) -> Result<UsageLook, Reason> {
    let cpu_delta_ns = after.cpu.0.checked_sub(before.cpu.0).ok_or(Reason::CounterWentBack)?;
    let window_us =
        after.time.0.checked_sub(before.time.0).filter(|&us| us > 0).ok_or(Reason::NoTimePassed)?;
    Ok(UsageLook {
        cpu_millicores: millicores(cpu_delta_ns, window_us),
        cpu_delta_ns,
        cpu_total_ns: after.cpu.0,
        window_us,
        working_set_bytes: after.working_set.bytes(),
        details: details.iter().map(|(detail, value)| (detail.name(), value)).collect(),
    })
}

/// Nanoseconds per microsecond are thousandths.
#[expect(clippy::cast_precision_loss, reason = "a number for people; the exact ones stand beside it")]
fn millicores(cpu_delta_ns: u64, window_us: u64) -> f64 {
    cpu_delta_ns as f64 / window_us as f64
}

fn tree_look(tree: &Tree) -> TreeLook {
    TreeLook { directory: tree.directory().display().to_string(), version: tree.version().as_str() }
}
