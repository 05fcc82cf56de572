//! Announcements, farewells and omissions: domain to wire, which cannot fail, and wire to domain, which checks
//! everything.

use crate::{
    chain::ChainError,
    sample::{
        BootTime, CgroupPath, ContainerId, CpuTime, PodUid, Qos, Sample, SeriesId, Subject, WallTime,
        WorkingSet,
    },
    wire,
};

/// A new series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its number.
    pub series: SeriesId,
    /// What it counts.
    pub subject: Subject,
    /// Inode of the cgroup directory.
    pub inode: u64,
    /// The reading taken when the cgroup was first seen.
    pub first: Option<Sample>,
    /// When the cgroup was made, where that is known.
    pub birth: Option<WallTime>,
}

/// Why a series ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The cgroup was removed.
    Removed,
    /// Another cgroup took its path.
    Replaced,
    /// It no longer belongs to what is reported.
    Dropped,
}

/// A series that will have no more samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Its number.
    pub series: SeriesId,
    /// Why.
    pub reason: EndReason,
}

/// Why a live series has no sample in a tick, or a cgroup is no series at all; also the metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OmissionReason {
    /// A counter file could not be read.
    ReadFailed,
    /// A counter file's text was not what the kernel writes.
    Malformed,
    /// The CPU counter was lower than before.
    CounterWentBack,
    /// An earlier read was too slow.
    BackedOff,
    /// More cgroups than the agent's limit.
    OverLimit,
}

impl OmissionReason {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ReadFailed, Self::Malformed, Self::CounterWentBack, Self::BackedOff, Self::OverLimit];

    /// As a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadFailed => "read_failed",
            Self::Malformed => "malformed",
            Self::CounterWentBack => "counter_went_back",
            Self::BackedOff => "backed_off",
            Self::OverLimit => "over_limit",
        }
    }
}

/// How many readings a tick lacks for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Omission {
    /// Why.
    pub reason: OmissionReason,
    /// How many; never zero.
    pub count: u32,
}

impl From<OmissionReason> for wire::OmissionReason {
    fn from(reason: OmissionReason) -> Self {
        match reason {
            OmissionReason::ReadFailed => Self::ReadFailed,
            OmissionReason::Malformed => Self::Malformed,
            OmissionReason::CounterWentBack => Self::CounterWentBack,
            OmissionReason::BackedOff => Self::BackedOff,
            OmissionReason::OverLimit => Self::OverLimit,
        }
    }
}

/// Whether this version knows the reason of an end. The series is gone all the same.
pub(crate) fn knows_end_reason(number: i32) -> bool {
    wire::EndReason::try_from(number).is_ok()
}

/// The reason, or `None` for one that this version does not know (a newer peer).
pub(crate) fn omission_reason(number: i32) -> Option<OmissionReason> {
    Some(match wire::OmissionReason::try_from(number).ok()? {
        wire::OmissionReason::Unspecified => return None,
        wire::OmissionReason::ReadFailed => OmissionReason::ReadFailed,
        wire::OmissionReason::Malformed => OmissionReason::Malformed,
        wire::OmissionReason::CounterWentBack => OmissionReason::CounterWentBack,
        wire::OmissionReason::BackedOff => OmissionReason::BackedOff,
        wire::OmissionReason::OverLimit => OmissionReason::OverLimit,
    })
}

impl From<Farewell> for wire::Farewell {
    fn from(farewell: Farewell) -> Self {
        let reason = match farewell.reason {
            EndReason::Removed => wire::EndReason::Removed,
            EndReason::Replaced => wire::EndReason::Replaced,
            EndReason::Dropped => wire::EndReason::Dropped,
        };
        Self { series: farewell.series.0, reason: reason.into() }
    }
}

impl From<&wire::Farewell> for Farewell {
    fn from(farewell: &wire::Farewell) -> Self {
        let reason = match farewell.reason() {
            wire::EndReason::Removed => EndReason::Removed,
            wire::EndReason::Replaced => EndReason::Replaced,
            // A reason of a newer peer: the series is gone all the same.
            wire::EndReason::Dropped | wire::EndReason::Unspecified => EndReason::Dropped,
        };
        Self { series: SeriesId(farewell.series), reason }
    }
}

fn qos_to_wire(qos: Option<Qos>) -> i32 {
    let class = match qos {
        None => wire::QosClass::Unspecified,
        Some(Qos::Guaranteed) => wire::QosClass::Guaranteed,
        Some(Qos::Burstable) => wire::QosClass::Burstable,
        Some(Qos::BestEffort) => wire::QosClass::BestEffort,
    };
    class.into()
}

fn qos_from_wire(number: i32) -> Option<Qos> {
    match wire::QosClass::try_from(number).ok()? {
        wire::QosClass::Unspecified => None,
        wire::QosClass::Guaranteed => Some(Qos::Guaranteed),
        wire::QosClass::Burstable => Some(Qos::Burstable),
        wire::QosClass::BestEffort => Some(Qos::BestEffort),
    }
}

impl From<&Announcement> for wire::Announcement {
    fn from(announcement: &Announcement) -> Self {
        use wire::announcement::Subject as Wire;
        let subject = match &announcement.subject {
            Subject::Node => Some(Wire::Node(wire::NodeSubject {})),
            Subject::Pod { uid, qos } => {
                Some(Wire::Pod(wire::PodSubject { uid: uid.to_string(), qos: qos_to_wire(*qos) }))
            }
            Subject::Container { pod, id, qos } => Some(Wire::Container(wire::ContainerSubject {
                pod_uid: pod.to_string(),
                container_id: id.to_string(),
                qos: qos_to_wire(*qos),
            })),
            Subject::Cgroup { path } => Some(Wire::Cgroup(wire::CgroupSubject { path: path.to_string() })),
            Subject::Unknown => None,
        };
        Self {
            series: announcement.series.0,
            subject,
            inode: announcement.inode,
            first: announcement.first.map(|sample| wire::FirstReading {
                time_us: sample.time.0,
                cpu_ns: sample.cpu.0,
                working_set_4k: sample.working_set.units().into(),
            }),
            birth_wall_us: announcement.birth.map_or(0, |birth| birth.0),
        }
    }
}

impl TryFrom<&wire::Announcement> for Announcement {
    type Error = ChainError;

    fn try_from(announcement: &wire::Announcement) -> Result<Self, ChainError> {
        use wire::announcement::Subject as Wire;
        let subject = match announcement.subject.as_ref() {
            // Of a newer peer. Its series has its place in the columns all the same.
            None => Subject::Unknown,
            Some(Wire::Node(_)) => Subject::Node,
            Some(Wire::Pod(pod)) => Subject::Pod { uid: PodUid::new(&pod.uid)?, qos: qos_from_wire(pod.qos) },
            Some(Wire::Container(container)) => Subject::Container {
                pod: PodUid::new(&container.pod_uid)?,
                id: ContainerId::new(&container.container_id)?,
                qos: qos_from_wire(container.qos),
            },
            Some(Wire::Cgroup(cgroup)) => Subject::Cgroup { path: CgroupPath::new(&cgroup.path)? },
        };
        if announcement.series == 0 {
            return Err(ChainError::Missing("announced.series"));
        }
        let first = match announcement.first.as_ref() {
            None => None,
            Some(first) => Some(sample(first.time_us, first.cpu_ns, first.working_set_4k)?),
        };
        let birth = Some(WallTime(announcement.birth_wall_us)).filter(|birth| birth.0 > 0);
        Ok(Self { series: SeriesId(announcement.series), subject, inode: announcement.inode, first, birth })
    }
}

/// A sample from its three numbers on the wire.
pub(crate) fn sample(time_us: u64, cpu_ns: u64, working_set_4k: u64) -> Result<Sample, ChainError> {
    Ok(Sample { time: BootTime(time_us), cpu: CpuTime(cpu_ns), working_set: working_set(working_set_4k)? })
}

/// A working set from its number on the wire.
pub(crate) fn working_set(units: u64) -> Result<WorkingSet, ChainError> {
    let units = u32::try_from(units).map_err(|_| ChainError::OutOfRange("working_set_4k"))?;
    Ok(WorkingSet::from_units(units))
}
