//! Where the details of a cgroup are read that no file of its sample has.
//!
//! A kept directory costs a few hundred bytes of kernel memory, a kept file that was read 5.7 KiB: so directories are
//! kept, and the files in them opened for each reading. That spares each of them a walk over four or five levels.

use kubevitals::sample::Details;

use super::{
    file::{Buffer, Directory, ReadError},
    format::THROTTLING,
    mounts::Tree,
    reader::Place,
};

/// The directories of one cgroup; each is opened when it is needed first. An open one is of the cgroup that had the path
/// then: once that is removed nothing is found in it, whoever has the path.
#[derive(Debug, Default)]
pub(super) struct Directories {
    memory: Option<Directory>,
    /// Where throttling is told, if not in the file of CPU time.
    throttling: Option<Directory>,
}

impl Directories {
    /// Most descriptors that one cgroup's take.
    pub(super) const COUNT: usize = 2;

    /// Sets the details that have files of their own.
    pub(super) fn read(
        &mut self,
        place: &Place,
        buffer: &mut Buffer,
        details: &mut Details,
    ) -> Result<(), ReadError> {
        let memory = match &mut self.memory {
            Some(memory) => memory,
            none => none.insert(place.memory_directory()?),
        };
        place.mounts.memory.version().read_own_files(memory, buffer, details)?;
        match place.separate_throttling() {
            Some(tree) => self.read_throttling(tree, place, buffer, details),
            None => Ok(()),
        }
    }

    fn read_throttling(
        &mut self,
        tree: &Tree,
        place: &Place,
        buffer: &mut Buffer,
        details: &mut Details,
    ) -> Result<(), ReadError> {
        if self.throttling.is_none() {
            self.throttling = tree.root().beneath(&place.relative).ok();
        }
        let Some(directory) = &self.throttling else { return Ok(()) };
        if let Some(text) = directory.read_optional(THROTTLING, buffer)? {
            return tree.version().read_throttling(text, details);
        }
        // Made anew in this tree, it seems: to be looked up again.
        self.throttling = None;
        Ok(())
    }
}
