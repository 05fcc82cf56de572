//! What a pod uses beside its containers: the sandbox, shims that run in its cgroup, and for CPU time the containers
//! that have ended. Pure.
//!
//! A difference of readings means something only if all of them are of one sweep and it is known which cgroups are
//! containers, so there is none with `--names=uid`.

use kubevitals::sample::{BootTime, Sample, Subject};

use super::sweep::{Row, Sweep};
use crate::identity::Named;

/// A pod's own use. Gauges both: the readings of one sweep are milliseconds apart, so the difference of two counters
/// may fall a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overhead {
    /// Nanoseconds.
    pub(super) cpu: Option<u64>,
    /// Bytes.
    pub(super) working_set: Option<u64>,
}

/// All containers of a sweep, by pod.
#[derive(Debug)]
pub(super) struct ByPod<'s> {
    time: BootTime,
    /// Sorted by the UID of the pod.
    containers: Vec<Container<'s>>,
}

#[derive(Debug, Clone, Copy)]
struct Container<'s> {
    pod: &'s str,
    row: &'s Row,
    is_named: bool,
}

impl<'s> ByPod<'s> {
    pub(super) fn of(sweep: &'s Sweep, names: &'s [Option<Named>]) -> Self {
        let mut containers = Vec::with_capacity(sweep.rows.len());
        for (row, named) in sweep.rows.iter().zip(names) {
            if let Subject::Container { pod, .. } = &row.about.subject {
                let is_named = named.as_ref().is_some_and(|named| named.container.is_some());
                containers.push(Container { pod: pod.as_str(), row, is_named });
            }
        }
        containers.sort_by_key(|container| container.pod);
        Self { time: sweep.time, containers }
    }

    /// Of the pod with this UID and this sample. None while one of its containers was not read in this sweep, or one
    /// that has no name may be more than the sandbox.
    pub(super) fn overhead(&self, uid: &str, pod: &Sample) -> Option<Overhead> {
        let begin = self.containers.partition_point(|container| container.pod < uid);
        let rest = self.containers.get(begin..)?;
        let end = rest.partition_point(|container| container.pod == uid);
        let containers = rest.get(..end)?;
        if pod.time < self.time || !sandbox_is_known(containers) {
            return None;
        }
        let (mut cpu, mut working_set) = (0_u64, 0_u64);
        for container in containers {
            let usage = container.row.usage.as_ref()?;
            if usage.time < self.time {
                return None;
            }
            if container.is_named {
                cpu = cpu.saturating_add(usage.value.cpu.0);
                working_set = working_set.saturating_add(usage.value.working_set.bytes());
            }
        }
        Some(Overhead {
            cpu: pod.cpu.0.checked_sub(cpu),
            working_set: pod.working_set.bytes().checked_sub(working_set),
        })
    }
}

/// Whether what has no name can only be the sandbox, which is made before any container. Without any name, nothing is
/// known of the pod yet.
fn sandbox_is_known(containers: &[Container<'_>]) -> bool {
    let age = |container: &&Container<'_>| (container.row.about.birth, container.row.about.series);
    let first = containers.iter().min_by_key(age).map(|container| container.row.about.series);
    let is_container =
        |container: &Container<'_>| container.is_named || Some(container.row.about.series) == first;
    containers.iter().any(|container| container.is_named) && containers.iter().all(is_container)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kubevitals::sample::{ContainerId, CpuTime, PodUid, SeriesId, WallTime, WorkingSet};

    use super::*;
    use crate::{
        exporter::{About, Dated},
        identity::PodNames,
    };

    const NOW: u64 = 1000;

    fn sample(time: u64, cpu: u64) -> Sample {
        Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set: WorkingSet::from_units(1) }
    }

    /// Containers of one pod as series, time of reading, CPU time and name.
    fn overhead(containers: &[(u32, u64, u64, Option<&str>)]) -> Option<Overhead> {
        let pod = PodUid::new("a").unwrap();
        let told = |name| Named {
            pod: Arc::new(PodNames { namespace: "n".into(), name: "p".into(), uid: None }),
            container: Some(Arc::from(name)),
        };
        let row = |&(series, time, cpu, _): &(u32, u64, u64, Option<&str>)| {
            let id = ContainerId::new("c").unwrap();
            let subject = Subject::Container { pod: pod.clone(), id, qos: None };
            let about = Arc::new(About { series: SeriesId(series), subject, birth: None });
            let (value, wall) = (sample(time, cpu), WallTime(time));
            Row { about, usage: Some(Dated { time: value.time, wall, value }), details: None }
        };
        let rows = containers.iter().map(row).collect();
        let names: Vec<Option<Named>> = containers.iter().map(|&(.., name)| name.map(told)).collect();
        let sweep = Sweep { time: BootTime(NOW), wall: WallTime(NOW), rows };
        ByPod::of(&sweep, &names).overhead("a", &sample(NOW, 100))
    }

    #[test]
    fn the_sandbox_and_what_else_the_pod_did_is_overhead() {
        let containers = [(2, NOW, 5, None), (3, NOW + 1, 20, Some("a")), (4, NOW + 2, 30, Some("b"))];
        // Two containers of one page each are more than the pod's one: no zero is made of that.
        assert_eq!(overhead(&containers), Some(Overhead { cpu: Some(50), working_set: None }));
    }

    #[test]
    fn without_a_sandbox_the_sum_is_as_good() {
        assert_eq!(
            overhead(&[(3, NOW, 20, Some("a"))]),
            Some(Overhead { cpu: Some(80), working_set: Some(0) })
        );
    }

    #[test]
    fn there_is_none_while_a_container_may_be_taken_for_the_sandbox() {
        let unnamed = [(2, NOW, 5, None), (3, NOW, 20, Some("a")), (4, NOW, 30, None)];
        assert_eq!(overhead(&unnamed), None);
        assert_eq!(overhead(&[(3, NOW, 20, Some("a")), (4, NOW, 30, None)]), None);
        assert_eq!(overhead(&[(2, NOW, 5, None)]), None);
        assert_eq!(overhead(&[]), None);
    }

    #[test]
    fn there_is_none_unless_all_were_read_in_the_same_sweep() {
        assert_eq!(overhead(&[(2, NOW, 5, None), (3, NOW - 1, 20, Some("a"))]), None);
    }
}
