//! When a cgroup was made.
//!
//! The kernel does not say: cgroup file systems have no time of birth (statx gives none on Linux 6.18, version 1 or
//! 2). What stands there is when the inode of a directory or file was first looked up, and a directory's time moves on
//! when its mode changes or, in some kernels, when a child is made. So the earliest time that any of a few inodes has
//! is the best there is, as cAdvisor takes it too: never before the birth, and milliseconds after it for a cgroup that
//! runtime and agent open at once; later when nobody looked for long, or the kernel dropped the inodes meanwhile. Of what
//! was there before us, the sampler takes no time for a birth that our own look may have made.

use std::ffi::CStr;

use kubevitals::sample::WallTime;

use super::{clock, file::Directory, mounts::Version};

/// A file of every cgroup that nobody writes in passing.
fn quiet_file(version: Version) -> &'static CStr {
    match version {
        Version::V1 => c"cgroup.clone_children",
        Version::V2 => c"cgroup.events",
    }
}

/// The earliest time of the directory and its quiet file, of all `directories` of one cgroup. Not before the machine
/// was booted, and not in the future: such a time was stamped by a clock that has been set since.
pub(super) fn birth<'d>(directories: impl IntoIterator<Item = (&'d Directory, Version)>) -> Option<WallTime> {
    let times = directories.into_iter().flat_map(|(directory, version)| {
        [directory.changed(c"."), directory.changed(quiet_file(version))].into_iter().flatten()
    });
    within(times.min()?, clock::wall_time(), clock::boot_time().0)
}

/// `made`, if it lies within the machine's life: `up` is that in microseconds.
fn within(made: WallTime, now: WallTime, up: u64) -> Option<WallTime> {
    (made <= now).then(|| WallTime(made.0.max(now.0.saturating_sub(up))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_lies_within_the_life_of_the_machine() {
        let now = WallTime(10_000);
        assert_eq!(within(WallTime(9_000), now, 4_000), Some(WallTime(9_000)));
        assert_eq!(within(WallTime(1), now, 4_000), Some(WallTime(6_000)), "the clock was wrong at boot");
        assert_eq!(within(WallTime(10_001), now, 4_000), None, "the clock was set back");
        assert_eq!(within(WallTime(1), now, 40_000), Some(WallTime(1)));
    }
}
