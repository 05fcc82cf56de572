//! The part of `/proc/self/mountinfo` that detection needs: cgroup mounts, in the kernel's order.
//!
//! Not read with the `procfs` crate: there a single mount of some pod's volume whose name is not UTF-8 fails the
//! whole list. <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// A mount that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// What it is.
    pub(super) kind: FileSystem,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    /// A version 1 hierarchy with its options, controllers among them.
    Cgroup { options: Vec<Vec<u8>> },
    /// The version 2 hierarchy.
    Cgroup2,
    /// Anything else; kept because it may cover a cgroup mount.
    Other,
}

impl Mount {
    /// Whether this is a version 1 hierarchy with this controller.
    pub(super) fn has_controller(&self, name: &str) -> bool {
        match &self.kind {
            FileSystem::Cgroup { options } => options.iter().any(|option| option == name.as_bytes()),
            FileSystem::Cgroup2 | FileSystem::Other => false,
        }
    }
}

/// All mounts of the list; a line that does not look like one is left out.
pub(super) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(mount).collect()
}

/// `36 35 98:0 <root> <mount point> <options> <optional fields> - <type> <source> <super options>`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let point = PathBuf::from(OsString::from_vec(unescape(fields.nth(4)?)));
    let mut behind = fields.skip_while(|&field| field != b"-").skip(1);
    let kind = match behind.next()? {
        b"cgroup2" => FileSystem::Cgroup2,
        b"cgroup" => {
            let options = behind.nth(1)?.split(|&byte| byte == b',');
            FileSystem::Cgroup { options: options.map(<[u8]>::to_vec).collect() }
        }
        _ => FileSystem::Other,
    };
    Some(Mount { point, kind })
}

/// The kernel writes space, tab, line end and backslash as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match behind {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] if first == b'\\' => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = behind;
            }
            _ => bytes.push(first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_controller_is_an_option_of_its_mount() {
        let mounts = parse(
            b"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
              41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        let [joint, unified] = mounts.as_slice() else { panic!("two mounts") };
        assert!(joint.has_controller("cpu") && joint.has_controller("cpuacct"));
        assert!(!joint.has_controller("cpuset"));
        assert_eq!(unified.kind, FileSystem::Cgroup2);
    }

    #[test]
    fn odd_names_and_broken_lines_of_other_mounts_do_no_harm() {
        let mounts = parse(
            b"1 2 0:3 / /a\\040b\\134 rw - cgroup2 x rw\nbroken\n\n1 2 0:3 / /\xff\xfe rw - ext4 x rw\n5 6 0:7 / /c rw - cgroup\n",
        );
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts.first().unwrap().point, Path::new("/a b\\"));
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..200), plain in "([0-9/ -]|cgroup2?|\\\\0|\n){0,60}") {
            drop(parse(&text));
            drop(parse(plain.as_bytes()));
        }
    }
}
