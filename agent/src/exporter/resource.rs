//! `/metrics/resource`, in the kubelet's words.
//!
//! Names, HELP and TYPE lines, order of families, lines and labels, units and times are those of a kubelet of 1.33
//! (`pkg/kubelet/metrics/collectors/resource_metrics.go`), so that whoever reads a kubelet's page reads this one.
//! What is not measured here is absent: the limit of swap. The deprecated `scrape_error` is absent too, as on kubelets
//! since 1.30.

use kubevitals::sample::{Detail, Sample};

use super::{
    number::float,
    subjects::{Entry, Subjects},
    sweep::Dated,
    text::{Head, Kind, Labels, Text, timestamp_seconds},
};

const CONTAINER_CPU: Head = counter(
    "container_cpu_usage_seconds",
    "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
);
const CONTAINER_MEMORY: Head =
    bytes("container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes");
const CONTAINER_START: Head = Head {
    unit: Some("seconds"),
    ..bytes(
        "container_start_time_seconds",
        "[STABLE] Start time of the container since unix epoch in seconds",
    )
};
const CONTAINER_SWAP: Head = bytes(
    "container_swap_usage_bytes",
    "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
);
const NODE_CPU: Head =
    counter("node_cpu_usage_seconds", "[STABLE] Cumulative cpu time consumed by the node in core-seconds");
const NODE_MEMORY: Head =
    bytes("node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes");
const NODE_SWAP: Head = bytes(
    "node_swap_usage_bytes",
    "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems",
);
const POD_CPU: Head =
    counter("pod_cpu_usage_seconds", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds");
const POD_MEMORY: Head =
    bytes("pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes");
const POD_SWAP: Head = bytes(
    "pod_swap_usage_bytes",
    "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
);
const SCRAPE_ERROR: Head = Head {
    unit: None,
    ..bytes(
        "resource_scrape_error",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    )
};

const fn counter(name: &'static str, help: &'static str) -> Head {
    Head { prefix: "", name, kind: Kind::Counter, unit: Some("seconds"), help }
}

const fn bytes(name: &'static str, help: &'static str) -> Head {
    Head { prefix: "", name, kind: Kind::Gauge, unit: Some("bytes"), help }
}

/// The page; without subjects it says that there was an error and nothing else.
pub(super) fn write(text: &mut Text, subjects: Option<&Subjects<'_>>) {
    if let Some(subjects) = subjects {
        let Subjects { node, pods, containers, .. } = subjects;
        cpu(text, CONTAINER_CPU, containers);
        memory(text, CONTAINER_MEMORY, containers);
        start(text, containers);
        swap(text, CONTAINER_SWAP, containers);
        let node = node.as_slice();
        cpu(text, NODE_CPU, node);
        memory(text, NODE_MEMORY, node);
        swap(text, NODE_SWAP, node);
        cpu(text, POD_CPU, pods);
        memory(text, POD_MEMORY, pods);
        swap(text, POD_SWAP, pods);
    }
    let error = if subjects.is_some() { 0.0 } else { 1.0 };
    text.family(SCRAPE_ERROR).sample(&Labels::default(), error, None);
}

fn cpu(text: &mut Text, head: Head, entries: &[Entry<'_>]) {
    let mut family = text.family(head);
    for Entry { labels, usage: Dated { wall, value, .. }, .. } in entries {
        family.sample(labels, cpu_seconds(value), Some(*wall));
    }
}

fn memory(text: &mut Text, head: Head, entries: &[Entry<'_>]) {
    let mut family = text.family(head);
    for Entry { labels, usage: Dated { wall, value, .. }, .. } in entries {
        family.sample(labels, float(value.working_set.bytes()), Some(*wall));
    }
}

fn start(text: &mut Text, entries: &[Entry<'_>]) {
    let mut family = text.family(CONTAINER_START);
    for entry in entries {
        if let Some(birth) = entry.row.about.birth {
            family.sample(&entry.labels, timestamp_seconds(birth), None);
        }
    }
}

fn swap(text: &mut Text, head: Head, entries: &[Entry<'_>]) {
    let mut family = text.family(head);
    for entry in entries {
        let Some(details) = entry.details else { continue };
        if let Some(swap) = details.value.get(Detail::Swap) {
            family.sample(&entry.labels, float(swap), Some(details.wall));
        }
    }
}

/// The counter in seconds, divided as the kubelet divides it.
fn cpu_seconds(sample: &Sample) -> f64 {
    float(sample.cpu.0) / 1e9
}
