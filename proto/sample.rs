//! What both ends speak of: one reading of one subject, with the unit in the type.
//!
//! A [`Sample`] is what the kernel counted, never a rate.

mod detail;
mod packed;
mod uid;

pub use detail::{DETAILS, Detail, Details};
pub(crate) use packed::LONGEST as LONGEST_DETAILS;
pub use packed::PackedDetails;
pub use uid::{PodUid, UidNumber};

use std::{fmt, sync::Arc, time::Duration};

use crate::limits::{MAX_CGROUP_PATH, MAX_CONTAINER_ID, MAX_MEMORY, MEMORY_UNIT};

/// A moment on the node's `CLOCK_BOOTTIME`, microseconds: monotonic, counting suspend; comparable only within
/// one boot of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Time since `earlier`; zero when that lies later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Wall time, microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

/// CPU time used since the counter began, nanoseconds (v1 `cpuacct.usage`, v2 `usage_usec` × 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuTime(pub u64);

/// Memory in use less inactive file pages, bytes, not below zero; always whole pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkingSet(u64);

impl WorkingSet {
    /// Checks `bytes`: a whole number of [`MEMORY_UNIT`]s, at most [`MAX_MEMORY`]. Anything else was not
    /// written by a kernel's page counter.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        (bytes.is_multiple_of(MEMORY_UNIT) && bytes <= MAX_MEMORY).then_some(Self(bytes))
    }

    /// From units of 4 KiB.
    #[must_use]
    pub fn from_units(units: u32) -> Self {
        Self(u64::from(units) * MEMORY_UNIT)
    }

    /// `usage` less `inactive_file`, zero when that is the larger (both bytes), as cAdvisor defines it.
    #[must_use]
    pub fn from_parts(usage: u64, inactive_file: u64) -> Option<Self> {
        Self::from_bytes(usage.saturating_sub(inactive_file))
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// Units of 4 KiB.
    #[must_use]
    pub fn units(self) -> u32 {
        // The constructors keep the value within MAX_MEMORY.
        u32::try_from(self.0 / MEMORY_UNIT).unwrap_or(u32::MAX)
    }
}

/// One reading of one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Taken right after the CPU counter was read.
    pub time: BootTime,
    /// The CPU counter.
    pub cpu: CpuTime,
    /// Memory at that same moment.
    pub working_set: WorkingSet,
}

/// Number of a series within one agent process; at least 1, ascending, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// A text that is not what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {why}")]
pub struct InvalidName {
    /// Which kind of name.
    pub what: &'static str,
    /// The text, shortened.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

fn checked(
    what: &'static str,
    text: &str,
    longest: usize,
    allowed: impl Fn(u8) -> bool,
) -> Result<Arc<str>, InvalidName> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > longest {
        "it is too long"
    } else if !text.bytes().all(allowed) {
        "it has a character that does not belong there"
    } else {
        return Ok(Arc::from(text));
    };
    Err(InvalidName { what, text: text.chars().take(80).collect(), why })
}

/// A container's id as in its pod's status, without the runtime's scheme.
///
/// Runtimes name containers by 64 hexadecimal digits. Held as the 32 bytes that these mean, an id takes a third of the
/// memory, and who compares two of them looks nowhere else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Id);

/// One text has one form only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Id {
    /// 64 digits of hexadecimal, all letters lower-case.
    Digits([u8; 32]),
    /// Anything else.
    Text(Arc<str>),
}

impl ContainerId {
    /// Letters, digits, `_`, `.` and `-`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        if let Some(digits) = digits(text) {
            return Ok(Self(Id::Digits(digits)));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        checked("container id", text, MAX_CONTAINER_ID, allowed).map(|text| Self(Id::Text(text)))
    }
}

impl ContainerId {
    /// The bytes that the digits of the usual form mean.
    pub(crate) fn number(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Id::Digits(bytes) => Some(bytes),
            Id::Text(_) => None,
        }
    }

    /// The id of these bytes.
    pub(crate) fn from_number(bytes: [u8; 32]) -> Self {
        Self(Id::Digits(bytes))
    }
}

/// The bytes that twice as many hexadecimal digits mean; `None` for any other text.
fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// The digits of some bytes, in a buffer of twice their number.
fn hexadecimal<'a>(bytes: &[u8], text: &'a mut [u8]) -> &'a str {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' - 10 + value };
    for ([high, low], byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 15));
    }
    str::from_utf8(text).unwrap_or_default()
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Digits(bytes) => f.write_str(hexadecimal(bytes, &mut [0; 64])),
            Id::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As the other names are shown.
        write!(f, "ContainerId(\"{self}\")")
    }
}

/// A cgroup's path from the root of its hierarchy: a leading slash, no trailing one, no empty, `.` or `..`
/// component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(Arc<str>);

impl CgroupPath {
    /// Checks the form; systemd's escapes and any other UTF-8 text without control characters are allowed
    /// inside a component.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let what = "cgroup path";
        let path = checked(what, text, MAX_CGROUP_PATH, |b| b >= b' ' && b != 0x7f)?;
        let odd = |component: &str| matches!(component, "" | "." | "..");
        match text.strip_prefix('/') {
            Some(rest) if !rest.split('/').any(odd) => Ok(Self(path)),
            _ => Err(InvalidName {
                what,
                text: text.chars().take(80).collect(),
                why: "it has no leading slash, or an empty or dotted component",
            }),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pod's quality-of-service class, as its place in the tree tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// Directly below the kubepods root.
    Guaranteed,
    /// Below `burstable`.
    Burstable,
    /// Below `besteffort`.
    BestEffort,
}

impl Qos {
    /// As in a pod's `status.qosClass`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// What a counter belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The node's own totals.
    Node,
    /// A whole pod: its containers, the sandbox and what the runtime adds.
    Pod {
        /// Whose.
        uid: PodUid,
        /// From the path; `None` for a path that does not tell (mixed cgroup drivers).
        qos: Option<Qos>,
    },
    /// One container, or the pod's sandbox: the path does not tell which.
    Container {
        /// Of this pod.
        pod: PodUid,
        /// Its id.
        id: ContainerId,
        /// From the path.
        qos: Option<Qos>,
    },
    /// A cgroup outside any kubepods tree.
    Cgroup {
        /// Where.
        path: CgroupPath,
    },
    /// Something that a newer peer counts and this version does not know.
    Unknown,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_container_id_is_told_as_it_was_heard(text in "[0-9a-f]{64}|[0-9a-fA-F]{64}|[A-Za-z0-9_.-]{1,70}", other in "[0-9a-f]{64}") {
            let id = ContainerId::new(&text).unwrap();
            prop_assert_eq!(id.to_string(), text.as_str());
            prop_assert_eq!(id == ContainerId::new(&other).unwrap(), text == other);
        }
    }

    #[test]
    fn working_set_is_usage_less_inactive_file_and_not_below_zero() {
        let bytes = |usage, inactive| WorkingSet::from_parts(usage, inactive).map(WorkingSet::bytes);
        assert_eq!(bytes(40_960, 8192), Some(32_768));
        assert_eq!(bytes(8192, 40_960), Some(0));
    }

    #[test]
    fn memory_that_is_not_whole_pages_is_no_working_set() {
        assert_eq!(WorkingSet::from_bytes(4097), None);
        assert_eq!(WorkingSet::from_bytes(MAX_MEMORY).map(WorkingSet::units), Some(u32::MAX));
        assert_eq!(WorkingSet::from_bytes(MAX_MEMORY + MEMORY_UNIT), None);
    }

    #[test]
    fn names_are_checked_and_the_error_says_which() {
        assert!(PodUid::new("2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11").is_ok());
        assert!(PodUid::new("0123456789abcdef0123456789abcdef").is_ok());
        assert_eq!(
            PodUid::new("pod_x").unwrap_err().to_string(),
            "pod uid \"pod_x\" is not valid: it has a character that does not belong there"
        );
        assert!(PodUid::new("-").is_err() && PodUid::new("a-").is_err());
        assert!(ContainerId::new("").is_err());
        assert!(ContainerId::new(&"g/".repeat(32)).is_err());
        assert!(CgroupPath::new("/system.slice/ssh.service").is_ok());
        for odd in ["", "/", "a", "/a/", "/a//b", "/../b", "/a/./b", "/a\nb"] {
            assert!(CgroupPath::new(odd).is_err(), "{odd:?}");
        }
    }
}
