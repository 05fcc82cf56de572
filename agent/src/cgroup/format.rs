//! Chooses between `v1.rs` and `v2.rs`, file by file, and turns their text errors into errors that name the file.

use kubevitals::sample::{CpuTime, Details};

use super::{
    file::{Buffer, Directory, Name, ReadError},
    mounts::Version,
    text::{self, Remembered},
    v1, v2,
};

impl Version {
    /// Where memory is broken down.
    pub(crate) fn memory_stat(self) -> Name {
        match self {
            Self::V1 => v1::MEMORY_STAT,
            Self::V2 => v2::MEMORY_STAT,
        }
    }

    /// Where memory in use is told.
    pub(crate) fn memory_usage(self) -> Name {
        match self {
            Self::V1 => v1::MEMORY_USAGE,
            Self::V2 => v2::MEMORY_USAGE,
        }
    }

    /// Where CPU time is told.
    pub(crate) fn cpu(self) -> Name {
        match self {
            Self::V1 => v1::CPU,
            Self::V2 => v2::CPU,
        }
    }

    /// The controller that [`Self::cpu`] belongs to.
    pub(crate) fn cpu_controller(self) -> &'static str {
        match self {
            Self::V1 => "cpuacct",
            Self::V2 => "cpu",
        }
    }

    /// Inactive file pages, bytes, looked for first where they stood last in the same file.
    pub(crate) fn read_inactive_file(self, text: &[u8], place: &mut Remembered) -> Result<u64, ReadError> {
        match self {
            Self::V1 => v1::inactive_file(text, place),
            Self::V2 => v2::inactive_file(text, place),
        }
        .map_err(|detail| self.memory_stat().malformed(detail))
    }

    /// The same; the details that stand beside them are set.
    pub(crate) fn read_memory_stat(self, text: &[u8], details: &mut Details) -> Result<u64, ReadError> {
        match self {
            Self::V1 => v1::memory_stat(text, details),
            Self::V2 => v2::memory_stat(text, details),
        }
        .map_err(|detail| self.memory_stat().malformed(detail))
    }

    /// Memory in use, bytes.
    pub(crate) fn read_memory_usage(self, text: &[u8]) -> Result<u64, ReadError> {
        let usage = text::value(text).and_then(|usage| text::required("value", usage));
        usage.map_err(|detail| self.memory_usage().malformed(detail))
    }

    /// CPU time.
    pub(crate) fn read_cpu(self, text: &[u8]) -> Result<CpuTime, ReadError> {
        match self {
            Self::V1 => v1::cpu_time(text),
            Self::V2 => v2::cpu_time(text),
        }
        .map_err(|detail| self.cpu().malformed(detail))
    }

    /// Throttling, from the text of [`THROTTLING`].
    pub(crate) fn read_throttling(self, text: &[u8], details: &mut Details) -> Result<(), ReadError> {
        match self {
            Self::V1 => v1::throttling(text, details),
            Self::V2 => v2::throttling(text, details),
        }
        .map_err(|detail| THROTTLING.malformed(detail))
    }

    /// Details that have files of their own in the memory tree.
    pub(crate) fn read_own_files(
        self,
        directory: &Directory,
        buffer: &mut Buffer,
        details: &mut Details,
    ) -> Result<(), ReadError> {
        match self {
            Self::V1 => v1::own_file_details(directory, buffer, details),
            Self::V2 => v2::own_file_details(directory, buffer, details),
        }
    }
}

/// Where throttling is told, in both versions.
pub(crate) const THROTTLING: Name = Name(c"cpu.stat");
