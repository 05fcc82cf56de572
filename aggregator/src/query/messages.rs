//! Numbers to messages of `query.proto`: the one place that knows their fields.

use std::time::Duration;

use kubevitals::{
    sample::{Detail, Details, WallTime},
    wire,
};

use super::item::{Numbers, Subject};
use crate::store::node::CounterRef;

/// A moment.
#[must_use]
pub fn timestamp(time: WallTime) -> prost_types::Timestamp {
    let (seconds, micros) = (time.0 / 1_000_000, time.0 % 1_000_000);
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(micros * 1000).unwrap_or(0),
    }
}

/// A length of time.
#[must_use]
pub fn duration(of: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(of.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(of.subsec_nanos()).unwrap_or(0),
    }
}

/// A length of time that a caller gives; `None` for one that is negative or not as the contract of
/// `google.protobuf.Duration` has it. The library's own conversion panics on some of those.
#[must_use]
pub fn length(given: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(given.nanos).ok().filter(|&nanos| nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(given.seconds).ok()?, nanos))
}

/// Who it is.
#[must_use]
pub fn subject(of: &Subject) -> wire::Subject {
    let (pod, container) = match of {
        Subject::Node(node) => {
            return wire::Subject { node: node.name.to_string(), ..wire::Subject::default() };
        }
        Subject::Pod(pod) => (pod, None),
        Subject::Container(pod, container) => (pod, Some(container)),
    };
    let id = container.and_then(|container| match &container.counter {
        CounterRef::Container(id) => Some(id.to_string()),
        CounterRef::Node | CounterRef::Cgroup(_) => None,
    });
    wire::Subject {
        node: pod.node.to_string(),
        namespace: pod.namespace.to_string(),
        pod: pod.name.to_string(),
        pod_uid: pod.uid.to_string(),
        container: container.map(|container| container.name.to_string()).unwrap_or_default(),
        container_id: id.unwrap_or_default(),
    }
}

/// What it uses.
#[must_use]
pub fn usage(subject: Option<wire::Subject>, of: &Numbers) -> wire::Usage {
    wire::Usage {
        subject,
        time: Some(timestamp(of.time)),
        window: Some(duration(of.window)),
        cpu_nanocores: of.cpu_nanocores,
        working_set_bytes: of.working_set_bytes,
        cpu_distribution: of.distribution.map(Into::into),
        details: of.details.as_deref().map(details),
        birth: of.birth.map(timestamp),
        held: of.held,
        source: of.source.into(),
    }
}

/// What is read seldom.
#[must_use]
pub fn details(of: &Details) -> wire::Details {
    let get = |detail| of.get(detail);
    wire::Details {
        memory_usage_bytes: get(Detail::MemoryUsage),
        anon_bytes: get(Detail::Anon),
        file_bytes: get(Detail::File),
        inactive_file_bytes: get(Detail::InactiveFile),
        swap_bytes: get(Detail::Swap),
        memory_peak_bytes: get(Detail::MemoryPeak),
        oom_kills: get(Detail::OomKills),
        cpu_periods: get(Detail::CpuPeriods),
        cpu_throttled_periods: get(Detail::CpuThrottledPeriods),
        cpu_throttled_ns: get(Detail::CpuThrottled),
        cpu_pressure_some_us: get(Detail::CpuPressureSome),
        cpu_pressure_full_us: get(Detail::CpuPressureFull),
        memory_pressure_some_us: get(Detail::MemoryPressureSome),
        memory_pressure_full_us: get(Detail::MemoryPressureFull),
        io_pressure_some_us: get(Detail::IoPressureSome),
        io_pressure_full_us: get(Detail::IoPressureFull),
    }
}
