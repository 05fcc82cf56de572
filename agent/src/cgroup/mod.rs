//! Kernel counters of cgroups: where they are, whose they are, what they say.
//!
//! In reading order:
//! - `detect`: which trees are mounted where, decided once; `mounts`: the answer as the others use it.
//! - `path`: what a path in the tree is: a pod, a container, or neither; pure.
//! - `discover`: which cgroups there are, and what changed since it was last asked.
//! - `reader`: one cgroup's counters, all or nothing; `processes`: whether it has any process.
//! - `format`: chooses between `v1` and `v2`, which know the files, their keys and their units.
//! - `birth`: when a cgroup was made.
//! - `text`: the kernel's text formats; pure.
//! - `file`: the only access to kernel files; `budget`: how many descriptors may be kept.
//! - `clock`: the time of a sample.
//!
//! Rates, batches and counters that went back are not known here.

mod birth;
mod budget;
pub mod clock;
mod detect;
mod directories;
mod discover;
pub(crate) mod file;
mod format;
mod mounts;
mod path;
mod processes;
mod reader;
pub mod text;
pub(crate) mod v2;

mod v1;

#[cfg(test)]
mod real;

pub use budget::{Descriptors, RESERVE};
pub use detect::{DetectError, detect};
pub use discover::{Change, Discovery, Found, Limits, Scope};
pub use file::{Buffer, ReadError};
pub use mounts::{Hierarchy, Mounts, Tree, Version};
pub use path::{Class, classify};
pub use reader::CgroupReader;
pub(crate) use reader::{has_processes_at, working_set};
