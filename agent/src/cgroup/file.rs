//! The only access to kernel files: directories, kept descriptors, one reused buffer.
//!
//! The kernel makes a cgroup file's text anew whenever it is read at offset 0, so a kept descriptor always gives
//! fresh numbers. It also pins the cgroup: once that is removed, its descriptors answer `ENODEV` for ever, even
//! when the same path is made again. What the texts mean is said elsewhere.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use kubevitals::sample::{CgroupPath, WallTime};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::{Errno, retry_on_intr},
};

use super::text::TextError;

/// Why a cgroup could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The cgroup was removed, or another one took its path.
    #[error("the cgroup is gone")]
    Gone,
    /// The cgroup is in the memory hierarchy but not, or not yet, in this controller's.
    #[error("{path} is not in the {controller} hierarchy")]
    Missing {
        /// The controller that lacks it.
        controller: &'static str,
        /// Which cgroup.
        path: CgroupPath,
    },
    /// A file's text is not what the kernel writes.
    #[error("{file}: {detail}")]
    Malformed {
        /// The file's name.
        file: &'static str,
        /// What is wrong.
        detail: TextError,
    },
    /// The kernel refused to open or to read a file.
    #[error("{file}: {errno}")]
    Failed {
        /// The file's name.
        file: &'static str,
        /// The kernel's reason.
        errno: Errno,
    },
}

impl ReadError {
    /// Which error it is, in a word: a metric label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Missing { .. } => "missing",
            Self::Malformed { .. } => "malformed",
            Self::Failed { .. } => "failed",
        }
    }
}

/// `ENOENT` on opening and `ENODEV` on reading: the two answers of a removed cgroup.
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV)
}

/// One kernel file's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name(pub(crate) &'static CStr);

impl Name {
    /// For errors.
    pub(crate) fn text(self) -> &'static str {
        self.0.to_str().unwrap_or("a kernel file")
    }

    /// What `errno` on this file means for its cgroup.
    pub(crate) fn failed(self, errno: Errno) -> ReadError {
        if is_gone(errno) { ReadError::Gone } else { ReadError::Failed { file: self.text(), errno } }
    }

    /// Says that `detail` was found in this file.
    pub(crate) fn malformed(self, detail: TextError) -> ReadError {
        ReadError::Malformed { file: self.text(), detail }
    }
}

/// `path` as the kernel wants it below an open directory: without the first slash, the root itself as a dot.
pub(crate) fn relative(path: &str) -> Result<CString, Errno> {
    let path = path.trim_matches('/');
    CString::new(if path.is_empty() { "." } else { path }).map_err(|_| Errno::INVAL)
}

/// Size of a fresh [`Buffer`], bytes: a page, what the kernel writes most files into.
const FIRST_BYTES: usize = 4096;

/// Largest size of a [`Buffer`], bytes. The longest file read here is `/proc/stat`: about 100 bytes per CPU and 10
/// per interrupt line.
const MOST_BYTES: usize = 1 << 20;

/// Where texts are read into. One serves a whole thread; it grows with the longest file and is then never
/// allocated again.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; FIRST_BYTES])
    }
}

impl Buffer {
    /// A buffer of one page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The whole text of `file`, read at once. A text that fills the buffer is read again into a larger one: the
    /// second half of a text read in two parts would belong to another moment.
    pub(crate) fn fill(&mut self, file: BorrowedFd<'_>) -> Result<&[u8], Errno> {
        loop {
            let length = retry_on_intr(|| rustix::io::pread(file, self.0.as_mut_slice(), 0))?;
            if length < self.0.len() {
                return self.0.get(..length).ok_or(Errno::OVERFLOW);
            }
            if self.0.len() >= MOST_BYTES {
                return Err(Errno::FBIG);
            }
            self.0.resize(self.0.len() * 2, 0);
        }
    }
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// Opens an absolute path; symbolic links are followed.
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        retry_on_intr(|| rustix::fs::open(path, Self::flags(), Mode::empty())).map(Self)
    }

    /// Opens a directory at or below this one; `.` is this one. Nothing on the way may be a symbolic link.
    pub(crate) fn beneath(&self, relative: &CStr) -> Result<Self, Errno> {
        self.open_beneath(relative, Self::flags()).map(Self)
    }

    fn open_beneath(&self, relative: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = retry_on_intr(|| rustix::fs::openat2(&self.0, relative, flags, Mode::empty(), resolve));
        match opened {
            // Linux before 5.6, or a seccomp filter from those days. Our own paths have no dotted components and
            // cgroup file systems no links, so the plain call opens the same.
            Err(Errno::NOSYS | Errno::PERM) => retry_on_intr(|| {
                rustix::fs::openat(&self.0, relative, flags | OFlags::NOFOLLOW, Mode::empty())
            }),
            other => other,
        }
    }

    fn flags() -> OFlags {
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
    }

    /// Inode of this directory.
    pub(crate) fn inode(&self) -> Result<u64, Errno> {
        retry_on_intr(|| rustix::fs::fstat(&self.0)).map(|stat| stat.st_ino)
    }

    /// Inode of what is at `relative`; `None` when that is not a directory.
    pub(crate) fn inode_of(&self, relative: &CStr) -> Result<Option<u64>, Errno> {
        let stat = retry_on_intr(|| rustix::fs::statat(&self.0, relative, AtFlags::SYMLINK_NOFOLLOW))?;
        Ok((FileType::from_raw_mode(stat.st_mode) == FileType::Directory).then_some(stat.st_ino))
    }

    /// When what is at `relative` was changed last, by the wall clock; `None` when that cannot be told.
    pub(crate) fn changed(&self, relative: &CStr) -> Option<WallTime> {
        let stat = retry_on_intr(|| rustix::fs::statat(&self.0, relative, AtFlags::SYMLINK_NOFOLLOW)).ok()?;
        let micros = u64::try_from(stat.st_mtime).ok()?.checked_mul(1_000_000)?;
        Some(WallTime(micros.checked_add(stat.st_mtime_nsec / 1000)?))
    }

    /// Opens a file for reading.
    pub(crate) fn file(&self, name: Name) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        retry_on_intr(|| rustix::fs::openat(&self.0, name.0, flags, Mode::empty()))
    }

    /// The text of a file that is opened for this one reading.
    pub(crate) fn read<'b>(&self, name: Name, buffer: &'b mut Buffer) -> Result<&'b [u8], Errno> {
        buffer.fill(self.file(name)?.as_fd())
    }

    /// The text of a file that need not exist: `None` when there is no such file, or it is switched off.
    pub(crate) fn read_optional<'b>(
        &self,
        name: Name,
        buffer: &'b mut Buffer,
    ) -> Result<Option<&'b [u8]>, ReadError> {
        match self.read(name, buffer) {
            Ok(text) => Ok(Some(text)),
            // Pressure files of a kernel with accounting switched off open but cannot be read.
            Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(name.failed(errno)),
        }
    }

    /// Whether a file has any text, without reading it to its end.
    pub(crate) fn has_text(&self, name: Name) -> Result<bool, Errno> {
        let file = self.file(name)?;
        let mut first = [0_u8; 1];
        retry_on_intr(|| rustix::io::pread(&file, first.as_mut_slice(), 0)).map(|length| length > 0)
    }

    /// Calls `each` with the name of every directory in the one at or below this one, and with its inode where the
    /// listing says that it is a directory.
    pub(crate) fn for_each_directory(
        &self,
        relative: &CStr,
        mut each: impl FnMut(&CStr, Option<u64>),
    ) -> Result<(), Errno> {
        let listing = self.open_beneath(relative, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        for entry in Dir::new(listing)? {
            let entry = entry?;
            let name = entry.file_name();
            let inode = match entry.file_type() {
                FileType::Directory => Some(entry.ino()),
                // A file system that does not tell the type leaves it to `inode_of`.
                FileType::Unknown => None,
                _ => continue,
            };
            if name != c"." && name != c".." {
                each(name, inode);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_text_longer_than_the_buffer_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let text = "x".repeat(3 * FIRST_BYTES);
        fs::write(dir.path().join("memory.stat"), &text).unwrap();
        let mut buffer = Buffer::new();

        let read =
            Directory::open(dir.path()).unwrap().read(Name(c"memory.stat"), &mut buffer).unwrap().to_vec();

        assert_eq!(read, text.as_bytes());
        assert_eq!(buffer.0.len(), 4 * FIRST_BYTES);
    }

    #[test]
    fn a_text_without_end_is_refused() {
        let zeros = Directory::open(Path::new("/dev")).unwrap();
        assert_eq!(zeros.read(Name(c"zero"), &mut Buffer::new()).unwrap_err(), Errno::FBIG);
    }

    #[test]
    fn symbolic_links_and_paths_that_lead_out_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        symlink(dir.path(), dir.path().join("link")).unwrap();
        let root = Directory::open(&dir.path().join("a")).unwrap();

        assert_eq!(root.beneath(c"b").unwrap().inode(), Ok(root.inode_of(c"b").unwrap().unwrap()));
        assert_eq!(root.beneath(c".").unwrap().inode(), root.inode());
        assert_eq!(root.beneath(c"../a").unwrap_err(), Errno::XDEV);
        let root = Directory::open(dir.path()).unwrap();
        assert_eq!(root.beneath(c"link").unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn only_directories_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("child")).unwrap();
        fs::write(dir.path().join("memory.stat"), "").unwrap();
        let mut names = Vec::new();

        let directory = Directory::open(dir.path()).unwrap();
        directory.for_each_directory(c".", |name, _| names.push(name.to_owned())).unwrap();

        assert_eq!(names, [c"child".to_owned()]);
        assert_eq!(directory.inode_of(c"memory.stat"), Ok(None));
    }

    #[test]
    fn a_file_that_is_not_there_is_absent_when_optional_and_gone_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        assert_eq!(directory.read_optional(Name(c"memory.peak"), &mut Buffer::new()), Ok(None));
        let errno = directory.file(Name(c"memory.stat")).unwrap_err();
        assert_eq!(Name(c"memory.stat").failed(errno), ReadError::Gone);
    }

    #[test]
    fn each_error_has_a_label_and_names_its_file() {
        let failed = ReadError::Failed { file: "cpu.stat", errno: Errno::ACCESS };
        assert_eq!(failed.kind(), "failed");
        assert!(failed.to_string().starts_with("cpu.stat: "), "{failed}");
    }
}
