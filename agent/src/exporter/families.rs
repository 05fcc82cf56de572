//! What `/metrics/vitals` has beside the kubelet's numbers: one row per family, for the page and for README.md alike.
//!
//! All have the labels of the kubelet's page and no other, but for `resource` of pressure: so there are at most
//! 18 lines for a container, and as many again that say since when counters count.

use kubevitals::sample::Detail;

use super::text::{Head, Kind};

/// What families are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One container.
    Container,
    /// One pod, from its own cgroup.
    Pod,
    /// The node.
    Node,
    /// The page itself.
    Exporter,
}

impl Level {
    /// All, in the page's order.
    pub const ALL: [Self; 4] = [Self::Container, Self::Pod, Self::Node, Self::Exporter];

    /// What the names of its families begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Container => "kubevitals_container_",
            Self::Pod => "kubevitals_pod_",
            Self::Node => "kubevitals_node_",
            Self::Exporter => "kubevitals_exporter_",
        }
    }
}

/// Where a family's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Details, each with its label `resource`; empty for none.
    Details(&'static [(&'static str, Detail)]),
    /// When the cgroup was made.
    Birth,
    /// What a pod has in memory beside its containers.
    OverheadMemory,
    /// The same of CPU time.
    OverheadCpu,
    /// Whether there is a recent sweep to show.
    ScrapeError,
    /// When that sweep began.
    SweepTime,
}

/// The unit of what is counted, which decides that of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as they are.
    Bytes,
    /// A number of events, or a truth.
    Count,
    /// Nanoseconds, shown as seconds.
    Nanoseconds,
    /// Microseconds, shown as seconds.
    Microseconds,
}

impl Unit {
    /// The last word of the family's name; `None` for a plain number.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Bytes => Some("bytes"),
            Self::Count => None,
            Self::Nanoseconds | Self::Microseconds => Some("seconds"),
        }
    }

    /// In the family's unit.
    pub(super) fn convert(self, value: u64) -> f64 {
        let value = super::number::float(value);
        match self {
            Self::Bytes | Self::Count => value,
            Self::Nanoseconds => value / 1e9,
            Self::Microseconds => value / 1e6,
        }
    }
}

/// A family.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Which levels have it.
    pub levels: &'static [Level],
    /// Without prefix and without the suffix of its kind.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What is counted.
    pub unit: Unit,
    /// One sentence.
    pub help: &'static str,
    /// Which file it is from.
    pub file: &'static str,
    /// Where its values come from.
    pub source: Source,
}

impl Definition {
    pub(super) fn head(&self, level: Level) -> Head {
        let Self { name, kind, unit, help, .. } = *self;
        Head { prefix: level.prefix(), name, kind, unit: unit.as_str(), help }
    }
}

const ALL: &[Level] = &[Level::Container, Level::Pod, Level::Node];

/// Every family of the page.
pub const FAMILIES: &[Definition] = &[
    memory(
        "memory_usage_bytes",
        &[("", Detail::MemoryUsage)],
        "Memory in use, all page cache included",
        "v2 memory.current, v1 memory.usage_in_bytes",
    ),
    memory(
        "memory_anon_bytes",
        &[("", Detail::Anon)],
        "Anonymous memory: heap, stacks and the like",
        "memory.stat: v2 anon, v1 total_rss",
    ),
    memory(
        "memory_file_bytes",
        &[("", Detail::File)],
        "Page cache, with tmpfs and shared memory",
        "memory.stat: v2 file, v1 total_cache",
    ),
    memory(
        "memory_inactive_file_bytes",
        &[("", Detail::InactiveFile)],
        "Page cache not used of late; usage less this is the working set",
        "memory.stat: v2 inactive_file, v1 total_inactive_file",
    ),
    memory(
        "memory_peak_bytes",
        &[("", Detail::MemoryPeak)],
        "Most memory ever in use at once",
        "v2 memory.peak, v1 memory.max_usage_in_bytes",
    ),
    memory(
        "memory_swap_bytes",
        &[("", Detail::Swap)],
        "Memory swapped out",
        "v2 memory.swap.current, v1 memory.stat total_swap; node: /proc/meminfo",
    ),
    counter(
        "memory_oom_kills",
        Unit::Count,
        &[("", Detail::OomKills)],
        "Processes killed because memory ran out",
        "oom_kill of v2 memory.events, v1 memory.oom_control",
    ),
    counter(
        "cpu_periods",
        Unit::Count,
        &[("", Detail::CpuPeriods)],
        "Periods in which a CPU limit was enforced",
        "cpu.stat nr_periods",
    ),
    counter(
        "cpu_throttled_periods",
        Unit::Count,
        &[("", Detail::CpuThrottledPeriods)],
        "Periods in which the CPU limit was reached",
        "cpu.stat nr_throttled",
    ),
    counter(
        "cpu_throttled_seconds",
        Unit::Nanoseconds,
        &[("", Detail::CpuThrottled)],
        "Time for which the CPU limit held tasks back, summed over CPUs",
        "cpu.stat: v2 throttled_usec, v1 throttled_time",
    ),
    counter(
        "pressure_waiting_seconds",
        Unit::Microseconds,
        &[
            ("cpu", Detail::CpuPressureSome),
            ("io", Detail::IoPressureSome),
            ("memory", Detail::MemoryPressureSome),
        ],
        "Time for which some task waited for the resource",
        "v2 cpu.pressure, io.pressure, memory.pressure: some total",
    ),
    counter(
        "pressure_stalled_seconds",
        Unit::Microseconds,
        &[
            ("cpu", Detail::CpuPressureFull),
            ("io", Detail::IoPressureFull),
            ("memory", Detail::MemoryPressureFull),
        ],
        "Time for which all tasks waited for the resource at once",
        "v2 cpu.pressure, io.pressure, memory.pressure: full total",
    ),
    Definition {
        levels: &[Level::Container, Level::Pod],
        source: Source::Birth,
        ..gauge(
            "birth_timestamp_seconds",
            Unit::Microseconds,
            "When the cgroup was made, seconds since 1970",
            "earliest mtime of its directory and of v2 cgroup.events, v1 cgroup.clone_children",
        )
    },
    Definition {
        levels: &[Level::Pod],
        source: Source::OverheadMemory,
        ..gauge(
            "overhead_working_set_bytes",
            Unit::Bytes,
            "Working set of the pod less that of its containers: the sandbox and what the runtime adds",
            "memory.stat with v2 memory.current, v1 memory.usage_in_bytes",
        )
    },
    Definition {
        levels: &[Level::Pod],
        source: Source::OverheadCpu,
        ..gauge(
            "overhead_cpu_seconds",
            Unit::Nanoseconds,
            "CPU time of the pod less that of its running containers: the sandbox, the runtime and ended containers",
            "v2 cpu.stat usage_usec, v1 cpuacct.usage",
        )
    },
    Definition {
        levels: &[Level::Exporter],
        source: Source::ScrapeError,
        ..gauge(
            "scrape_error",
            Unit::Count,
            "1 if nothing was sampled of late, 0 otherwise",
            "the agent itself",
        )
    },
    Definition {
        levels: &[Level::Exporter],
        source: Source::SweepTime,
        ..gauge(
            "sweep_timestamp_seconds",
            Unit::Microseconds,
            "When the sweep shown here began, seconds since 1970",
            "the agent itself",
        )
    },
];

const fn gauge(name: &'static str, unit: Unit, help: &'static str, file: &'static str) -> Definition {
    Definition { levels: ALL, name, kind: Kind::Gauge, unit, help, file, source: Source::Birth }
}

const fn memory(
    name: &'static str,
    values: &'static [(&'static str, Detail)],
    help: &'static str,
    file: &'static str,
) -> Definition {
    Definition { source: Source::Details(values), ..gauge(name, Unit::Bytes, help, file) }
}

const fn counter(
    name: &'static str,
    unit: Unit,
    values: &'static [(&'static str, Detail)],
    help: &'static str,
    file: &'static str,
) -> Definition {
    Definition { kind: Kind::Counter, source: Source::Details(values), ..gauge(name, unit, help, file) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_end_in_their_unit_and_are_given_once() {
        let mut names = BTreeSet::new();
        for family in FAMILIES {
            assert!(names.insert(family.name), "{}", family.name);
            assert!(
                family.unit.as_str().is_none_or(|unit| family.name.ends_with(&format!("_{unit}"))),
                "{family:?}"
            );
            assert!(!family.name.ends_with("_total") && !family.levels.is_empty(), "{family:?}");
            assert!(!family.help.ends_with('.') && !family.help.contains(['\\', '\n', '"']), "{family:?}");
        }
    }

    #[test]
    fn every_detail_is_in_one_family() {
        let shown = FAMILIES.iter().flat_map(|family| match family.source {
            Source::Details(values) => values.iter().map(|(_, detail)| *detail).collect(),
            _ => Vec::new(),
        });
        let mut shown: Vec<Detail> = shown.collect();
        shown.sort_unstable();
        assert_eq!(shown, Detail::ALL);
    }
}
